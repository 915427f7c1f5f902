"""Command-line words for sources; credentials are never shown."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamparts.errors import VideoError
from streamparts.sources import expand_sources, open_source, output_stem, redact
from streamparts.sources.devices import find_device
from streamparts.sources.kinds import SOURCE_KINDS, kind_of
from tests.media import numbered_video, picture_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: two videos, one of them in a subfolder, twelve images, and a list."""
    monkeypatch.chdir(tmp_path)
    numbered_video(tmp_path / "b.mp4", 3)
    (tmp_path / "below").mkdir()
    numbered_video(tmp_path / "below" / "a.mkv", 3)
    (tmp_path / "shots").mkdir()
    for number in range(12):
        picture_file(tmp_path / "shots" / f"shot{number}.png", number)
    (tmp_path / "list.txt").write_text("# cameras\nwebcam:1\n\nb.mp4\nbelow\n  rtsp://h/x  \n")
    return tmp_path


def test_globs_folders_and_lists_stand_for_what_is_in_them(folder: Path) -> None:
    assert expand_sources(["*.mp4", "b.mp4", "-"]) == ["b.mp4", "-"]
    assert expand_sources(["."]) == ["b.mp4", str(Path("below/a.mkv"))]
    assert expand_sources(["shots", "shots/*.png"]) == ["shots", "shots/*.png"]
    assert expand_sources(["b*"]) == ["b.mp4", str(Path("below/a.mkv"))]
    assert expand_sources(["@list.txt"]) == ["webcam:1", "b.mp4", str(Path("below/a.mkv")), "rtsp://h/x"]
    assert expand_sources(["test://?size=64x64", "shot_%04d.png"]) == ["test://?size=64x64", "shot_%04d.png"]
    assert expand_sources([]) == []


def test_files_in_a_list_are_sought_from_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "below")
    assert expand_sources(["@../list.txt"])[1:3] == [str(Path("../b.mp4")), str(Path("../below/a.mkv"))]


@pytest.mark.parametrize("words", [["*.avi"], ["@none.txt"], ["@empty.txt"], ["empty"], ["@b.mp4"]])
def test_what_stands_for_nothing_is_refused_in_one_line(folder: Path, words: list[str]) -> None:
    (folder / "empty.txt").write_text("# nothing\n")
    (folder / "empty").mkdir()
    with pytest.raises(VideoError) as caught:
        expand_sources(words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("-", "pipe"),
        ("test://", "pattern"),
        ("webcam", "device"),
        ("webcam:3?size=640x480", "device"),
        ("/dev/video9", "device"),
        ("screen", "device"),
        ("rtsp://u:p@h/x", "address"),
        ("HTTP://h/x.m3u8", "address"),
        ("srt://h:1", "address"),
        ("frame_%04d.png", "numbered"),
        ("shots", "folder"),
        ("shots/shot3.png", "picture"),
        ("shots/*.png", "glob"),
        ("b.mp4", "file"),
        ("file:///b.mp4", "address"),
        ("./b.mp4", "file"),
    ],
)
def test_a_word_is_known_by_its_form(folder: Path, word: str, kind: str) -> None:
    assert kind_of(word).name == kind


def test_an_unknown_word_names_the_kinds_and_a_misspelt_file_is_said_to_be_missing(folder: Path) -> None:
    with pytest.raises(VideoError, match=r"wecbam: .*; a source is ") as error:
        open_source("wecbam")
    assert all(kind.written in str(error.value) for kind in SOURCE_KINDS)
    with pytest.raises(VideoError, match=r"^clip_%d\.mp4: "):
        open_source("clip_%d.mp4")
    with pytest.raises(VideoError, match=r"^below/b\.mp4: "):
        open_source("below/b.mp4")
    with pytest.raises(VideoError, match=r"no such camera|list the cameras|cannot be opened"):
        open_source("webcam:97")
    with pytest.raises(VideoError, match=r"folder.*images"):
        open_source(".")
    numbered_video(folder / "c.mp4", 3)
    with pytest.raises(VideoError, match="matches 2 files"):
        open_source("*.mp4")


def test_a_path_is_always_a_file(folder: Path) -> None:
    with pytest.raises(VideoError, match=r"^webcam: "):
        open_source(Path("webcam"))
    (folder / "webcam").write_bytes((folder / "b.mp4").read_bytes())
    with open_source(Path("webcam")) as source:
        assert source.num_frames == 3
    assert expand_sources(["./webcam", "webcam"]) == ["./webcam", "webcam"]
    with open_source("./webcam") as source:
        assert source.num_frames == 3


@pytest.mark.parametrize("scheme", ["srt", "rist", "nonsense"])
def test_a_protocol_that_this_ffmpeg_lacks_is_named_in_one_line(scheme: str) -> None:
    with pytest.raises(VideoError, match=f"'{scheme}'") as caught:
        open_source(f"{scheme}://eve:s3cret@127.0.0.1:9/x?token=t0ken")
    assert "s3cret" not in str(caught.value)
    assert "t0ken" not in str(caught.value)


def test_devices_are_named_as_each_system_knows_them(tmp_path: Path) -> None:
    mac = find_device("webcam:1?size=640x480", "darwin", {})
    assert (mac.file, mac.format) == ("1:none", "avfoundation")
    assert dict(mac.options) == {"framerate": "30", "video_size": "640x480"}
    assert find_device("screen", "win32", {}).format == "gdigrab"
    assert find_device("screen", "darwin", {}).format == "avfoundation"
    x11 = find_device("screen?fps=10", "linux", {"DISPLAY": ":3"})
    assert (x11.file, x11.format, dict(x11.options)) == (":3", "x11grab", {"framerate": "10"})
    v4l2 = find_device("/dev/null?fps=60&format=mjpeg", "linux", {})
    assert (v4l2.file, v4l2.format) == ("/dev/null", "v4l2")
    assert dict(v4l2.options) == {"framerate": "60", "input_format": "mjpeg"}


@pytest.mark.parametrize(
    ("word", "reason"),
    [("screen", "DISPLAY is not set"), ("webcam:97", "no such camera"), ("/dev/null?rate=3", "no option 'rate'")],
)
def test_a_device_that_is_not_there_is_said_in_one_line(word: str, reason: str) -> None:
    with pytest.raises(VideoError, match=reason) as caught:
        find_device(word, "linux", {})
    assert "\n" not in str(caught.value)


def test_a_device_that_cannot_be_read_says_what_to_check() -> None:
    if not Path("/dev/null").is_char_device():
        pytest.skip("needs a character device that is no camera: /dev/null")
    with pytest.raises(VideoError, match=r"^/dev/null: "):
        open_source("/dev/null")


def test_a_display_that_is_not_there_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        pytest.skip("X displays are looked at on Linux")
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(VideoError, match=r"^screen: .*X display :987"):
        open_source("screen")


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb, an X server without a screen, is not on this machine")
def test_the_screen_is_followed_until_its_display_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    words = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "320x200x24", "-nolisten", "tcp"]
    server = subprocess.Popen(words, pass_fds=[write_end], stderr=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("DISPLAY", f":{os.read(read_end, 10).decode().strip()}")
        with open_source("screen?fps=20", max_retries=0) as source:
            assert source.live
            assert (source.height, source.width) == (200, 320)
            seen = []
            with pytest.raises(VideoError, match=r"^screen: lost "):
                for frame in source:
                    seen.append(frame.pts)
                    if len(seen) == 10:
                        server.kill()
    finally:
        server.kill()
        server.wait(30)
        os.close(read_end)
        os.close(write_end)
    assert seen == sorted(set(seen))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://eve:s3cret@h:554/x", "rtsp://***@h:554/x"),
        ("rtsp://eve@h/x", "rtsp://***@h/x"),
        ("rtsp://eve:p@ss@h/x", "rtsp://***@h/x"),
        ("rtsp://eve:p/s@h/x", "rtsp://***@h/x"),
        ("rtsp://eve:p?s#@h/x", "rtsp://***@h/x"),
        ("http://h/x?token=abc&size=3", "http://h/x?token=***&size=3"),
        ("http://h/x?size=3&api_key=abc", "http://h/x?size=3&api_key=***"),
        ("http://h/x?Password=a;user=b", "http://h/x?Password=***;user=***"),
        ("http://h/x?X-Amz-Signature=abc#t", "http://h/x?X-Amz-Signature=***#t"),
        ("[Errno 5] I/O error: 'rtmp://e:s@h/x?auth=abc'", "[Errno 5] I/O error: 'rtmp://***@h/x?auth=***'"),
        ("https://h/x?channel=2&sig2=abc&fps=5&u=eve", "https://h/x?channel=2&sig2=***&fps=5&u=***"),
        ("http://h:80/x and http://e:s@g/", "http://h:80/x and http://***@g/"),
        ("http://h/cat@2.mp4", "http://h/cat@2.mp4"),
        ("udp://@239.0.0.1:1234", "udp://@239.0.0.1:1234"),
        ("a.mp4: no such file", "a.mp4: no such file"),
    ],
)
def test_credentials_are_hidden_wherever_they_stand(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("dance.mp4", "dance"),
        ("a/b/dance.tar.mp4", "dance.tar"),
        ("rtsp://eve:s3cret@cam.local:554/yard?token=t0ken", "cam.local-yard"),
        ("rtsp://eve:s3cret@cam.local", "cam.local"),
        ("udp://127.0.0.1:9", "127.0.0.1"),
        ("test://?seconds=3", "test"),
        ("webcam:1?fps=30", "webcam-1"),
        ("-", "stdin"),
        ("frame_%04d.png", "frame_-04d"),
    ],
)
def test_outputs_are_named_after_their_source(word: str, stem: str) -> None:
    assert output_stem(word) == stem
