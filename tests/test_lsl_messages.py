"""Messages over the Lab Streaming Layer, received by pylsl. Needs the library liblsl, which pylsl's wheels contain."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from streamparts.bundle.load import Bundle
from streamparts.sinks.messages.sink import MessageSink
from tests.live import PATIENCE_SECONDS, wait_until
from tests.receivers import LSL_CONFIG, opened, send, sending, tracks_of

try:
    import pylsl
except (ImportError, RuntimeError, OSError) as error:
    pytest.skip(f"pylsl does not load: {error}", allow_module_level=True)

pytestmark = [pytest.mark.usefixtures("no_threads_left"), pytest.mark.timeout(120)]
pylsl.set_config_content(LSL_CONFIG)


@pytest.fixture
def name() -> str:
    return f"streamparts-{uuid4()}"


@contextmanager
def listening(sink: MessageSink, name: str) -> Iterator[Any]:
    """An inlet that is connected."""
    (found,) = pylsl.resolve_byprop("name", name, timeout=PATIENCE_SECONDS)
    inlet = pylsl.StreamInlet(found, recover=False)
    inlet.open_stream(timeout=PATIENCE_SECONDS)
    wait_until(lambda: sink._sender._outlet.have_consumers(), "the inlet was connected")  # type: ignore[attr-defined]
    yield inlet
    inlet.close_stream()


def test_a_sample_has_the_pose_of_every_part_in_named_channels(bundle: Bundle, name: str) -> None:
    with sending(f"lsl://{name}", bundle) as sink, listening(sink, name) as inlet:
        info = inlet.info(timeout=PATIENCE_SECONDS)
        send(sink, [tracks_of(7, segment=2)])
        values, _ = inlet.pull_sample(timeout=PATIENCE_SECONDS)
    assert (info.type(), info.nominal_srate(), info.channel_count()) == ("MoCap", 0.0, 15)
    sample = dict(zip(info.get_channel_labels(), values, strict=True))
    assert sample == pytest.approx(
        {
            "frame": 7, "pts_seconds": 7 / 30, "segment": 2,
            "red.x": 7, "red.y": 10, "red.angle": 0.5, "red.scale": 4, "red.score": 0.75, "red.visible": 1,
            "green.x": 5, "green.y": 6, "green.angle": 0, "green.scale": 3, "green.score": 0.25, "green.visible": 0,
        }
    )  # fmt: skip
    assert info.get_channel_units()[:6] == ["count", "seconds", "count", "pixels", "pixels", "radians"]
    assert info.get_channel_types()[3:5] == ["PositionX", "PositionY"]
    assert (info.desc().child_value("width"), info.desc().child_value("height")) == ("64", "48")
    assert info.desc().child_value("model_sha256") == bundle.sha256


def test_the_time_is_that_of_capture_on_the_clock_of_lsl(bundle: Bundle, name: str) -> None:
    with sending(f"lsl://{name}", bundle) as sink, listening(sink, name) as inlet:
        tracks = tracks_of(0)
        captured = pylsl.local_clock() - (time.perf_counter() - tracks.frame.decoded_at)
        old = replace(tracks, frame=replace(tracks.frame, decoded_at=tracks.frame.decoded_at - 100))
        send(sink, [tracks, old])
        stamps = [inlet.pull_sample(timeout=PATIENCE_SECONDS)[1] for _ in range(2)]
    assert stamps == pytest.approx([captured, captured - 100], abs=0.005)


def test_an_inlet_that_never_pulls_costs_nothing(bundle: Bundle, name: str) -> None:
    sink = opened(f"lsl://{name}", bundle)
    with listening(sink, name):
        send(sink, (tracks_of(n) for n in range(1200)))
        assert (sink.num_sent, sink.num_lost) == (1200, 0)
        sink.close()


def test_the_last_sample_arrives_though_the_run_ends_at_once(bundle: Bundle, name: str) -> None:
    sink = opened(f"lsl://{name}", bundle)
    with listening(sink, name) as inlet:
        closer = threading.Thread(target=lambda: (sink.write(tracks_of(99)), sink.close()))
        closer.start()
        assert inlet.pull_sample(timeout=PATIENCE_SECONDS)[0][0] == 99
        closer.join()


def test_a_stream_that_nobody_hears_costs_nothing(bundle: Bundle, name: str) -> None:
    with sending(f"lsl://{name}", bundle) as sink:
        send(sink, map(tracks_of, range(100)))
    assert sink.report().notes == (f"lsl://{name}: 100 frames sent",)
