"""The receivers in examples/, run as they are and sent real messages. The ROS 2 node runs against tests/fake_ros.py:
ROS cannot be installed by pip."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamparts.bundle.load import Bundle
from streamparts.sinks.messages.sink import MessageSink
from tests.conftest import ROOT, environment
from tests.fake_ros import Ros
from tests.live import HandSource, wait_until
from tests.receivers import LSL_CONFIG, DatagramReceiver, port_of, send, sending, tracks_of

pytestmark = pytest.mark.usefixtures("no_threads_left")


@contextmanager
def running(example: str, word: object, **variables: str) -> Iterator[list[str]]:
    """Output lines of `python examples/EXAMPLE WORD`, as they arrive."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "examples" / example, str(word)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment(), **variables},
    )
    lines: list[str] = []
    assert process.stdout is not None

    def read() -> None:
        lines.extend(process.stdout or ())
        lines.append(f"ended with {process.wait()}")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield lines
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


def send_until(sink: MessageSink, lines: list[str], *wanted: str) -> None:
    """Send frames until the example has printed all expected lines."""
    number = iter(range(10**9))

    def said() -> bool:
        send(sink, [tracks_of(next(number) % 50)])
        return all(any(want in line for line in lines) for want in wanted)

    wait_until(said, f"it said {wanted}")


def free_port() -> int:
    with closing(DatagramReceiver()) as one:
        return one.port


def test_udp(bundle: Bundle) -> None:
    port = free_port()
    with running("receive_udp.py", port) as lines, sending(f"udp://127.0.0.1:{port}", bundle) as sink:
        send_until(sink, lines, "header: red green", "3 0.1 red 3.0 10.0")
    assert not any(" green " in line for line in lines if line[0].isdigit()), "it is hidden"


def test_zmq(bundle: Bundle) -> None:
    pytest.importorskip("zmq")
    with (
        sending("zmq://127.0.0.1:0", bundle) as sink,
        running("receive_zmq.py", f"127.0.0.1:{port_of(sink)}") as lines,
    ):
        send_until(sink, lines, "header: red green", "3 0.1 red 3.0 10.0")


def test_websocket(bundle: Bundle) -> None:
    pytest.importorskip("websockets")
    with sending("ws://127.0.0.1:0", bundle) as sink, running("receive_websocket.py", sink.address) as lines:
        send_until(sink, lines, "header: red green", "3 0.1 red 3.0 10.0")
        sink.close()
        wait_until(lambda: "ended with 0" in lines, "it had ended, as the run did")
    assert lines[0] == "header: red green\n"


def test_osc(bundle: Bundle) -> None:
    pytest.importorskip("pythonosc")
    port = free_port()
    with running("receive_osc.py", port) as lines, sending(f"osc://127.0.0.1:{port}", bundle) as sink:
        send_until(sink, lines, "header: red green", "frame 3 0.1", "red 3.0 10.0 0.5 4.0 0.75")


def test_lsl(bundle: Bundle, tmp_path: Path) -> None:
    try:
        import pylsl
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"pylsl does not load: {error}")
    pylsl.set_config_content(LSL_CONFIG)
    config = tmp_path / "lsl_api.cfg"
    config.write_text(LSL_CONFIG)
    name = f"streamparts-example-{tmp_path.name}-{free_port()}"
    with sending(f"lsl://{name}", bundle) as sink, running("receive_lsl.py", name, LSLAPICFG=str(config)) as lines:
        send_until(sink, lines, "header: frame pts_seconds segment red.x", "red.x=3.0 red.y=10.0 green.x=5.0")


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch) -> Ros:
    """With the node's port already chosen."""
    ros = Ros(port=free_port(), frame_id="left_camera")
    for name, module in ros.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return ros


@contextmanager
def node(ros: Ros) -> Iterator[SimpleNamespace]:
    example = runpy.run_path(str(ROOT / "examples" / "ros2_node.py"))
    made = example["StreampartsNode"]()
    with closing(made.receiver):
        yield made


def published(ros: Ros, topic: str, number: int) -> list[object]:
    """The first so many messages, once they are there."""

    def turn() -> bool:
        for callback in ros.timers:
            callback()
        return len(ros.publishers[topic].published) >= number

    wait_until(turn, f"{number} messages were published on {topic}")
    return ros.publishers[topic].published[:number]


def test_ros_detections_have_the_time_of_capture_in_their_header(ros: Ros, bundle: Bundle) -> None:
    with node(ros) as one, sending(f"udp://127.0.0.1:{one.receiver.getsockname()[1]}", bundle, HandSource()) as sink:
        send(sink, [tracks_of(7)])
        (array,) = published(ros, "~/parts", 1)
        record = json.loads(ros.publishers["~/json"].published[1].data)
    assert (record["type"], record["frame"]) == ("frame", 7)
    stamp = array.header.stamp  # type: ignore[attr-defined]
    assert 0 <= stamp.nanosec < 10**9
    assert stamp.sec + stamp.nanosec / 1e9 == pytest.approx(record["captured_unix_seconds"], abs=1e-6)
    assert array.header.frame_id == "left_camera"  # type: ignore[attr-defined]
    (detection,) = array.detections  # type: ignore[attr-defined]
    assert detection.header is array.header  # type: ignore[attr-defined]
    assert detection.id == detection.results[0].hypothesis.class_id == "red"
    assert detection.results[0].hypothesis.score == 0.75
    box = detection.bbox
    assert (box.center.position.x, box.center.position.y) == pytest.approx((7, 10))
    assert (box.center.theta, box.size_x, box.size_y) == pytest.approx((0.5, 16, 4), abs=1e-3)


def test_ros_frames_of_files_have_the_time_of_the_node(ros: Ros, bundle: Bundle) -> None:
    with node(ros) as one, sending(f"udp://127.0.0.1:{one.receiver.getsockname()[1]}", bundle) as sink:
        send(sink, [tracks_of(7)])
        (array,) = published(ros, "~/parts", 1)
    assert array.header.stamp is ros.now  # type: ignore[attr-defined]


def test_the_ros_node_runs_until_it_is_told_to_end(ros: Ros, bundle: Bundle) -> None:
    def interrupt_after_one_frame() -> None:
        if ros.publishers["~/parts"].published:
            raise KeyboardInterrupt
        sink.write(tracks_of(1))

    port = ros.modules()["rclpy.node"].Node("x").declare_parameter("port", 0).value
    ros.calls.clear()
    with sending(f"udp://127.0.0.1:{port}", bundle) as sink:
        ros.while_spinning = interrupt_after_one_frame
        runpy.run_path(str(ROOT / "examples" / "ros2_node.py"), run_name="__main__")
    assert ros.calls == ["init", "node streamparts", "destroy", "shutdown"]
