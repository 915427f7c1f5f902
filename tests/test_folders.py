"""The content of a folder: no hidden files, no overlays of ours, but linked folders; skipped files are reported."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from streamparts.errors import VideoError
from streamparts.formats import convert
from streamparts.sources import expand_sources, find_videos, open_source
from streamparts.sources.folders import OWN_MARK, VIDEO_SUFFIXES, content_of, is_own
from streamparts.sources.words import fixed_folder, is_sequence, matching, output_stems
from streamparts.texts import readable
from tests.made_tracks import even_tracks
from tests.media import numbered_video, picture_file


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def overlay(path: Path) -> Path:
    """The part of an mp4 file that marks it as written by us."""
    path.write_bytes(box(b"ftyp", b"isom") + box(b"mdat", bytes(99)) + box(b"moov", b"cmt" + OWN_MARK.encode()))
    return path


def names(paths: list[str] | list[Path], folder: Path) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in paths]


def test_hidden_files_and_folders_and_those_of_systems_are_no_content(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "._a.mp4", ".ipynb_checkpoints/b.mp4", "__MACOSX/c.mp4", "day/d.mov", "day/Thumbs.db")
    assert names(find_videos(tmp_path), tmp_path) == ["a.mp4", "day/d.mov"]
    assert names(expand_sources([str(tmp_path)]), tmp_path) == ["a.mp4", "day/d.mov"]


def test_a_folder_of_frames_begins_with_its_first_picture_whatever_macos_left_there(tmp_path: Path) -> None:
    for number in range(3):
        picture_file(tmp_path / f"p{number}.png", number)
        (tmp_path / f"._p{number}.png").write_bytes(b"\0\5\x16\7" + bytes(90))
    touch(tmp_path, "Thumbs.db", ".DS_Store", ".ipynb_checkpoints/p9.png")
    assert is_sequence(tmp_path)
    with open_source(str(tmp_path), fps=10) as source:
        assert [frame.pts_seconds for frame in source] == [0.0, 0.1, 0.2]
        assert source.decode_errors == 0


def test_a_hidden_folder_that_is_named_is_meant(tmp_path: Path) -> None:
    touch(tmp_path, ".take/a.mp4")
    assert names(find_videos(tmp_path / ".take"), tmp_path) == [".take/a.mp4"]


def test_linked_folders_are_searched_and_circles_end(tmp_path: Path) -> None:
    touch(tmp_path, "disk/day/a.mp4", "corpus/b.mp4")
    (tmp_path / "corpus" / "more").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "day" / "up").symlink_to(tmp_path / "disk")
    assert names(find_videos(tmp_path / "corpus"), tmp_path / "corpus") == ["b.mp4", "more/day/a.mp4"]


def test_overlays_that_we_wrote_are_left_out_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.overlay.mp4", "c.overlay.mp4", "c.tracks.jsonl")
    overlay(tmp_path / "a.overlay.mp4")
    said: list[str] = []
    assert names(expand_sources([str(tmp_path)], said.append), tmp_path) == ["a.mp4", "b.overlay.mp4"]
    assert said == [f"{tmp_path}: skipped overlays written by streamparts: 2 (a.overlay.mp4, c.overlay.mp4)"]
    said.clear()
    assert names(expand_sources([str(tmp_path / "*.mp4")], said.append), tmp_path) == ["a.mp4", "b.overlay.mp4"]
    assert len(said) == 2
    assert expand_sources([str(tmp_path / "a.overlay.mp4")]) == [str(tmp_path / "a.overlay.mp4")], "one that is named"


def test_an_overlay_among_files_that_a_shell_has_listed_is_left_out_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "c.mp4")
    every = [tmp_path / "a.mp4", overlay(tmp_path / "a.overlay.mp4"), tmp_path / "c.mp4"]
    said: list[str] = []
    assert names(expand_sources(list(map(str, every)), said.append), tmp_path) == ["a.mp4", "c.mp4"]
    assert [line.partition(":")[0] for line in said] == [str(tmp_path / "a.overlay.mp4")]
    two = [str(every[1]), str(overlay(tmp_path / "b.overlay.mp4"))]
    assert expand_sources(two) == two, "nothing else is given"


def test_a_folder_of_nothing_but_our_overlays_says_so(tmp_path: Path) -> None:
    overlay(tmp_path / "a.overlay.mp4")
    with pytest.raises(VideoError, match=r"\b1\b.*streamparts"):
        find_videos(tmp_path)


def test_what_we_write_says_that_we_wrote_it(tmp_path: Path, video: Path) -> None:
    from fractions import Fraction

    import av
    import numpy as np

    from streamparts.sinks.overlay.mp4 import Mp4Writer

    picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24").reformat(format="yuv420p")
    writer = Mp4Writer(tmp_path / "x.mp4", picture, Fraction(1, 30), Fraction(30), 0)
    for number in range(5):
        writer.write(picture, number)
    writer.close()
    assert is_own(tmp_path / "x.mp4")
    assert not is_own(video)


@pytest.mark.parametrize(
    "suffix", [".MTS", ".wmv", ".flv", ".3gp", ".mxf", ".h265", ".vob", ".dv", ".ogv", ".mjpeg", ".y4m", ".QT"]
)
def test_videos_of_cameras_and_phones_are_found(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"a{suffix}")
    assert names(find_videos(tmp_path), tmp_path) == [f"a{suffix}"]


def test_in_a_mixed_folder_nothing_is_left_out_silently(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.png", "c.exr", "notes.txt")
    assert content_of(tmp_path).left_out() == [
        "skipped images beside videos: 1 (b.png)",
        "skipped files of kinds that are not read from folders: 1 (c.exr)",
    ]


@pytest.mark.parametrize("suffix", [".exr", ".heif", ".MOD", ".rmvb", ".jxl", ".ico", ".part"])
def test_kinds_that_are_not_read_are_named_beside_videos_and_images_and_alone(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"x{suffix}", "notes.txt", "table.csv", "a.tracks.jsonl")
    with pytest.raises(VideoError, match=rf"not read: 1 \(x{suffix}\)"):
        find_videos(tmp_path)
    for name in ("b.png", "a.mp4"):
        touch(tmp_path, name)
        said: list[str] = []
        expand_sources([str(tmp_path)], said.append)
        assert said[-1] == f"{tmp_path}: skipped files of kinds that are not read from folders: 1 (x{suffix})"


def test_images_below_a_folder_of_images_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "day/b.png")
    said: list[str] = []
    assert expand_sources([str(tmp_path)], said.append) == [str(tmp_path)]
    assert said == [f"{tmp_path}: skipped images in folders below: 1 (b.png)"]


def test_pictures_of_science_and_cinema_are_read(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (64, 48), 99).save(tmp_path / "a.pgm")
    Image.new("RGB", (64, 48), (9, 99, 200)).save(tmp_path / "b.ppm")
    with open_source(str(tmp_path)) as source:
        assert len(list(source)) == 2


def test_brackets_in_a_folders_name_are_no_wildcard(tmp_path: Path) -> None:
    touch(tmp_path, "exp [A]/a.mp4", "exp [A]/deep/b.mp4", "exp A/c.mp4")
    pattern = str(tmp_path / "exp [A]" / "**" / "*.mp4")
    assert names(matching(pattern), tmp_path) == ["exp [A]/a.mp4", "exp [A]/deep/b.mp4"]
    assert fixed_folder(pattern) == tmp_path / "exp [A]"
    assert names(matching(str(tmp_path / "exp*" / "*.mp4")), tmp_path) == ["exp A/c.mp4", "exp [A]/a.mp4"]


def test_training_finds_what_a_run_finds(tmp_path: Path) -> None:
    from train.frames.readers import find_clips

    touch(tmp_path, "disk/deep/a.mp4", "corpus/._b.mp4", "corpus/b.mp4", "corpus/.old/c.mp4", "corpus/shots/1.png")
    touch(tmp_path, "corpus/shots/._1.png")
    overlay(tmp_path / "corpus" / "b.overlay.mp4")
    (tmp_path / "corpus" / "more").symlink_to(tmp_path / "disk")
    found = names(find_clips(tmp_path / "corpus"), tmp_path / "corpus")
    assert found == ["b.mp4", "more/deep/a.mp4", "shots"]


def test_labelled_sets_have_the_same_rule(tmp_path: Path) -> None:
    from train.labels.davis import open_davis
    from train.labels.dlc import _find_csv
    from train.labels.pictures import list_images

    touch(tmp_path, "a/p0.png", "a/._p0.png", "a/.ipynb_checkpoints/p1.png", "a/b/p2.png", "a/Thumbs.db")
    assert names(list_images(tmp_path / "a"), tmp_path) == ["a/p0.png"]
    assert names(list_images(tmp_path / "a", below=True), tmp_path) == ["a/b/p2.png", "a/p0.png"]
    touch(tmp_path, "dlc/CollectedData_x.csv", "dlc/._CollectedData_x.csv")
    assert _find_csv(tmp_path / "dlc").name == "CollectedData_x.csv"
    touch(tmp_path, "davis/cat/frames/0.jpg", "davis/.trash/frames/0.jpg")
    assert [place.parent.name for place in open_davis(tmp_path / "davis", 5).sources] == ["cat"]


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode on Windows")
def test_a_file_whose_name_is_no_utf8_is_read_and_its_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    numbered_video(tmp_path / "a.mp4", 5).rename(path)
    with open_source(path) as source:
        assert source.name.encode() == "caf\ufffd.mp4".encode()
        assert len(list(source)) == 5


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode on Windows")
@pytest.mark.parametrize(
    "name", ["x.csv", "x.trc", "x.parquet", "x.json", "x.dataset.json", "x.mcap", "x.analysis.h5", "x.dlc.h5", "x.slp"]
)
def test_every_format_is_written_to_such_names_and_read_from_them(tmp_path: Path, name: str) -> None:
    for library in ("pandas", "sleap_io", "mcap", "pyarrow"):
        pytest.importorskip(library, reason=f"{library} is not installed (extra formats)")
    place = tmp_path / os.fsdecode(b"d\xe9")
    place.mkdir()
    kind = "dlc" if "dlc" in name else None
    tracks, video = even_tracks(place / os.fsdecode(b"caf\xe9.jsonl"), 4), place / os.fsdecode(b"caf\xe9.mp4")
    made = convert(tracks, place / os.fsdecode(b"\xe9-" + name.encode()), kind, video=video if "slp" in name else None)
    assert made.path.stat().st_size > 0
    if made.format.is_read:
        assert convert(made.path, place / "back.jsonl", kind, rate=25, size=(48, 64)).num_frames == 4


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode on Windows")
def test_such_a_name_gets_a_place_in_a_corpus_and_in_training(tmp_path: Path) -> None:
    from streamparts.corpus.places import sha256_of
    from streamparts.corpus.plan import plan
    from train.frames.clips import cache_key
    from train.frames.readers import open_reader

    paths = [tmp_path / os.fsdecode(name) for name in (b"caf\xe9.mp4", b"caf\xe8.mp4")]
    for path in paths:
        path.write_bytes(numbered_video(tmp_path / "a.mp4", 5).read_bytes())
    (tmp_path / "a.mp4").unlink()
    items = plan([tmp_path])
    assert len({item.name.encode() for item in items}) == 2
    assert len({sha256_of(path) for path in paths}) == 1
    assert len({cache_key(path, 64) for path in paths}) == 2
    assert len(open_reader(paths[0])) == 5


PIECES = (
    *(
        b"a",
        b"B",
        b" ",
        b".",
        b"..",
        b"_",
        b"-",
        b"%04d",
        b"%",
        b"[A]",
        b"*",
        b"?",
        b"@",
        b"#",
        b"~",
        b"'",
        b'"',
        b"\\",
    ),
    *(b"\xe9", b"\xc3\xa9", b"\xff", b"\n", b"\t", b"\x1b[2J", b":", b"\xe2\x80\xae", b"=1+1", b"con", b"$HOME"),
)
SUFFIXES = (b".mp4", b".MP4", b".overlay.mp4", b".mkv", b".png", b".exr", b".txt", b"", b".", b".jsonl")


def any_tree(folder: Path, seed: int) -> list[Path]:
    """Twenty files with any names in a few folders with any names."""
    draw, folders, made = np.random.default_rng(seed), [folder], list[Path]()
    for _ in range(20):
        place = folders[int(draw.integers(len(folders)))]
        pieces = [PIECES[n] for n in draw.integers(0, len(PIECES), int(draw.integers(1, 5)))]
        name = os.fsdecode(b"".join([*pieces, SUFFIXES[int(draw.integers(len(SUFFIXES)))]]))
        path = place / name
        if name in (".", "..") or os.path.lexists(path):
            continue
        if draw.random() < 0.25:
            path.mkdir()
            folders.append(path)
        else:
            path.touch()
            made.append(path)
    return made


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode on Windows")
@pytest.mark.parametrize("seed", range(25))
def test_of_any_names_in_any_folders_every_file_is_taken_or_left_out_by_the_rule(tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    files = any_tree(folder, seed)
    shown = {path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)}
    found = content_of(folder)
    assert set(found.videos) == {path for path in shown if path.suffix.lower() in VIDEO_SUFFIXES}
    assert set(found.pictures) == {path for path in shown if path.suffix == ".png"}
    assert set(found.others) == {path for path in shown if path.suffix == ".exr"}
    for line in found.left_out():
        readable(line).encode()
    if not found.videos:
        return
    words = expand_sources([str(folder)])
    assert {Path(word) for word in words} == set(found.videos)
    for path in found.videos:  # and a file that is named is never taken for anything else
        assert expand_sources([str(path)]) == [str(path)]
    stems = output_stems(words)
    assert len({stem.lower() for stem in stems}) == len(stems)
    for stem in stems:
        stem.encode()
        assert stem.isprintable() and (tmp_path / f"{stem}.overlay.mp4").resolve().parent == tmp_path.resolve()
