"""Network addresses: rtsp, rtmp, http, hls, udp, tcp and others supported by FFmpeg."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from fractions import Fraction
from urllib.parse import urlsplit

import av
from av.container import InputContainer

from streamparts.errors import VideoError
from streamparts.sources.base import MAX_PIXELS
from streamparts.sources.container import FEW_EXAMINED
from streamparts.sources.live import CONNECT_SECONDS, IDLE_SECONDS, LiveSource
from streamparts.sources.log_messages import READ_AHEAD, UNVERIFIED
from streamparts.sources.raw_bytes import open_bytes
from streamparts.sources.reader import Lost
from streamparts.sources.redact import redact
from streamparts.sources.tls import CheckedFetch, options_for

HLS_IDLE_SECONDS = 30.0
"""HLS delivers segments of several seconds at once: a pause is no loss."""

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

_OPTIONS = {
    "rtmp": {"rtmp_live": "any"},
    "udp": {"overrun_nonfatal": "1", "fifo_size": "50000"},
    # Only for files that can be requested from the middle; live streams are reopened, and report a gap.
    "http": {"reconnect": "1", "reconnect_delay_max": "2"},
    "https": {"reconnect": "1", "reconnect_delay_max": "2"},
}
_QUICK = FEW_EXAMINED | {"formatprobesize": "262144"}
"""A sender of raw MJPEG over UDP or HTTP is waited for up to so many bytes, not a megabyte, before FFmpeg settles on
this format."""
_BARE_SCHEMES = {"tcp", "unix", "tls"}
"""Schemes that send bare bytes, all of which arrive."""
_QUICK_SCHEMES = _BARE_SCHEMES | {"udp", "http", "https"}
"""Schemes that may send raw video."""
_ALWAYS_LIVE = {
    "rtsp",
    "rtsps",
    "rtmp",
    "rtmps",
    "rtmpt",
    "rtmpe",
    "rtp",
    "srtp",
    "srt",
    "rist",
    "udp",
    "tcp",
    "tls",
    "unix",
}
"""Schemes that are always live; others are if they announce no length."""

_HINTS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((av.HTTPUnauthorizedError,), "it requires a user and a password: {scheme}://USER:PASSWORD@..."),
    ((av.HTTPForbiddenError,), "it refuses this user"),
    ((av.HTTPNotFoundError,), "this path does not exist; check what follows the host"),
    ((ConnectionRefusedError,), "is the sender running, and is the port correct?"),
    ((TimeoutError,), "check address, port and firewall, and whether the sender is sending video"),
    ((av.InvalidDataError,), "the data is not video that FFmpeg supports"),
    ((OSError,), "check the host's name and the network"),
)


def open_address(
    word: str,
    *,
    idle_seconds: float | None = None,
    connect_seconds: float = CONNECT_SECONDS,
    max_retries: int | None = None,
    frame_rate: Fraction | None = None,
    insecure: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> LiveSource:
    """Connect to an address. `frame_rate` counts the frames of streams without timestamps. `insecure` does not verify
    the certificate of an encrypted address. Raises VideoError, without the credentials in the address."""
    scheme = urlsplit(word).scheme.lower()
    hls = is_hls(word)
    idle_seconds = idle_seconds or (HLS_IDLE_SECONDS if hls else IDLE_SECONDS)
    return LiveSource(
        _opener(word, scheme, connect_seconds, idle_seconds, insecure),
        redact(word),
        hint=lambda lost: _hint(lost, scheme),
        idle_seconds=idle_seconds,
        connect_seconds=connect_seconds,
        max_retries=max_retries,
        paced=hls,
        always_live=scheme in _ALWAYS_LIVE,
        frame_rate=frame_rate,
        max_pixels=max_pixels,
    )


def is_hls(word: str) -> bool:
    return urlsplit(word).path.lower().endswith((".m3u8", ".m3u"))


def _opener(
    word: str, scheme: str, connect_seconds: float, idle_seconds: float, insecure: bool
) -> Callable[[], InputContainer]:
    ways = _rtsp_ways(word) if scheme in ("rtsp", "rtsps") else [_OPTIONS.get(scheme, {})]
    ways = [way | options_for(scheme, insecure) | READ_AHEAD for way in ways]
    quick = _QUICK if scheme in _QUICK_SCHEMES and not is_hls(word) else {}
    fetch: CheckedFetch | None = None
    if is_hls(word) and scheme in ("http", "https") and not insecure:
        fetch, ways = CheckedFetch(min(connect_seconds, idle_seconds)), [ways[0] | {"http_persistent": "0"}]

    def attempt(more: dict[str, str]) -> InputContainer:
        while True:
            try:
                timeout = (connect_seconds, idle_seconds)
                if scheme in _BARE_SCHEMES:
                    return open_bytes(word, ways[0] | more, timeout)
                return av.open(word, mode="r", options=ways[0] | more, timeout=timeout, io_open=fetch)
            except OSError as error:
                if error.errno != errno.EPROTONOSUPPORT or len(ways) == 1:
                    raise
                del ways[0]  # permanently, including the next connection

    def open_container() -> InputContainer:
        try:
            return attempt(quick)
        except av.InvalidDataError as error:
            if not quick:
                raise
            try:
                return attempt({})  # some streams show their format only after more data, at their first keyframe
            except (av.FFmpegError, OSError):
                raise error from None

    return open_container


def _rtsp_ways(word: str) -> list[dict[str, str]]:
    """Options in the order of attempts. UDP loses packets on busy networks and is blocked by many routers; it is tried
    if the server refuses TCP. ?udp or ?multicast at the end of an address selects the transport."""
    # No images are waited for to estimate the rate, which takes 13 of H.264: LiveSource measures it, if nothing states
    # it. A loss in the audio would count as one in the video.
    video = FEW_EXAMINED | {"fpsprobesize": "0", "allowed_media_types": "video"}
    if set(urlsplit(word).query.lower().split("&")) & {"udp", "multicast", "http"}:
        return [video]
    # Without a queue, FFmpeg does not report missing packets, which also occur over TCP: servers omit what a slow
    # connection cannot take. A queue of two is enough, and adds no delay while nothing is missing.
    return [video | {"rtsp_transport": "tcp", "reorder_queue_size": "2"}, video | {"rtsp_transport": "udp"}]


def _hint(lost: Lost, scheme: str) -> str:
    if lost.cause is None:
        return "check that it sends video"
    if UNVERIFIED in str(lost):
        return "its certificate is invalid or self-signed; --insecure (insecure=True) accepts it"
    if issubclass(lost.cause, av.ProtocolNotFoundError):
        return (
            f"this FFmpeg (of PyAV {av.__version__}) does not support the protocol {scheme!r}; another program may "
            "receive it and pipe it in: ... | streamparts run -"
        )
    if issubclass(lost.cause, VideoError):
        return ""
    return next((hint.format(scheme=scheme) for kinds, hint in _HINTS if issubclass(lost.cause, kinds)), "")
