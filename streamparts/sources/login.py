"""Reads user and password from places that process lists do not show."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from streamparts.errors import VideoError
from streamparts.texts import read_text


def read_login(where: str) -> str:
    """Read "user:password" from the first line of @FILE, or from the environment variable of that name. Raises
    VideoError, which does not contain it."""
    if where.startswith("@"):
        try:
            text = read_text(Path(where[1:])).partition("\n")[0].strip()
        except (OSError, ValueError) as error:
            raise VideoError(f"{where}: the login cannot be read; give a text file with user:password") from error
    else:
        text = os.environ.get(where, "").strip()
    if ":" not in text:
        raise VideoError(f"{where}: has no login; it must be user:password, in @FILE or in an environment variable")
    return text


def with_login(address: str, login: str) -> str:
    """Add user and password to the address, unless it has its own."""
    parts = urlsplit(address)
    if "@" in parts.netloc or not parts.netloc:
        return address
    user, _, password = login.partition(":")
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}"))
