"""Encrypted addresses are read only from the named host, and no other host receives a password."""

from __future__ import annotations

import functools
import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamparts.errors import VideoError
from streamparts.sources import read_login, with_login
from streamparts.sources.network import open_address
from tests import servers


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key) of localhost, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run(
        [*command, "-keyout", folder / "key.pem", "-out", folder / "own.pem"], check=True, capture_output=True
    )
    return folder / "own.pem", folder / "key.pem"


def context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*certificate)
    return made


@contextmanager
def https(folder: Path, certificate: tuple[Path, Path]) -> Iterator[int]:
    """The port of a web server of this machine."""
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *args: None  # type: ignore[method-assign]
        server.socket = context(certificate).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def film(folder: Path) -> None:
    (folder / "film.ts").write_bytes(servers.mpegts(folder / "made.ts", range(20)))


def test_a_stranger_is_refused_by_name_and_by_authority_and_read_when_told_to(
    tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    film(tmp_path)
    with https(tmp_path, certificate) as port:
        with pytest.raises(VideoError, match=r"--insecure"):
            open_address(f"https://localhost:{port}/film.ts")
        with open_address(f"https://localhost:{port}/film.ts", insecure=True) as source:
            assert len(list(source)) == 20
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        with open_address(f"https://localhost:{port}/film.ts") as source:
            assert len(list(source)) == 20
        with pytest.raises(VideoError, match=r"certificate.*verified"):
            open_address(f"https://127.0.0.1:{port}/film.ts")


@pytest.mark.parametrize("host, is_read", [("localhost", True), ("127.0.0.1", False)])
def test_segments_of_a_playlist_are_verified_as_the_list_is(
    tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, host: str, is_read: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    film(tmp_path)
    with https(tmp_path, certificate) as port:
        lines = ("#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", f"https://{host}:{port}/film.ts", "#EXT-X-ENDLIST")
        (tmp_path / "list.m3u8").write_text("\n".join(lines) + "\n")
        if is_read:
            with open_address(f"https://localhost:{port}/list.m3u8") as source:
                assert len(list(source)) == 20
        else:
            with pytest.raises(VideoError, match=r"certificate.*verified"):
                open_address(f"https://localhost:{port}/list.m3u8")


def test_a_camera_that_is_not_who_it_says_is_told_no_password(certificate: tuple[Path, Path]) -> None:
    heard: list[bytes] = []

    def script(connection: object) -> None:
        with context(certificate).wrap_socket(connection, server_side=True) as encrypted:  # type: ignore[call-overload]
            heard.append(encrypted.recv(1000))

    with servers.serving(script) as server, pytest.raises(VideoError) as caught:
        open_address(f"rtsps://eve:s3cret@localhost:{server.port}/yard")
    assert "its certificate cannot be verified" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert not any(heard)


def test_a_login_comes_from_a_variable_or_a_file_and_fills_in_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for encoding in ("utf-16", "utf-8-sig", "cp1252", "utf-8"):
        (tmp_path / "login").write_bytes("eve:s3/c@rét\r\n".encode(encoding))
        assert read_login(f"@{tmp_path / 'login'}") == "eve:s3/c@rét", encoding
    (tmp_path / "login").write_text("eve:s3/c@ret\n")
    monkeypatch.setenv("CAMERA", "bob:x")
    assert read_login("CAMERA") == "bob:x"
    login = read_login(f"@{tmp_path / 'login'}")
    assert with_login("rtsp://camera:554/yard?a=1", login) == "rtsp://eve:s3%2Fc%40ret@camera:554/yard?a=1"
    assert with_login("rtsp://ann:y@camera/yard", login) == "rtsp://ann:y@camera/yard"
    assert with_login("film.mp4", login) == "film.mp4"
    for nothing in ("NO_SUCH_VARIABLE", "@no-such-file"):
        with pytest.raises(VideoError, match="login"):
            read_login(nothing)
