"""Bugs reported by users of similar tools, tested here; each case names its report.

The first ten did not affect streamparts when first tested; the last five did. The tests prevent regressions.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from streamparts.cli import main
from streamparts.runtime.stream import run
from streamparts.sources import expand_sources, open_source
from tests.conftest import environment
from tests.media import numbered_video, picture, picture_file, write_video

NAMES = {
    "opencv/opencv#15624: a colon is taken for a protocol": "take 8:00.mp4",
    "shimat/opencvsharp#1633: an emoji gives a rate and a length of 0": "take \N{FIRE}.mp4",
    "pornganizer/PGV4#132: a percent sign is taken for an escape": "100%25.mp4",
    "dahtah/imager#65: spaces": " a  b .mp4",
    "rust-av/Av1an#39: a name that is not Latin": "ビデオ.mp4",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_any_name_that_a_file_can_have_is_read_whole(tmp_path: Path, video: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(video.read_bytes())
    assert expand_sources([str(path)]) == [str(path)]
    with open_source(str(path)) as source:
        assert (source.num_frames, source.rate) == (40, 30)
        assert len(list(source)) == 40


def test_outputs_may_have_such_names_too(tmp_path: Path, video: Path, model_path: Path) -> None:
    """opencv/opencv#8013: a writer fails, or crashes, where the name has a colon."""
    overlay, tracks = tmp_path / "a:8:00 %d.mp4", tmp_path / "a:8:00 %d.jsonl"
    run(video, model_path, overlay=overlay, tracks=tracks)
    with open_source(overlay) as source:
        assert len(list(source)) == 40


def test_one_picture_whose_name_has_a_number_is_one_picture(tmp_path: Path) -> None:
    """opencv/opencv#26457: a sequence that is a single file is not read."""
    picture_file(tmp_path / "shot_0007.png", 3)
    for word in (tmp_path / "shot_0007.png", tmp_path / "shot_%04d.png", tmp_path):
        with open_source(str(word)) as source:
            assert [frame.pts for frame in source] == [0]


def test_a_header_that_counts_too_many_frames_makes_no_difference(tmp_path: Path) -> None:
    """IntelligentSensingAndRehabilitation/PosePipeline#59, openmpf/openmpf#1192: the length is the header's guess."""
    data = bytearray(numbered_video(tmp_path / "a.avi", 30, codec="mpeg4").read_bytes())
    place = data.index(b"avih") + 8 + 16
    data[place : place + 4] = (9999).to_bytes(4, "little")
    place = data.index(b"strh") + 8 + 32
    data[place : place + 4] = (9999).to_bytes(4, "little")
    (tmp_path / "wrong.avi").write_bytes(data)
    with open_source(tmp_path / "wrong.avi") as source:
        assert [frame.index for frame in source] == list(range(30))


def test_a_frame_that_cannot_be_decoded_is_not_taken_for_the_end(tmp_path: Path) -> None:
    """bornfree/dive-color-corrector#2: reading ends at the first frame that fails."""
    path = numbered_video(tmp_path / "a.mp4", 60, options={"g": "5", "bf": "0"})
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    start, size = packets[20].pos, packets[20].size
    assert start is not None
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    with open_source(path) as source:
        numbers = [frame.pts_seconds for frame in source]
        assert source.decode_errors >= 1
    assert numbers[-1] == pytest.approx(59 / 30)
    assert len(numbers) >= 54


def test_a_photograph_is_upright_by_its_exif_tag(tmp_path: Path) -> None:
    """thumbsup/thumbsup#42, Nheko-Reborn/nheko#674: the tag is ignored, or applied twice."""
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(picture(0)).save(tmp_path / "a.jpg", exif=exif)
    with open_source(str(tmp_path / "a.jpg")) as source:
        assert (source.height, source.width) == (128, 96)


def test_a_very_wide_picture_is_read(tmp_path: Path) -> None:
    """k4yt3x/video2x#1201: 5120x1440 fails, 3840x1440 works."""
    path = write_video(
        tmp_path / "wide.mp4", [np.zeros((1440, 5120, 3), np.uint8)] * 2, options={"preset": "ultrafast"}
    )
    with open_source(path) as source:
        assert (source.height, source.width, len(list(source))) == (1440, 5120, 2)


@pytest.mark.parametrize("mode", ["CMYK", "P", "1", "L", "LA", "RGBA", "I;16"])
def test_a_picture_of_any_mode_is_read(tmp_path: Path, mode: str) -> None:
    """Beyond the reports: what scanners and drawing programs write."""
    suffix = ".jpg" if mode == "CMYK" else ".png"
    image = Image.fromarray(picture(0))
    image = Image.new(mode, (128, 96), 40_000) if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / f"a{suffix}")
    with open_source(str(tmp_path)) as source:
        assert len(list(source)) == 1


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGPIPE")
def test_a_reader_that_has_enough_ends_a_run_without_a_word(video: Path, model_path: Path) -> None:
    """Backblaze/B2_Command_Line_Tool#1071, openvax/mhctools#387: piping into head is an error."""
    words = [
        sys.executable,
        "-m",
        "streamparts",
        "run",
        str(video),
        "--model",
        str(model_path),
        "--no-overlay",
        "--quiet",
    ]
    with subprocess.Popen(
        [*words, "--tracks", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), bufsize=0
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(5) == b'{"typ'
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")


@pytest.mark.skipif(os.name == "nt", reason="there is no such database")
def test_a_user_who_is_only_a_number_can_run_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path, model_path: Path
) -> None:
    """vectorize-io/hindsight#3863, Deep-MI/FastSurfer#286: in containers, getpwuid() knows no such user, and there is
    no home folder."""
    import pwd

    def nobody(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    words = ["run", video, "--model", model_path, "--tracks", tmp_path / "t.jsonl", "--overlay", tmp_path / "o.mp4"]
    assert main([*map(str, words)]) == 0


def test_two_long_names_with_the_same_beginning_are_no_two_runs(tmp_path: Path, video: Path, model_path: Path) -> None:
    """The same reports; here, the locks of both outputs had one name."""
    stem = 220 * "x"
    run(video, model_path, overlay=tmp_path / f"{stem}.overlay.mp4", tracks=tmp_path / f"{stem}.tracks.jsonl")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(os.name == "nt", reason="the folder of a process cannot be deleted there")
def test_a_folder_that_was_deleted_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model_path: Path
) -> None:
    """pypa/pip#4255, qutebrowser/qutebrowser#370: getcwd() fails."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["run", "a.mp4", "--model", str(model_path), "--tracks", "t.jsonl", "--no-overlay"]) == 1
    assert "current folder no longer exists" in capsys.readouterr().err


@pytest.mark.parametrize("letter", ["x", "\N{LATIN SMALL LETTER U WITH DIAERESIS}", "\N{FIRE}"])
@pytest.mark.parametrize("together", [False, True])
def test_names_as_long_as_a_file_system_allows_are_shortened_and_stay_different(
    tmp_path: Path, video: Path, model_path: Path, letter: str, together: bool
) -> None:
    """yt-dlp/yt-dlp#6882, Unrud/video-downloader#28: a video is named by its title, and the name with an extension is
    too long."""
    size = len(letter.encode())
    films = [tmp_path / f"{letter * ((250 - size) // size)}{end}.mp4" for end in "ab"]
    for film in films:
        film.symlink_to(video)
    out = tmp_path / "out"
    out.mkdir()
    words = [["--workers", "1", tmp_path] if together else [film] for film in films[: 1 if together else 2]]
    for each in words:
        assert main(["run", *map(str, each), "--model", str(model_path), "--out-dir", str(out)]) == 0
    assert len(list(out.glob("*.tracks.jsonl"))) == len(list(out.glob("*.overlay.mp4"))) == 2
