"""Removes credentials from names, messages and tracks; every displayed address passes through here."""

from __future__ import annotations

import re

from streamparts.texts import readable

HIDDEN = "***"

# The second form is a password with a slash; it also hides an innocent path with an @ after a port.
_USER = re.compile(r"(?<=://)(?:[^\s/?#]+|[^\s/:@]*:\S*)@")
_SHOWN = (
    *("channel", "subtype", "stream", "profile", "track", "camera", "cam", "id", "quality", "resolution", "size"),
    *("width", "height", "fps", "rate", "framerate", "format", "codec", "bitrate", "seconds", "seed", "live", "masks"),
    *("timeout", "transport", "mode", "pkt_size", "fifo_size", "localaddr", "port"),
)
"""Query options with harmless values; all others are hidden, because the names of secrets are unlimited."""
_VALUE = re.compile(r"([?&;|])([^=&;?|\s]+)=([^&;|\s'\"#]+)")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


def redact(text: str) -> str:
    """Replace the user and password of every address in `text`, and the values of its query options except a few
    harmless ones (channel=, fps= and the like), by ***. Bytes of file names that are not UTF-8 are also replaced."""
    hidden = _USER.sub(f"{HIDDEN}@", readable(text))
    return _ADDRESS.sub(lambda match: _VALUE.sub(_hidden, match[0]), hidden)


def _hidden(match: re.Match[str]) -> str:
    return match[0] if match[2].lower() in _SHOWN else f"{match[1]}{match[2]}={HIDDEN}"
