import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av import VideoFrame
from av.video.reformatter import VideoReformatter

import streamparts
from streamparts.arrays import ByteArray
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.load import Bundle
from streamparts.data import NetworkOutputs
from streamparts.errors import ModelError, VideoError
from streamparts.runtime.loop import track
from streamparts.runtime.stream import run
from streamparts.sinks.overlay.sink import OverlaySink
from streamparts.sources.rescale import Rescaler
from streamparts.tracksfile.writing import JsonlSink
from tests.media import ArraySource, decode, numbered_video, read_number, red_center

pytestmark = pytest.mark.usefixtures("no_threads_left")
PATIENCE_SECONDS = 5.0


class Broken(Exception):
    """Raised by the stage under test."""


@pytest.fixture(autouse=True)
def ends_in_time() -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 4 * PATIENCE_SECONDS, "an error or an early exit must not hang"


def test_every_frame_of_a_file_becomes_tracks_in_order(video: Path, model_path: Path) -> None:
    results = list(streamparts.track(video, model_path))
    assert [tracks.index for tracks in results] == list(range(40))
    centers = np.array([tracks.centers[0] for tracks in results])
    expected = np.array([red_center(number) for number in range(40)])
    assert np.abs(centers - expected).max() < 2
    assert all(tracks.visible.all() for tracks in results)


def test_what_is_wrong_from_the_start_is_raised_before_the_first_frame(bundle: Bundle) -> None:
    with pytest.raises(VideoError, match="no such file"):
        track("none.mp4", bundle)


def test_leaving_the_loop_early_stops_the_threads(bundle: Bundle) -> None:
    source = ArraySource(10_000)
    with closing(track(source, bundle)) as results:
        for tracks in itertools.islice(results, 3):
            assert tracks.num_parts == 2
    assert source.num_made < 20
    assert not source.closed, "a source that the caller opened is the caller's to close"


def test_the_source_is_never_far_ahead_of_the_consumer(bundle: Bundle) -> None:
    source = ArraySource(200)
    for tracks in track(source, bundle):
        assert source.num_made - tracks.index <= 5


class BrokenBackend:
    name = "broken"

    def __init__(self, bundle: Bundle, fail_at: int) -> None:
        self._inner, self._left = OnnxRuntimeBackend(bundle), fail_at

    def run(self, images: ByteArray) -> NetworkOutputs:
        if self._left == 0:
            raise Broken("backend")
        self._left -= 1
        return self._inner.run(images)


def test_an_error_of_the_source_comes_after_the_tracks_before_it(bundle: Bundle) -> None:
    seen = []
    with pytest.raises(Broken, match="source"):
        for tracks in track(ArraySource(100, fail_at=7, error=Broken("source")), bundle):
            seen.append(tracks.index)
    assert seen == list(range(7))


def test_an_error_of_the_backend_ends_the_loop_with_that_error(bundle: Bundle) -> None:
    seen = []
    with pytest.raises(Broken, match="backend"):
        for tracks in track(ArraySource(10_000), bundle, backend=BrokenBackend(bundle, 5)):
            seen.append(tracks.index)
    assert seen == list(range(5))


def test_an_error_of_the_consumer_stops_the_threads(bundle: Bundle) -> None:
    with pytest.raises(Broken), closing(track(ArraySource(10_000), bundle)) as results:
        for _ in results:
            raise Broken("consumer")


def num_lines(path: Path) -> int:
    text = path.read_bytes()
    assert text.endswith(b"\n")
    return text.count(b"\n")


def test_an_error_of_the_source_ends_a_run_and_leaves_what_was_done(tmp_path: Path, bundle: Bundle) -> None:
    source = ArraySource(100, fail_at=7, error=Broken("source"))
    with pytest.raises(Broken, match="source"):
        run(source, bundle, tracks=tmp_path / "t.jsonl", overlay=tmp_path / "o.mp4")
    assert num_lines(tmp_path / "t.jsonl") == 1 + 7


def test_an_error_of_the_backend_ends_a_run_with_that_error(tmp_path: Path, bundle: Bundle) -> None:
    backend = BrokenBackend(bundle, 5)
    with pytest.raises(Broken, match="backend"):
        run(ArraySource(10_000), bundle, backend=backend, tracks=tmp_path / "t.jsonl")
    assert num_lines(tmp_path / "t.jsonl") == 1 + 5


@pytest.mark.parametrize("kind", [OverlaySink, JsonlSink])
@pytest.mark.parametrize("method", ["write", "close"])
def test_an_error_of_a_sink_ends_that_sink_and_is_raised_once_the_others_are_complete(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, kind: type, method: str
) -> None:
    break_sink(monkeypatch, kind, method)
    with pytest.raises(Broken, match="sink"):
        run(ArraySource(40), bundle, overlay=tmp_path / "o.mp4", tracks=tmp_path / "t.jsonl")
    if kind is OverlaySink:
        assert num_lines(tmp_path / "t.jsonl") == 1 + 40
    else:
        assert [read_number(image) for image, _ in decode(tmp_path / "o.mp4")] == list(range(40))


@pytest.mark.parametrize("kind", [OverlaySink, JsonlSink])
def test_an_error_of_the_last_sink_ends_a_run_with_that_error(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    break_sink(monkeypatch, kind, "write")
    source = ArraySource(10_000)
    with pytest.raises(Broken, match="sink"):
        run(source, bundle, **{"overlay" if kind is OverlaySink else "tracks": tmp_path / "x"})
    assert source.num_made < 30


def break_sink(monkeypatch: pytest.MonkeyPatch, kind: type, method: str) -> None:
    def fail(*_: object) -> None:
        raise Broken("sink")

    real_close = kind.close  # type: ignore[attr-defined]

    def fail_closing(self: object) -> None:
        real_close(self)
        raise Broken("sink")

    monkeypatch.setattr(kind, method, fail_closing if method == "close" else fail)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_ends_a_run_in_one_line(bundle: Bundle) -> None:
    with pytest.raises(VideoError, match="No space left"):
        run(ArraySource(10_000), bundle, tracks="/dev/full")


def test_a_full_disk_ends_the_overlay_too(tmp_path: Path, bundle: Bundle) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a disk that is always full")
    (tmp_path / "full.mp4").symlink_to("/dev/full")
    with pytest.raises(VideoError, match=r"full\.mp4"):
        run(ArraySource(200), bundle, overlay=tmp_path / "full.mp4")


def test_a_run_sums_up_what_it_did(tmp_path: Path, video: Path, bundle: Bundle) -> None:
    paths = (tmp_path / "o.mp4", tmp_path / "t.jsonl")
    progress = []
    summary = run(video, bundle, overlay=paths[0], tracks=paths[1], progress=progress.append)
    assert summary.num_frames == 40
    assert summary.outputs == paths
    assert set(summary.stage_ms) == {"decode", "prepare", "infer", "track", "draw", "encode", "write"}
    assert 0 < summary.age_p50_ms <= summary.age_p95_ms
    assert summary.fps > 0
    assert not summary.interrupted
    assert [p.num_frames for p in progress] == list(range(1, 41))
    assert progress[0].total == 40


def test_a_run_that_is_told_to_stop_finishes_its_outputs(tmp_path: Path, bundle: Bundle) -> None:
    stop = threading.Event()
    summary = run(
        ArraySource(10_000),
        bundle,
        tracks=tmp_path / "t.jsonl",
        stop=stop,
        progress=lambda p: stop.set() if p.num_frames == 12 else None,
    )
    assert summary.interrupted
    assert summary.num_frames == 12
    assert num_lines(tmp_path / "t.jsonl") == 1 + 12


def test_nothing_is_written_when_the_video_cannot_be_opened(tmp_path: Path, bundle: Bundle) -> None:
    kept = tmp_path / "t.jsonl"
    kept.write_text("precious")
    with pytest.raises(VideoError):
        run(tmp_path / "none.mp4", bundle, tracks=kept, overlay=tmp_path / "o.mp4", force=True)
    assert kept.read_text() == "precious"
    assert not (tmp_path / "o.mp4").exists()


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_memory_stays_flat_over_thousands_of_frames(tmp_path: Path, bundle: Bundle) -> None:
    sizes = []

    def watch(progress: streamparts.runtime.stats.Progress) -> None:
        if progress.num_frames in (500, 2500):
            sizes.append(resident_bytes())

    run(ArraySource(2500), bundle, tracks=tmp_path / "t.jsonl", masks=True, progress=watch)
    assert sizes[1] - sizes[0] < 8e6, "2000 frames of 9 kB each would be 18 MB if they were kept"


def test_a_backend_goes_by_its_name_and_the_summary_says_which_it_was(tmp_path: Path, bundle: Bundle) -> None:
    summary = run(ArraySource(3), bundle, backend="onnxruntime", threads=1, tracks=tmp_path / "t.jsonl")
    assert (summary.backend, summary.why_backend) == ("onnxruntime", "requested")
    own = OnnxRuntimeBackend(bundle)
    summary = run(ArraySource(3), bundle, backend=own, tracks=tmp_path / "t.jsonl", force=True)
    assert (summary.backend, summary.why_backend) == ("onnxruntime", "given")


def test_a_backend_that_is_not_there_is_raised_before_the_first_frame(bundle: Bundle) -> None:
    source = ArraySource(3)
    with pytest.raises(ValueError, match="'tpu'"):
        track(source, bundle, backend="tpu")
    with pytest.raises(ModelError, match=r"describe.*network"):
        track(source, bundle, backend="torch-cpu")
    assert source.num_made == 0


def test_threads_are_not_for_a_backend_that_is_open(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="already open"):
        track(ArraySource(3), bundle, backend=OnnxRuntimeBackend(bundle), threads=2)


def test_no_frame_is_lost_doubled_or_shifted_over_hundreds(tmp_path: Path, bundle: Bundle) -> None:
    video, paths = numbered_video(tmp_path / "v.mp4", 400), (tmp_path / "o.mp4", tmp_path / "t.jsonl")
    seen = []
    run(
        video,
        bundle,
        overlay=paths[0],
        tracks=paths[1],
        on_tracks=lambda tracks: seen.append((read_number(Rescaler().rgb(tracks.frame)), tracks.index)),
    )
    assert seen == [(number, number) for number in range(400)]
    assert [read_number(image) for image, _ in decode(paths[0])] == list(range(400))
    lines = paths[1].read_bytes().splitlines()[1:]
    assert [json.loads(line)["frame"] for line in lines] == list(range(400))


def test_tracks_alone_never_convert_a_frame_at_its_full_size(
    tmp_path: Path, video: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[str, int, int]] = []
    to_ndarray = VideoFrame.to_ndarray

    class Counting:
        def __init__(self) -> None:
            self._inner = VideoReformatter()

        def reformat(self, image: VideoFrame, **wanted: Any) -> VideoFrame:
            sizes.append(("scaled", wanted["width"], wanted["height"]))
            return self._inner.reformat(image, **wanted)

    def counting_to_ndarray(image: VideoFrame, **options: Any) -> np.ndarray:
        sizes.append(("copied", image.width, image.height))
        return to_ndarray(image, **options)

    monkeypatch.setattr("streamparts.sources.rescale.VideoReformatter", Counting)
    monkeypatch.setattr(VideoFrame, "to_ndarray", counting_to_ndarray)
    run(video, bundle, tracks=tmp_path / "t.jsonl", masks=True)
    assert sizes == [("scaled", 64, 48), ("copied", 64, 48)] * 40, "only what the network sees"
