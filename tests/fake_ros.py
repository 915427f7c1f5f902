"""As much of ROS 2 as examples/ros2_node.py uses. Messages have exactly the fields and types of the real ones (Humble
and newer), and refuse all else, as rclpy's do."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar


class Message:
    """Fields by name: a type, whose empty value is the default, or a list with the type of its elements."""

    fields: ClassVar[dict[str, Any]] = {}

    def __init__(self, **values: object) -> None:
        for name, kind in self.fields.items():
            setattr(self, name, values.pop(name, [] if isinstance(kind, list) else kind()))
        assert not values, f"{type(self).__name__} has no {sorted(values)}"

    def __setattr__(self, name: str, value: object) -> None:
        assert name in self.fields, f"{type(self).__name__} has no {name}"
        kind = self.fields[name]
        if isinstance(kind, list):
            assert isinstance(value, list), f"{name} is a list"
            assert all(isinstance(item, kind[0]) for item in value), f"{name} is a list of {kind[0]}"
        else:
            assert type(value) is kind, f"{name} is {kind}, got {value!r}"
        object.__setattr__(self, name, value)


class Time(Message):
    fields: ClassVar = {"sec": int, "nanosec": int}


class Header(Message):
    fields: ClassVar = {"stamp": Time, "frame_id": str}


class String(Message):
    fields: ClassVar = {"data": str}


class Point2D(Message):
    fields: ClassVar = {"x": float, "y": float}


class Pose2D(Message):
    fields: ClassVar = {"position": Point2D, "theta": float}


class BoundingBox2D(Message):
    fields: ClassVar = {"center": Pose2D, "size_x": float, "size_y": float}


class ObjectHypothesis(Message):
    fields: ClassVar = {"class_id": str, "score": float}


class ObjectHypothesisWithPose(Message):
    fields: ClassVar = {"hypothesis": ObjectHypothesis}  # and a pose in space, which stays as it is


class Detection2D(Message):
    fields: ClassVar = {"header": Header, "results": [ObjectHypothesisWithPose], "bbox": BoundingBox2D, "id": str}


class Detection2DArray(Message):
    fields: ClassVar = {"header": Header, "detections": [Detection2D]}


class Publisher:
    def __init__(self, kind: type[Message]) -> None:
        self._kind = kind
        self.published: list[Any] = []

    def publish(self, message: Message) -> None:
        assert type(message) is self._kind
        self.published.append(message)


class Ros:
    """One installation, for one test."""

    def __init__(self, **parameters: object) -> None:
        self.now = Time(sec=12, nanosec=34)
        self.calls: list[str] = []
        """Calls of rclpy, in order."""
        self.publishers: dict[str, Publisher] = {}
        self.timers: list[Callable[[], None]] = []
        self.while_spinning: Callable[[], None] = lambda: None
        """Called after each turn of the timers; raise in it to end."""
        ros = self

        class Node:
            def __init__(self, name: str) -> None:
                ros.calls.append(f"node {name}")

            def declare_parameter(self, name: str, default: object) -> SimpleNamespace:
                return SimpleNamespace(value=parameters.get(name, default))

            def create_publisher(self, kind: type[Message], topic: str, qos: object) -> Publisher:
                return ros.publishers.setdefault(topic, Publisher(kind))

            def create_timer(self, seconds: float, callback: Callable[[], None]) -> None:
                ros.timers.append(callback)

            def get_clock(self) -> SimpleNamespace:
                return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: ros.now))

            def destroy_node(self) -> None:
                ros.calls.append("destroy")

        self._node = Node

    def spin(self, node: object) -> None:
        while True:
            for callback in self.timers:
                callback()
            self.while_spinning()

    def modules(self) -> dict[str, ModuleType]:
        """Modules for sys.modules."""
        contents: dict[str, dict[str, object]] = {
            "rclpy": {
                "init": lambda: self.calls.append("init"),
                "spin": self.spin,
                "try_shutdown": lambda: self.calls.append("shutdown"),
            },
            "rclpy.node": {"Node": self._node},
            "rclpy.qos": {"qos_profile_sensor_data": object()},
            "builtin_interfaces": {},
            "builtin_interfaces.msg": {"Time": Time},
            "std_msgs": {},
            "std_msgs.msg": {"String": String},
            "vision_msgs": {},
            "vision_msgs.msg": {
                kind.__name__: kind for kind in (Detection2D, Detection2DArray, ObjectHypothesisWithPose)
            },
        }
        modules = {name: ModuleType(name) for name in contents}
        for name, module in modules.items():
            vars(module).update(contents[name])
        return modules
