"""Credentials stay out of names, messages and tracks: everything about an address that is shown goes through here."""

from __future__ import annotations

import re

from streamparts.texts import readable

HIDDEN = "***"

# The second form is a password with a slash in it; it hides an innocent path with an @ behind a port too.
_USER = re.compile(r"(?<=://)(?:[^\s/?#]+|[^\s/:@]*:\S*)@")
_SECRET = re.compile(
    r"(?<=[?&;|])([^=&;?\s]*(?:key|token|pass|pwd|secret|auth|signature|sig|credential|session)[^=&;?\s]*=)[^&;\s'\"#]+",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """`text` with the user and password of every address in it, and the values of its secret-looking query options
    (key=, token=, password= and the like), replaced by ***; bytes of file names that are no UTF-8 are replaced too."""
    return _SECRET.sub(rf"\1{HIDDEN}", _USER.sub(f"{HIDDEN}@", readable(text)))
