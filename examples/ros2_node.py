"""A ROS 2 node (Humble or newer) that publishes the messages of `streamparts run webcam --send udp://127.0.0.1:9000`.

    python3 examples/ros2_node.py --ros-args -p port:=9000 -p frame_id:=camera

~/parts  vision_msgs/Detection2DArray: every visible part; its name is id and class_id, its ellipse the rotated box
~/json   std_msgs/String: every record, unchanged

header.stamp is the capture time; for files, which have none, the time of arrival. Needs rclpy and vision_msgs of the
ROS installation, but not streamparts: the two programs may use different environments.
"""

import json
import math
import socket
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from std_msgs.msg import String
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose


class StreampartsNode(Node):  # type: ignore[misc]
    """Takes datagrams, publishes messages."""

    def __init__(self) -> None:
        super().__init__("streamparts")
        port = self.declare_parameter("port", 9000).value
        self.frame_id = self.declare_parameter("frame_id", "camera").value
        self.parts = self.create_publisher(Detection2DArray, "~/parts", qos_profile_sensor_data)
        self.json = self.create_publisher(String, "~/json", 10)
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.bind(("127.0.0.1", port))
        self.receiver.setblocking(False)
        self.create_timer(0.002, self.take_all)

    def take_all(self) -> None:
        """Publish the messages received since the last call."""
        while True:
            try:
                text = self.receiver.recv(65535).decode()
            except BlockingIOError:
                return
            self.json.publish(String(data=text))
            record = json.loads(text)
            if record["type"] == "frame":
                self.parts.publish(self.detections(record))

    def detections(self, record: dict[str, Any]) -> Detection2DArray:
        """Detections of the visible parts of a frame."""
        array = Detection2DArray()
        array.header.frame_id = self.frame_id
        array.header.stamp = self.stamp(record.get("captured_unix_seconds"))
        array.detections = [self.detection(part, array) for part in record["parts"] if part["visible"]]
        return array

    def detection(self, part: dict[str, Any], array: Detection2DArray) -> Detection2D:
        """Rotated bounding box of the part's ellipse: pixels, x right, y down, angle in radians."""
        (a, b, x), (c, d, y) = part["affine"]
        detection = Detection2D(header=array.header, id=part["name"])
        detection.bbox.center.position.x, detection.bbox.center.position.y = x, y
        detection.bbox.center.theta = math.atan2(c, a)
        detection.bbox.size_x, detection.bbox.size_y = 2 * math.hypot(a, c), 2 * math.hypot(b, d)
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = part["name"], part["score"]
        detection.results = [hypothesis]
        return detection

    def stamp(self, unix_seconds: float | None) -> Time:
        """Convert Unix time to ROS time; None is now."""
        if unix_seconds is None:
            return self.get_clock().now().to_msg()
        nanoseconds = round(unix_seconds * 1e6) * 1000  # the record has microseconds
        return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def main() -> None:
    rclpy.init()
    node = StreampartsNode()
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    finally:
        node.receiver.close()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
