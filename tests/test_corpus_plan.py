"""The videos that command-line words select, and the names of their outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamparts.corpus.plan import is_remote, plan
from streamparts.corpus.shares import shares
from streamparts.errors import VideoError
from streamparts.sources import kinds
from tests.media import picture_file


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """day1/cam1.mp4, day1/cam2.mp4, day1/deep/cam1.mov, day2/cam1.mp4, empty files; the current folder."""
    for name in ("day1/cam1.mp4", "day1/cam2.mp4", "day1/deep/cam1.mov", "day2/cam1.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*words: str | Path, taken: dict[str, str] | None = None) -> list[str]:
    return [item.name for item in plan(words, taken)]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["**/*.mp4"], ["day1/cam1", "day1/cam2", "day2/cam1"]),
        (["day1/**/*.m*"], ["cam1", "cam2", "deep/cam1"]),
        (["day?/cam1.mp4"], ["day1/cam1", "day2/cam1"]),
        (["day1"], ["cam1", "cam2", "deep/cam1"]),
        (["day1/*.mp4", "day2/*.mp4"], ["day1/cam1", "day1/cam2", "day2/cam1"]),
        (["day1/cam1.mp4", "day2/cam1.mp4"], ["day1/cam1", "day2/cam1"]),
        (["day1/cam1.mp4"], ["cam1"]),
        (["day1/cam1.mp4", "day1/*.mp4", "day1/../day1/cam1.mp4"], ["cam1", "cam2"]),
        ([Path("day1")], ["cam1", "cam2", "deep/cam1"]),
        (["none.mp4", "day1/cam1.mp4"], ["none", "day1/cam1"]),
    ],
)
def test_outputs_keep_the_folders_below_what_all_words_have_in_common(
    tree: Path, words: list[str | Path], wanted: list[str]
) -> None:
    assert names(*words) == wanted
    assert all(Path(item.source).is_absolute() for item in plan(words))


def test_a_list_counts_as_the_files_in_it(tree: Path) -> None:
    (tree / "list.txt").write_text("# of both days\nday1/cam1.mp4\nday2/cam1.mp4\n")
    assert names("@list.txt") == ["day1/cam1", "day2/cam1"]


def test_files_that_differ_in_their_endings_or_in_case_alone_get_their_endings(tree: Path) -> None:
    for name in ("a.mp4", "a.mov", "A.mkv", "b.mp4"):
        (tree / "day2" / name).touch()
    assert sorted(names("day2")) == ["A.mkv", "a.mov", "a.mp4", "b", "cam1"]


def test_a_name_that_was_given_stays_whatever_else_is_there(tree: Path) -> None:
    """Also of a later video, which would have taken the name."""
    source = str(tree / "day1" / "cam1.mp4")
    taken = {source: "day1/cam1"}
    assert names("day1/cam1.mp4", taken=taken) == ["day1/cam1"]
    (tree / "day1" / "cam1.mov").touch()
    assert names("day1/cam1.mov", "day1/cam1.mp4", taken={source: "cam1"}) == ["cam1.mov", "cam1"]


def test_links_to_folders_keep_their_own_names(tree: Path) -> None:
    (tree / "day2" / "linked").symlink_to(tree / "day1" / "deep")
    assert "linked/cam1" in names("day2/*/*.mov")


def test_a_folder_of_pictures_is_one_video(tree: Path) -> None:
    for number in range(2):
        (tree / "shots").mkdir(exist_ok=True)
        picture_file(tree / "shots" / f"{number}.png", number)
    assert names("shots", "day2") == ["shots", "day2/cam1"]


@pytest.mark.parametrize("word", ["webcam", "rtsp://me:secret@host/x", "http://host/film.mp4", "test://", "-"])
def test_what_is_no_file_is_refused_in_a_line(tree: Path, word: str) -> None:
    with pytest.raises(VideoError, match=r"corpus.*consists") as caught:
        plan(["day1", word])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("words", "reason"), [(["*.avi"], "no file has such a name"), ([], "at least one video")])
def test_nothing_to_do_is_an_error(tree: Path, words: list[str], reason: str) -> None:
    with pytest.raises(VideoError, match=reason):
        plan(words)


def test_addresses_that_ffmpeg_plays_are_no_stores() -> None:
    assert all(map(is_remote, ["s3://bucket/x.mp4", "gs://b/x", "hf://datasets/a/b", "memory://x", "S3://b"]))
    assert not any(map(is_remote, ["rtsp://h/x", "http://h/x.mp4", "test://", "x.mp4", "C:/x.mp4", Path("s3://b")]))


def test_a_kind_of_source_with_a_scheme_of_its_own_is_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_remote("noise://")
    own = kinds.SourceKind("pattern", "noise://", lambda word: word == "noise://", kinds.SOURCE_KINDS[1].open)
    monkeypatch.setattr(kinds, "SOURCE_KINDS", (own, *kinds.SOURCE_KINDS))
    assert not is_remote("noise://") and is_remote("s3://bucket/x.mp4")


def test_workers_and_threads_together_take_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamparts.corpus.shares.usable_cores", lambda: 8)
    monkeypatch.setattr("streamparts.corpus.shares.free_bytes", lambda: 10**12)
    monkeypatch.setattr("streamparts.corpus.shares.visible_gpus", lambda: ())
    given = [shares(100, "auto"), shares(3, "auto"), shares(100, "auto", threads=4), shares(100, "auto", workers=3)]
    assert [(share.num_workers, share.threads) for share in given] == [(8, 1), (3, 2), (2, 4), (3, 2)]
    monkeypatch.setattr("streamparts.corpus.shares.free_bytes", lambda: 1_600_000_000)
    assert shares(100, "auto").num_workers == 3, "little memory"
    monkeypatch.setattr("streamparts.corpus.shares.visible_gpus", lambda: ("0", "3"))
    share = shares(100, "auto")
    assert (share.num_workers, share.devices) == (3, ("0", "3"))
    assert shares(100, "onnxruntime").devices == ()
