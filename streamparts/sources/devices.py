"""Cameras and the screen, by the names that this system's FFmpeg uses."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

import av
from av.container import InputContainer

from streamparts.errors import VideoError
from streamparts.sources.live import CONNECT_SECONDS, IDLE_SECONDS, LiveSource
from streamparts.sources.reader import Lost

CAMERA = re.compile(r"webcam(?::(?P<number>\d+))?(?:\?(?P<options>.*))?")
DEVICE = re.compile(r"(?P<path>/dev/[^?]+)(?:\?(?P<options>.*))?")
SCREEN = re.compile(r"screen(?:\?(?P<options>.*))?")

_OPTION_NAMES = {"size": "video_size", "fps": "framerate", "format": "input_format"}


@dataclass(frozen=True, slots=True)
class Device:
    """Arguments for av.open."""

    file: str
    format: str
    options: Mapping[str, str]


def open_device(
    word: str,
    *,
    idle_seconds: float | None = None,
    connect_seconds: float = CONNECT_SECONDS,
    max_retries: int | None = None,
) -> LiveSource:
    """Open `webcam`, `webcam:1`, /dev/video2 or `screen`, each with options: `webcam?size=1280x720&fps=30`.

    Raises VideoError.
    """
    device = find_device(word, sys.platform, os.environ)
    idle_seconds = idle_seconds or IDLE_SECONDS
    return LiveSource(
        _opener(device, connect_seconds, idle_seconds),
        word.partition("?")[0],
        hint=lambda lost: _hint(lost, device),
        idle_seconds=idle_seconds,
        connect_seconds=connect_seconds,
        max_retries=max_retries,
    )


def find_device(word: str, platform: str, environment: Mapping[str, str]) -> Device:
    """Return the device `word` on `platform` (named as in sys.platform). Raises VideoError."""
    if match := SCREEN.fullmatch(word):
        return _screen(platform, environment, _options(word, match["options"]))
    if match := CAMERA.fullmatch(word):
        return _camera(int(match["number"] or 0), platform, _options(word, match["options"]))
    if match := DEVICE.fullmatch(word):
        return _v4l2(match["path"], _options(word, match["options"]))
    raise VideoError(f"{word}: not a device; write webcam, webcam:1, /dev/video0 or screen")


def _screen(platform: str, environment: Mapping[str, str], options: dict[str, str]) -> Device:
    options.setdefault("framerate", "30")
    if platform == "win32":
        return Device("desktop", "gdigrab", options)
    if platform == "darwin":
        return Device("Capture screen 0:none", "avfoundation", options)
    display = environment.get("DISPLAY")
    if not display:
        raise VideoError("screen: there is no X display (DISPLAY is not set; Wayland alone is not supported)")
    return Device(display, "x11grab", options)


def _camera(number: int, platform: str, options: dict[str, str]) -> Device:
    if platform == "darwin":
        # Most cameras reject its default of 29.97.
        return Device(f"{number}:none", "avfoundation", {"framerate": "30", **options})
    if platform == "win32":
        return Device(f"video={_directshow_name(number)}", "dshow", options)
    return _v4l2(f"/dev/video{number}", options)


def _v4l2(path: str, options: dict[str, str]) -> Device:
    if not Path(path).exists():
        found = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        raise VideoError(f"{path}: there is no such camera (found: {found}); plug one in, or name another: webcam:1")
    return Device(path, "v4l2", options)


def _directshow_name(number: int) -> str:
    """DirectShow identifies cameras by name only."""
    try:
        devices = av.enumerate_input_devices("dshow")
    except (AttributeError, av.FFmpegError, ValueError, OSError) as error:  # PyAV has it since version 17
        raise VideoError("webcam: this FFmpeg cannot list the cameras") from error
    cameras = [device.description for device in devices if device.media_types != ["audio"]]
    if number >= len(cameras):
        raise VideoError(f"webcam:{number}: there is no such camera (found: {', '.join(cameras) or 'none'})")
    return cameras[number]


def _options(word: str, query: str | None) -> dict[str, str]:
    options = {}
    for name, value in parse_qsl(query or "", keep_blank_values=True):
        if name not in _OPTION_NAMES:
            raise VideoError(f"{word}: there is no option {name!r}; options are {', '.join(_OPTION_NAMES)}")
        options[_OPTION_NAMES[name]] = value
    return options


def _opener(device: Device, connect_seconds: float, idle_seconds: float) -> Callable[[], InputContainer]:
    def open_container() -> InputContainer:
        try:
            return av.open(
                device.file,
                mode="r",
                format=device.format,
                options=dict(device.options),
                timeout=(connect_seconds, idle_seconds),
            )
        except ValueError as error:
            raise VideoError(f"this FFmpeg cannot read {device.format} devices") from error

    return open_container


def _hint(lost: Lost, device: Device) -> str:
    if lost.cause is not None and issubclass(lost.cause, PermissionError):
        return "no permission: on Linux, add the user to the group video; elsewhere allow it in the privacy settings"
    if lost.cause is not None and issubclass(lost.cause, VideoError):
        return ""
    if device.format == "x11grab":
        return f"is the X display {device.file} running, and accessible to this user?"
    wanted = ", ".join(f"{name} {value}" for name, value in device.options.items())
    return "another program may be using it" + (f", or it does not support {wanted}" if wanted else "")
