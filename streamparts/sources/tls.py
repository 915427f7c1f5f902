"""Verifies certificates of encrypted addresses, including those that a playlist links to."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

import av.logging

from streamparts.errors import VideoError

ENCRYPTED = ("https", "rtsps", "rtmps", "rtmpts", "tls")
"""Schemes with certificates. Plain http may be redirected to https."""
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def authorities() -> Path:
    """File of trusted authorities: that of SSL_CERT_FILE, the system's, or certifi's. Raises VideoError."""
    import ssl

    stated = ssl.get_default_verify_paths().cafile
    found = next((Path(path) for path in (stated, *_BUNDLES) if path and Path(path).is_file()), None)
    if found is not None:
        return found
    try:
        import certifi
    except ImportError as error:
        raise VideoError(
            "this machine has no certificate authorities: pip install certifi, or set SSL_CERT_FILE"
        ) from error
    return Path(certifi.where())


def options_for(scheme: str, insecure: bool) -> dict[str, str]:
    """Options for FFmpeg. Raises VideoError."""
    if scheme not in (*ENCRYPTED, "http") or insecure:
        return {}
    return {"tls_verify": "1", "ca_file": str(authorities())}


class CheckedFetch:
    """PyAV's `io_open` for playlists: FFmpeg verifies the playlist's server, but not those of its segments."""

    def __init__(self, seconds: float) -> None:
        """A response may take `seconds`. Raises VideoError without authorities."""
        import ssl  # with urllib.request a twentieth of a short run's start, which few runs need
        from urllib.request import HTTPSHandler, build_opener

        self._seconds = seconds
        self._has_segment = False
        self._opener = build_opener(HTTPSHandler(context=ssl.create_default_context(cafile=str(authorities()))))

    def __call__(self, url: str, flags: int, options: Mapping[str, str]) -> IO[bytes]:
        """Raises VideoError for anything but a web address: a remote playlist must not read local files. A segment that
        the server lacks is empty, once there was another, so that FFmpeg goes on with the next one."""
        from urllib.error import HTTPError
        from urllib.request import Request

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise VideoError(
                f"its playlist links to a {parts.scheme}: address, which cannot be verified; see --insecure"
            )
        request = Request(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
        is_list = parts.path.lower().endswith((".m3u8", ".m3u"))
        try:
            answer: IO[bytes] = self._opener.open(request, timeout=self._seconds)
        except HTTPError as error:
            if is_list or not self._has_segment:
                raise
            error.close()
            # PyAV would raise an exception at the next packet, though FFmpeg goes on. The message is FFmpeg's own.
            av.logging.log(av.logging.WARNING, "hls", f"Failed to open segment: HTTP error {error.code}")
            return io.BytesIO()
        self._has_segment |= not is_list
        return answer
