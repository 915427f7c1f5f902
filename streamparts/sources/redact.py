"""Credentials stay out of names, messages and tracks: everything about an address that is shown goes through here."""

from __future__ import annotations

import re

from streamparts.texts import readable

HIDDEN = "***"

# The second form is a password with a slash in it; it hides an innocent path with an @ behind a port too.
_USER = re.compile(r"(?<=://)(?:[^\s/?#]+|[^\s/:@]*:\S*)@")
_SHOWN = (
    *("channel", "subtype", "stream", "profile", "track", "camera", "cam", "id", "quality", "resolution", "size"),
    *("width", "height", "fps", "rate", "framerate", "format", "codec", "bitrate", "seconds", "seed", "live", "masks"),
    *("timeout", "transport", "mode", "pkt_size", "fifo_size", "localaddr", "port"),
)
"""Options of an address whose values tell nothing that should not be known; all others are hidden: nobody can list the
names that secrets have."""
_VALUE = re.compile(r"([?&;|])([^=&;?|\s]+)=([^&;|\s'\"#]+)")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


def redact(text: str) -> str:
    """`text` with the user and password of every address in it, and the values of its query options but for a few
    that are known to be harmless (channel=, fps= and the like), replaced by ***; bytes of file names that are no UTF-8
    are replaced too."""
    hidden = _USER.sub(f"{HIDDEN}@", readable(text))
    return _ADDRESS.sub(lambda match: _VALUE.sub(_hidden, match[0]), hidden)


def _hidden(match: re.Match[str]) -> str:
    return match[0] if match[2].lower() in _SHOWN else f"{match[1]}{match[2]}={HIDDEN}"
