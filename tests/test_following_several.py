"""Following several subjects of one kind: identities, and the outputs that have them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import streamparts
from streamparts.bundle.load import Bundle
from streamparts.data import Tracks
from streamparts.formats import convert
from streamparts.runtime.loop import track
from streamparts.runtime.stream import run
from streamparts.sinks.overlay.canvas import rgb_canvas
from streamparts.sinks.overlay.drawing import Painter
from streamparts.tracking.assignment import assign
from tests.scenes import PINK, RED, SceneSource, Square, along, background, scene, square_bundle

Place = Callable[[int], tuple[float, float]]


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return square_bundle(tmp_path_factory.mktemp("squares"))


def source(first: Square, second: Square, num_frames: int) -> SceneSource:
    behind = background(1)
    return SceneSource([scene(number, [first, second], behind) for number in range(num_frames)])


def identities(tracks: Sequence[Tracks], places: Sequence[Place], numbers: Sequence[int]) -> set[tuple[int, ...]]:
    """For each frame, the place of each subject."""
    out = set()
    for number in numbers:
        centers = [one.centers[0] for one in tracks[number].subjects]
        way = [[float(np.hypot(*(center - place(number)))) for place in places] for center in centers]
        assert all(min(row) < 6 for row in way), f"frame {number}: {centers}"
        out.add(tuple(int(np.argmin(row)) for row in way))
    return out


LEFT, RIGHT = along((60, 150), (5, 0)), along((420, 165), (-5, 0))


@pytest.mark.parametrize("colours", [(RED, PINK), (RED, RED)])
def test_two_that_cross_keep_their_numbers(squares: Bundle, colours: tuple[tuple[int, int, int], ...]) -> None:
    pair = (Square(LEFT, 26, colours[0]), Square(RIGHT, 26, colours[1]))
    tracks = list(track(source(*pair, 72), squares, backend="onnxruntime", subjects=2))
    assert all(len(one.subjects) == 2 and one.subjects[1].subject == 1 for one in tracks)
    apart = [number for number in range(72) if abs(LEFT(number)[0] - RIGHT(number)[0]) > 50]
    assert len(identities(tracks, (LEFT, RIGHT), apart)) == 1
    assert all(one.visible[0] for number in apart for one in tracks[number].subjects)


def test_two_of_different_looks_that_turn_around_at_each_other_are_told_apart(squares: Bundle) -> None:
    def there(number: int) -> tuple[float, float]:
        return (60 + 5 * min(number, 72 - number), 150)

    def back(number: int) -> tuple[float, float]:
        return (420 - 5 * min(number, 72 - number), 160)

    tracks = list(track(source(Square(there, 26, RED), Square(back, 26, PINK), 72), squares, subjects=2))
    apart = [number for number in range(72) if abs(there(number)[0] - back(number)[0]) > 50]
    settled = [number for number in apart if number < 36 or number > 46]
    assert len(identities(tracks, (there, back), settled)) == 1


def test_one_that_leaves_is_not_seen_and_the_other_keeps_its_number(squares: Bundle) -> None:
    stays = Square(along((100, 100), (1, 0)), 40, RED)
    leaves = Square(lambda number: (400 + 6 * number, 250) if number < 60 else (760 - 6 * (number - 60), 250), 24, PINK)
    tracks = list(track(source(stays, leaves, 125), squares, subjects=2))
    assert tracks[5].subjects[0].centers[0][0] < 200 < tracks[5].subjects[1].centers[0][0]
    for number in range(125):
        assert tracks[number].visible[0]
        assert np.hypot(*(tracks[number].centers[0] - stays.center(number))) < 3
    assert not any(tracks[number].subjects[1].visible.any() for number in range(30, 100))
    assert tracks[124].subjects[1].visible[0]


def test_each_subject_has_a_crop_of_its_own(squares: Bundle) -> None:
    pair = (Square(along((60, 60), (1, 0)), 26), Square(along((400, 300), (-1, 0)), 26))
    tracks = list(track(source(*pair, 10), squares, subjects=2))[-1]
    regions = [one.region for one in tracks.subjects]
    assert all(region is not None and region[2] < 80 for region in regions) and regions[0] != regions[1]
    assert [one.subjects[0] is one for one in tracks.subjects] == [True, True]


@pytest.fixture(scope="module")
def file_of_two(squares: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tracks with masks of two squares that stay apart."""
    path = tmp_path_factory.mktemp("two") / "two.jsonl"
    pair = (Square(along((60, 60), (2, 0)), 32), Square(along((400, 300), (-2, 0)), 26))
    run(source(*pair, 8), squares, tracks=path, masks=True, subjects=2)
    return path


def test_a_line_has_every_subject_and_the_first_one_where_it_always_was(file_of_two: Path) -> None:
    lines = [json.loads(line) for line in file_of_two.read_text().splitlines()]
    assert (lines[0]["schema"], lines[0]["roi"], lines[0]["subjects"]) == ("streamparts.tracks/3", "auto", 2)
    for line in lines[1:]:
        first, second = line["subjects"]
        assert (first["id"], second["id"]) == (0, 1)
        assert first["parts"] == line["parts"] and first["region"] == line["region"]
        assert first["score"] == line["subject_score"] > 0.5
        assert second["parts"][0]["center"] == pytest.approx([400 - 2 * line["frame"], 300], abs=2)


def test_masks_lie_on_the_region_of_their_subject(file_of_two: Path, tmp_path: Path) -> None:
    convert(file_of_two, tmp_path / "two.json")
    results = json.loads((tmp_path / "two.json").read_text())
    boxes = {one["track_id"]: one["bbox"] for one in results if one["image_id"] == 3 and one["category_id"] == 1}
    assert boxes[0] == pytest.approx([50, 44, 32, 32], abs=3)
    assert boxes[1] == pytest.approx([381, 287, 26, 26], abs=3)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".mcap"])
def test_what_is_read_back_has_both_subjects(file_of_two: Path, tmp_path: Path, suffix: str) -> None:
    for library in {".csv": (), ".parquet": ("pyarrow",), ".mcap": ("mcap", "mcap_protobuf")}[suffix]:
        pytest.importorskip(library)
    convert(file_of_two, tmp_path / f"two{suffix}")
    convert(tmp_path / f"two{suffix}", tmp_path / "again.jsonl")
    pairs = zip(
        streamparts.read_tracks(file_of_two).frames(), streamparts.read_tracks(tmp_path / "again.jsonl").frames(),
        strict=True,
    )  # fmt: skip
    for before, after in pairs:
        assert [one.score for one in after.subjects] == [one.score for one in before.subjects]
        for one, other in zip(before.subjects, after.subjects, strict=True):
            assert other.parts[0].center == pytest.approx(one.parts[0].center, abs=1e-3)
            if suffix != ".csv":
                assert other.region == pytest.approx(one.region)
                assert other.parts[0].mask == one.parts[0].mask


def test_formats_that_know_individuals_have_both(file_of_two: Path, tmp_path: Path) -> None:
    pandas, sleap = pytest.importorskip("pandas"), pytest.importorskip("sleap_io")
    pytest.importorskip("tables")
    convert(file_of_two, tmp_path / "two.csv", "dlc")
    convert(file_of_two, tmp_path / "two.h5", "dlc")
    convert(file_of_two, tmp_path / "two.slp")
    for table in (
        pandas.read_csv(tmp_path / "two.csv", header=[0, 1, 2, 3], index_col=0),
        pandas.read_hdf(tmp_path / "two.h5"),
    ):
        assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
        assert table.loc[3]["tiny", "subject1", "red", "x"] == pytest.approx(400 - 6 - 0.5, abs=2)
    labels = sleap.load_slp(str(tmp_path / "two.slp"))
    assert [one.name for one in labels.tracks] == ["subject0", "subject1"]
    for one in labels.labeled_frames:
        assert [instance.track.name for instance in one.instances] == ["subject0", "subject1"]


def test_formats_of_one_table_have_both_under_names_of_their_own(file_of_two: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    convert(file_of_two, tmp_path / "two.trc")
    convert(file_of_two, tmp_path / "two.analysis.h5")
    convert(file_of_two, tmp_path / "people", "openpose")
    header = (tmp_path / "two.trc").read_text().splitlines()[3].split("\t")
    assert [name for name in header if name][2:] == ["subject0_red", "subject0_green", "subject1_red", "subject1_green"]
    with h5py.File(tmp_path / "two.analysis.h5") as file:
        assert file["tracks"].shape == (2, 2, 2, 8)
        assert file["tracks"][1, :, 0, 3] == pytest.approx([393.5, 299.5], abs=2)
    people = json.loads(sorted((tmp_path / "people").iterdir())[3].read_text())["people"]
    assert [one["person_id"] for one in people] == [[0], [1]]


def test_the_table_of_values_is_that_of_their_file(squares: Bundle, file_of_two: Path) -> None:
    pytest.importorskip("pandas")
    table = streamparts.to_pandas(file_of_two)
    assert table.groupby("subject").size().tolist() == [16, 16]
    pair = (Square(along((60, 60), (2, 0)), 32), Square(along((400, 300), (-2, 0)), 26))
    values = streamparts.to_pandas(track(source(*pair, 8), squares, subjects=2))
    assert values[["subject", "part", "visible"]].equals(table[["subject", "part", "visible"]])


def test_the_overlay_shows_both_with_a_box_and_a_number(squares: Bundle) -> None:
    pair = (Square(along((60, 60), (2, 0)), 32), Square(along((400, 300), (-2, 0)), 26))
    tracks = list(track(source(*pair, 3), squares, subjects=2))[-1]
    picture = tracks.frame.image.copy()  # type: ignore[union-attr]
    Painter().paint(rgb_canvas(picture), tracks)
    changed = (picture != tracks.frame.image).any(axis=-1)
    for x, y in ((64, 60), (396, 300)):
        assert changed[y - 20 : y + 20, x - 20 : x + 20].sum() > 300
    assert not changed[120:240].any()


def test_a_message_carries_both(squares: Bundle, file_of_two: Path) -> None:
    from streamparts.tracksfile.recording import frame_record

    pair = (Square(along((60, 60), (2, 0)), 32), Square(along((400, 300), (-2, 0)), 26))
    tracks = next(track(source(*pair, 8), squares, subjects=2))
    record = frame_record(tracks, masks=False)
    assert [one.id for one in record.subjects] == [0, 1]
    assert [one.score for one in record.subjects] == [round(one.subject_score or 0, 3) for one in tracks.subjects]


def test_the_cheapest_assignment_is_found() -> None:
    from itertools import permutations

    rng = np.random.default_rng(0)
    for num_rows, num_columns in [(1, 1), (2, 2), (3, 5), (4, 4), (5, 2), (6, 6)]:
        for _ in range(20):
            costs = rng.integers(0, 6, (num_rows, num_columns)).astype(float)
            pairs = assign(costs)
            wide = costs if num_rows <= num_columns else costs.T
            best = min(
                sum(wide[row, column] for row, column in enumerate(columns))
                for columns in permutations(range(wide.shape[1]), wide.shape[0])
            )
            assert len(pairs) == min(num_rows, num_columns)
            assert sum(costs[row, column] for row, column in pairs) == pytest.approx(best)
