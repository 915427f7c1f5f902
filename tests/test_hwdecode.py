"""Hardware decoding: used if it works, with a reason if not. No device is needed: the working one is fake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest

from streamparts.sources import hwdecode, open_source
from streamparts.sources.hwdecode import KINDS, HardwareDecoder, choose, probe


class FakeAccelerator:
    """Replaces PyAV's HWAccel; `create` does what the test sets."""

    create_error: Exception | None = None

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def create(self, codec: av.Codec) -> object:
        if self.create_error:
            raise self.create_error
        return object()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str], Exception | None], None]:
    def set_up(devices: list[str], error: Exception | None = None) -> None:
        monkeypatch.setattr(FakeAccelerator, "create_error", error)
        monkeypatch.setattr(hwdecode, "HWAccel", FakeAccelerator)
        monkeypatch.setattr(hwdecode, "hwdevices_available", lambda: devices)

    return set_up


@pytest.mark.parametrize("kind", KINDS)
def test_this_machine_either_has_the_device_or_says_why_not(kind: str) -> None:
    reason = probe(kind)
    if reason is None:
        assert choose(kind) == HardwareDecoder(kind, None)
    else:
        assert reason.startswith(f"{kind}: ")
        assert "\n" not in reason
        chosen = choose(kind)
        assert chosen == HardwareDecoder("none", f"decoding in software: {reason}")
        assert chosen.accelerator() is None


def test_none_asks_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hwdecode, "probe", lambda *_: pytest.fail("a device was asked"))
    assert choose("none") == HardwareDecoder("none", None)


def test_a_device_that_works_is_taken(fake: Callable[..., None]) -> None:
    fake(["qsv", "drm"])
    assert choose("qsv") == HardwareDecoder("qsv", None)
    assert choose("auto") == HardwareDecoder("qsv", None), "the first that works"
    accelerator = choose("auto").accelerator()
    assert isinstance(accelerator, FakeAccelerator)
    assert accelerator.kind == "qsv"
    assert choose("cuda").reason == "decoding in software: cuda: not in PyAV's FFmpeg"


def test_auto_gives_the_reason_of_each_that_does_not_work(fake: Callable[..., None]) -> None:
    fake(["cuda"], PermissionError(1, "Operation not permitted"))
    reason = choose("auto").reason
    assert reason is not None
    assert reason.startswith("decoding in software: cuda: no working device (Operation not permitted); vaapi: not in")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotImplementedError("no config"), "cuda: does not support h264"),
        (RuntimeError("driver\nis too old"), "cuda: no working device (driver is too old)"),
        (OSError(), "cuda: no working device (OSError)"),
    ],
)
def test_what_a_driver_raises_becomes_one_line(fake: Callable[..., None], error: Exception, reason: str) -> None:
    fake(["cuda"], error)
    assert probe("cuda") == reason


def test_an_unknown_codec_or_kind_is_said() -> None:
    with pytest.raises(ValueError, match="cuda, vaapi"):
        probe("gpu")
    with pytest.raises(ValueError, match="none, auto, cuda"):
        choose("gpu")


def test_a_codec_that_ffmpeg_does_not_know_has_no_hardware(fake: Callable[..., None]) -> None:
    fake(["cuda"])
    reason = probe("cuda", "no-such-codec")
    assert reason is not None
    assert reason.startswith("cuda: ")


def test_a_file_is_decoded_in_software_where_there_is_no_device(video: Path, fake: Callable[..., None]) -> None:
    fake(["cuda"], PermissionError("no such device"))
    with open_source(video, hwaccel="cuda") as source:
        assert "decoding in software: cuda: no working device" in source.description
        assert len(list(source)) == 40


def test_hardware_that_fails_at_the_file_gives_way_to_software(
    video: Path, fake: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(["cuda"])
    opened = av.open

    def failing(*args: object, hwaccel: object = None, **options: object) -> object:
        if hwaccel is not None:
            raise av.error.PermissionError(1, "no device")
        return opened(*args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr("streamparts.sources.container.av.open", failing)
    with open_source(video, hwaccel="auto") as source:
        assert "decoding in software: cuda: " in source.description
        assert len(list(source)) == 40


def test_hardware_that_works_is_named(video: Path, fake: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    fake(["cuda"])
    opened = av.open
    monkeypatch.setattr(
        "streamparts.sources.container.av.open", lambda *args, hwaccel=None, **more: opened(*args, **more)
    )
    with open_source(video, hwaccel="cuda") as source:
        assert "decoded by cuda" in source.description
        assert len(list(source)) == 40
