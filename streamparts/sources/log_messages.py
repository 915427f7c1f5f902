"""FFmpeg's messages about lost and damaged data, and its option for one of them."""

from __future__ import annotations

import re

LOST = re.compile(r"missed (\d+) packets|skipping (\d+) segments|failed to open segment", re.IGNORECASE)
DISTURBED = re.compile(
    r"missed \d+ packets|max delay reached|jitter buffer full|failed reading rtsp data", re.IGNORECASE
)
"""FFmpeg error at the end of a connection: the last frame may be incomplete."""
CONNECTION_ENDED = re.compile(r"failed reading rtsp data", re.IGNORECASE)
"""FFmpeg error after a timeout: it returns the incomplete last frame, and would wait once more."""
DAMAGED = re.compile(
    r"error while decoding|concealing|damaged at|error at mb|unavailable for requested|co located pocs unavailable"
    r"|could not find ref|missing reference|reference picture missing|references are available|frame num gap"
    r"|corrupt decoded|decode_slice_header error|invalid nal unit|overread",
    re.IGNORECASE,
)
"""Decoder messages that indicate damage. Messages about unusual but intact streams ("mmco: unref short failure") are
excluded."""

UNVERIFIED = "its certificate cannot be verified"
NOT_VERIFIED = re.compile(
    r"certificate.*verif|verif.*certificate|certificate's owner does not match|trust|unknown ca", re.IGNORECASE
)

READ_AHEAD = {"fdebug": "ts"}
"""FFmpeg's option for the message below."""
WAS_READ_AHEAD = re.compile(r"read_frame_internal stream=(\d+)")
"""Matches the message that this thread read a packet of the stream with that number."""
