"""Addresses: rtsp, rtmp, http, hls, udp, tcp and whatever else the FFmpeg in use knows."""

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
from streamparts.sources.damage import READ_AHEAD, UNVERIFIED
from streamparts.sources.live import CONNECT_SECONDS, IDLE_SECONDS, LiveSource
from streamparts.sources.reader import Lost
from streamparts.sources.redact import redact
from streamparts.sources.tls import CheckedFetch, options_for

HLS_IDLE_SECONDS = 30.0
"""HLS comes in segments of several seconds, all at once: a pause is no loss."""

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

_OPTIONS = {
    "rtmp": {"rtmp_live": "any"},
    "udp": {"overrun_nonfatal": "1", "fifo_size": "50000"},
    # Only for what can be asked for again from the middle; live streams are opened anew, and say that there is a gap.
    "http": {"reconnect": "1", "reconnect_delay_max": "2"},
    "https": {"reconnect": "1", "reconnect_delay_max": "2"},
}
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
"""Others are where they announce no length."""

_HINTS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((av.HTTPUnauthorizedError,), "it wants a user and a password: {scheme}://USER:PASSWORD@..."),
    ((av.HTTPForbiddenError,), "it does not let this user in"),
    ((av.HTTPNotFoundError,), "there is nothing at this path; check what comes after the host"),
    ((ConnectionRefusedError,), "is the sender running, and is the port right?"),
    ((TimeoutError,), "check address, port and firewall, and whether the sender sends video now"),
    ((av.InvalidDataError,), "what comes is not video that FFmpeg knows"),
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
    """Connect to an address; `frame_rate` counts the frames of what states no times. `insecure` does not ask who is at
    the other end of an encrypted one. Raises VideoError, without the credentials that the address may hold."""
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
    fetch: CheckedFetch | None = None
    if is_hls(word) and scheme in ("http", "https") and not insecure:
        fetch, ways = CheckedFetch(min(connect_seconds, idle_seconds)), [ways[0] | {"http_persistent": "0"}]

    def open_container() -> InputContainer:
        while True:
            try:
                timeout = (connect_seconds, idle_seconds)
                return av.open(word, mode="r", options=dict(ways[0]), timeout=timeout, io_open=fetch)
            except OSError as error:
                if error.errno != errno.EPROTONOSUPPORT or len(ways) == 1:
                    raise
                del ways[0]  # for good: the next connection too

    return open_container


def _rtsp_ways(word: str) -> list[dict[str, str]]:
    """Options, those that are tried first at the front. UDP loses packets on busy networks and is blocked by many
    routers; where the server refuses TCP, it is tried. An address that ends in ?udp or ?multicast has chosen."""
    video = {"allowed_media_types": "video"}  # a loss in the sound would count as one in the picture
    if set(urlsplit(word).query.lower().split("&")) & {"udp", "multicast", "http"}:
        return [video]
    # Without a queue FFmpeg does not say that packets are missing, as they may be over TCP too: servers leave out what
    # a connection is too slow for. Two are what it takes, and delay nothing as long as nothing is missing.
    return [video | {"rtsp_transport": "tcp", "reorder_queue_size": "2"}, video | {"rtsp_transport": "udp"}]


def _hint(lost: Lost, scheme: str) -> str:
    if lost.cause is None:
        return "check that it sends video"
    if UNVERIFIED in str(lost):
        return "it is not who it says, or has a certificate of its own; --insecure (insecure=True) reads that too"
    if issubclass(lost.cause, av.ProtocolNotFoundError):
        return (
            f"this FFmpeg (of PyAV {av.__version__}) has no protocol {scheme!r}; another program may receive it and "
            "pipe it in: ... | streamparts run -"
        )
    if issubclass(lost.cause, VideoError):
        return ""
    return next((hint.format(scheme=scheme) for kinds, hint in _HINTS if issubclass(lost.cause, kinds)), "")
