"""Following one subject through large frames."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import streamparts
from streamparts.arrays import ByteArray
from streamparts.bundle.load import Bundle
from streamparts.data import NetworkOutputs, Tracks
from streamparts.errors import ModelError, TracksError, VideoError
from streamparts.geometry import Region
from streamparts.runtime.loop import track
from streamparts.runtime.options import Tracking
from streamparts.runtime.pipeline import Pipeline
from streamparts.runtime.stream import run
from streamparts.tracking.subject import MOST_CREDIT, SPARE
from tests.scenes import PINK, SceneSource, Square, along, background, scene, square_bundle

pytestmark = pytest.mark.usefixtures("no_threads_left")


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return square_bundle(tmp_path_factory.mktemp("squares"))


def pictures(square: Square, numbers: Sequence[int] | range, seed: int = 1) -> list[ByteArray]:
    return [scene(number, [square], background(seed)) for number in numbers]


def seen(tracks: Sequence[Tracks]) -> str:
    return "".join("x" if one.visible[0] else "." for one in tracks)


WALK = Square(along((60, 180), (5, 1)))


def test_a_small_subject_is_seen_at_full_detail_all_the_way(squares: Bundle) -> None:
    found = list(track(SceneSource(pictures(WALK, range(60))), squares, backend="onnxruntime"))
    whole = list(track(SceneSource(pictures(WALK, range(60))), squares, backend="onnxruntime", roi="off"))
    for number, tracks in enumerate(found):
        assert tracks.visible[0] and tracks.subject_score is not None and tracks.subject_score > 0.5
        assert np.hypot(*(tracks.centers[0] - WALK.center(number))) < 1.5
        left, top, width, height = tracks.region or (0, 0, 0, 0)
        assert width == pytest.approx(height) and 24 < width < 60
        x, y = WALK.center(number)
        assert left < x - 12 and x + 12 < left + width and top < y - 12 and y + 12 < top + height
    pixels = [np.mean([(one.labels > 0).sum() for one in each]) for each in (found, whole)]
    assert pixels[0] > 50 * pixels[1]
    assert all(one.subject_score is None and one.region is None for one in whole)


def test_the_same_frames_give_the_same_tracks(squares: Bundle) -> None:
    runs = [list(track(SceneSource(pictures(WALK, range(25))), squares, backend="onnxruntime")) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        assert one.letterbox == other.letterbox and one.subject_score == other.subject_score
        assert np.array_equal(one.affines, other.affines) and np.array_equal(one.labels, other.labels)


def test_without_following_tracks_are_those_of_a_model_that_knows_no_subject(squares: Bundle, bundle: Bundle) -> None:
    source = SceneSource(pictures(WALK, range(8)))
    plain = square_bundle(Path(squares.path).parent, bundle.spec.input_hw)
    for one, other in zip(
        track(source, plain, backend="onnxruntime", roi="off"),
        track(source, bundle, backend="onnxruntime"),
        strict=True,
    ):
        assert one.letterbox == other.letterbox and one.region is None
        for name in ("labels", "affines", "scores", "areas", "visible"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_a_subject_that_leaves_is_not_seen_and_found_again_when_it_is_back(squares: Bundle) -> None:
    away = Square(lambda number: (400 + 6 * number, 100) if number < 40 else (700 - 6 * (number - 40), 250))
    tracks = list(track(SceneSource(pictures(away, range(100))), squares, backend="onnxruntime"))
    here = [away.center(number)[0] < 480 for number in range(100)]
    left, back = here.index(False), here.index(True, 30)
    assert seen(tracks[: left - 1]) == "x" * (left - 1)
    assert seen(tracks[left + 4 : back]) == "." * (back - left - 4)
    assert seen(tracks[back + 8 :]) == "x" * (92 - back)
    assert all(not one.visible.any() and (one.subject_score or 0) < 0.5 for one in tracks[left + 4 : back])


def test_after_a_cut_the_subject_is_found_in_the_same_frame(squares: Bundle) -> None:
    first = pictures(Square(along((80, 80), (2, 0))), range(20))
    second = pictures(Square(along((400, 300), (-2, 0)), side=40, colour=PINK), range(20), seed=2)
    tracks = list(track(SceneSource(first + second), squares, backend="onnxruntime"))
    assert seen(tracks) == "x" * 40
    assert np.hypot(*(tracks[20].centers[0] - (400, 300))) < 3


@pytest.mark.parametrize("roi", ["auto", (110.0, 80.0, 200.0, 200.0)])
def test_in_damaged_frames_the_subject_is_hidden_and_afterwards_it_is_where_it_was(
    squares: Bundle, roi: Literal["auto"] | Region
) -> None:
    """Which show nothing of it, or something like it elsewhere, or look like a cut."""
    slow, hurt = Square(along((200, 180), (1, 0)), side=60), range(20, 30)
    shown = pictures(slow, range(50))
    grey, elsewhere = np.full_like(shown[0], 128), scene(0, [Square(along((60, 60), (0, 0)), side=60)], background(7))
    for number in hurt:
        shown[number] = grey if number % 2 else elsewhere
    tracks = list(track(SceneSource(shown, damaged=hurt), squares, backend="onnxruntime", roi=roi))
    assert seen(tracks) == "x" * 20 + "." * 10 + "x" * 20
    for number in (30, 31, 40):
        assert np.hypot(*(tracks[number].centers[0] - slow.center(number))) < 3
    regions = [tracks[number].region or (0, 0, 0, 0) for number in range(15, 35)]
    assert max(abs(one[0] - other[0]) for one, other in pairwise(regions)) < 15, "it looks where the subject was"


def test_a_lost_subject_is_not_looked_for_in_damaged_frames(squares: Bundle) -> None:
    rest = Square(along((200, 150), (0, 0)))
    source = SceneSource(pictures(rest, range(20)), damaged=range(10))
    pipeline = Pipeline(source, squares, backend := _Counting(squares), tracking=Tracking(roi="auto"))
    results = iter(pipeline)
    # the network may be three frames ahead
    assert seen([next(results) for _ in range(5)]) == "." * 5 and backend.num_pictures == 0
    assert seen(list(results)) == "." * 5 + "x" * 10 and pipeline.close()


def test_a_network_beside_all_else_gives_the_same_tracks(squares: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    found, threads = [], []
    for cores in (1, 2):
        monkeypatch.setattr("streamparts.runtime.pipeline.usable_cores", lambda cores=cores: cores)
        backend = _Counting(squares)
        pipeline = Pipeline(SceneSource(pictures(WALK, range(30))), squares, backend, Tracking(roi="auto"))
        found.append(list(pipeline))
        assert pipeline.close()
        threads.append(backend.threads)
    assert threads[0] == {threading.get_ident()} and not threads[1] & threads[0]
    assert seen(found[0]) == "x" * 30
    for one, other in zip(*found, strict=True):
        assert one.region == other.region
        np.testing.assert_array_equal(one.affines, other.affines)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_a_network_that_hangs_beside_all_else_is_named(squares: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamparts.runtime.pipeline.usable_cores", lambda: 2)
    backend = _Hanging(squares)
    pipeline = Pipeline(SceneSource(pictures(WALK, range(30))), squares, backend, Tracking(roi="auto"))
    results = iter(pipeline)
    assert next(results).index == 0
    assert backend.hangs.wait(20)
    assert not pipeline.close(0.2)
    assert pipeline.stuck == "the network"
    backend.go_on.set()
    assert pipeline.close()


@pytest.mark.parametrize("begins", [(), (15,)])
def test_a_subject_that_jumps_is_found_in_the_same_frame(squares: Bundle, begins: Sequence[int]) -> None:
    jump = Square(lambda number: (80, 80) if number < 15 else (400, 300))
    tracks = list(track(SceneSource(pictures(jump, range(30)), begins), squares, backend="onnxruntime"))
    assert seen(tracks) == "x" * 30
    assert np.hypot(*(tracks[15].centers[0] - (400, 300))) < 3


def test_of_a_video_without_the_subject_little_more_is_looked_at_than_its_frames(squares: Bundle) -> None:
    for subject, numbers in ((WALK, range(80)), (Square(along((-900, 0), (0, 0))), range(200))):
        with_it = SceneSource(pictures(subject, numbers))
        pipeline = Pipeline(with_it, squares, backend := _Counting(squares), Tracking(roi="auto"))
        assert len(list(pipeline)) == len(numbers) and pipeline.close()
        assert backend.num_pictures <= (1 + SPARE) * len(numbers) + MOST_CREDIT


class _Counting:
    """Counts the images processed by the network."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle) -> None:
        from streamparts.backends.onnx_runtime import OnnxRuntimeBackend

        self._backend = OnnxRuntimeBackend(bundle)
        self.num_pictures = 0
        self.threads: set[int] = set()

    def run(self, images: ByteArray) -> NetworkOutputs:
        self.num_pictures += len(images)
        self.threads.add(threading.get_ident())
        return self._backend.run(images)


class _Hanging(_Counting):
    """Hangs from the fourth call on."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.hangs, self.go_on = threading.Event(), threading.Event()
        self._num_calls = 0

    def run(self, images: ByteArray) -> NetworkOutputs:
        self._num_calls += 1
        if self._num_calls > 3:
            self.hangs.set()
            self.go_on.wait()
        return super().run(images)


def test_a_subject_at_rest_is_always_seen_in_the_same_crop(squares: Bundle) -> None:
    rest = Square(along((200, 150), (0, 0)))
    tracks = list(track(SceneSource(pictures(rest, range(30))), squares, backend="onnxruntime"))
    assert len({one.region for one in tracks[5:]}) == 1


def test_every_policy_and_pace_follows(squares: Bundle) -> None:
    tracks = list(track(SceneSource(pictures(WALK, range(60))), squares, policy="latest"))
    assert tracks[-1].index == 59 and tracks[-1].visible[0]
    tracks = list(track(SceneSource(pictures(WALK, range(60))), squares, max_fps=6))
    assert seen(tracks) == "x" * 12


def test_a_fixed_region_is_all_that_the_network_sees(squares: Bundle) -> None:
    region = (150.0, 150.0, 120.0, 120.0)
    source = SceneSource(pictures(Square(along((90, 200), (4, 0)), 40), range(50)))
    tracks = list(track(source, squares, backend="onnxruntime", roi=region))
    assert {one.region for one in tracks} == {region}
    inside = [170 <= 90 + 4 * number <= 250 for number in range(50)]
    assert all(one.visible[0] for one, is_inside in zip(tracks, inside, strict=True) if is_inside)
    assert not tracks[0].visible[0] and not tracks[-1].visible[0]
    assert np.hypot(*(tracks[25].centers[0] - (190, 200))) < 2


def test_a_region_outside_the_picture_is_refused_in_one_line(squares: Bundle) -> None:
    with pytest.raises(VideoError, match=r"arrays: the region 500,0,50,50 .* 480x360"):
        next(track(SceneSource(pictures(WALK, range(2))), squares, roi=(500, 0, 50, 50)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"roi": (0, 0, 0, 5)}, "the last two at least 1"),
        ({"roi": "all"}, "roi must be auto, off, or"),
        ({"subjects": 0}, "subjects must be 1 to 32"),
        ({"subjects": 2, "roi": "off"}, "leave roi at auto"),
    ],
)
def test_what_makes_no_sense_is_refused(squares: Bundle, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        track(SceneSource(pictures(WALK, range(2))), squares, **arguments)  # type: ignore[arg-type]


def test_a_model_that_knows_no_subject_is_not_followed_and_says_so_where_asked(tmp_path: Path, bundle: Bundle) -> None:
    said = list[str]()
    summary = run(
        SceneSource(pictures(WALK, range(3))), bundle, tracks=tmp_path / "t.jsonl", roi="auto", say=said.append
    )
    assert said == ["tiny has no subject, so it sees the whole frame"]
    assert summary.subject_share is None and summary.mismatch is None
    with pytest.raises(ModelError, match=r"subject.*several"):
        track(SceneSource(pictures(WALK, range(3))), bundle, subjects=2)


def test_a_run_on_the_wrong_kind_of_video_says_so(tmp_path: Path, squares: Bundle) -> None:
    nobody = Square(along((-900, 0), (0, 0)))
    summary = run(SceneSource(pictures(nobody, range(30))), squares, tracks=tmp_path / "t.jsonl")
    assert summary.subject_share == 0
    assert summary.mismatch == (
        "the subject of tiny was visible in 0 of 30 frames: the model does not seem to fit the video"
    )
    assert run(SceneSource(pictures(WALK, range(12))), squares).mismatch is None


def test_a_followed_run_goes_on_by_searching_anew(tmp_path: Path, squares: Bundle) -> None:
    path, everything = tmp_path / "t.jsonl", pictures(WALK, range(40))
    run(SceneSource(everything[:20]), squares, tracks=path)
    run(SceneSource(everything), squares, tracks=path, resume=True)
    frames = list(streamparts.read_tracks(path).frames())
    assert [one.frame for one in frames] == list(range(40))
    assert all(one.parts[0].visible and one.region is not None for one in frames)
    before = path.read_bytes()
    with pytest.raises(TracksError, match=r"\(--roi\)"):
        run(SceneSource(everything), squares, tracks=path, resume=True, roi="off")
    assert path.read_bytes() == before


def test_frames_one_by_one_are_followed_too(squares: Bundle) -> None:
    tracker = streamparts.Tracker(squares, backend="onnxruntime")
    source = SceneSource(pictures(WALK, range(20)))
    for expected in track(source, squares, backend="onnxruntime"):
        assert isinstance(expected.frame.image, np.ndarray)
        tracks = tracker.update(expected.frame.image, expected.pts_seconds)
        assert tracks.region == expected.region and np.array_equal(tracks.affines, expected.affines)


def test_an_error_of_the_source_comes_after_the_tracks_before_it(squares: Bundle) -> None:
    class Broken(SceneSource):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield from super().__iter__()
            raise VideoError("broke")

    results = track(Broken(pictures(WALK, range(6))), squares)
    assert [next(results).index for _ in range(6)] == list(range(6))
    with pytest.raises(VideoError, match="broke"):
        next(results)
