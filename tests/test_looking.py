"""Frames whose network runs while the tracks before them are used."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.load import Bundle
from streamparts.data import Tracks
from streamparts.errors import ModelError, VideoError
from streamparts.meter import StageClock
from streamparts.runtime.pipeline import part_tracker
from streamparts.sources import open_source
from streamparts.tracking.looking import FixedTracks
from streamparts.tracking.segment import PartSegmenter, Prepared
from tests.test_shared import TwoSlots


def fixed(bundle: Bundle, backend: TwoSlots | OnnxRuntimeBackend) -> tuple[PartSegmenter, FixedTracks]:
    segmenter = PartSegmenter(bundle, backend)
    return segmenter, FixedTracks(segmenter, bundle.spec, False, part_tracker(bundle.spec), StageClock())


def prepared(segmenter: PartSegmenter, count: int, error: Exception | None = None) -> Iterator[Prepared]:
    with open_source("test://?seconds=1") as source:
        for frame in source:
            if frame.index == count:
                break
            yield segmenter.prepare(frame)
    if error:
        raise error


def ready(bundle: Bundle) -> TwoSlots:
    backend = TwoSlots(bundle)
    backend.permits.release(100)
    return backend


def test_tracks_one_frame_behind_are_the_same_tracks(bundle: Bundle) -> None:
    backend = ready(bundle)
    segmenter, overlapped = fixed(bundle, backend)
    got = list(overlapped.updates(prepared(segmenter, 5)))
    plain_segmenter, plain = fixed(bundle, OnnxRuntimeBackend(bundle))
    wanted = [plain.update(item) for item in prepared(plain_segmenter, 5)]
    assert [each.index for each in got] == [0, 1, 2, 3, 4]
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.affines, other.affines)
    assert backend.log[:4] == ["start 1", "start 1", "end 1", "start 1"]


def test_an_error_of_the_source_comes_after_the_tracks_before_it(bundle: Bundle) -> None:
    segmenter, tracks = fixed(bundle, ready(bundle))
    seen: list[Tracks] = []
    with pytest.raises(VideoError, match="torn"):
        seen.extend(tracks.updates(prepared(segmenter, 3, VideoError("torn"))))
    assert len(seen) == 3


@pytest.mark.parametrize("where", ["submit", "collect"])
def test_an_error_of_the_network_comes_after_the_tracks_before_it(bundle: Bundle, where: str) -> None:
    backend = ready(bundle)
    segmenter, tracks = fixed(bundle, backend)
    results = tracks.updates(prepared(segmenter, 9))
    first = next(results)
    backend.fails.add(where)
    with pytest.raises(ModelError, match=r"cannot start|failed under way"):
        list(results)
    assert first.index == 0 and backend._under_way == []


def test_an_iteration_that_is_given_up_leaves_nothing_under_way(bundle: Bundle) -> None:
    backend = ready(bundle)
    segmenter, tracks = fixed(bundle, backend)
    results = tracks.updates(prepared(segmenter, 9))
    next(results)
    assert backend._under_way
    results.close()
    assert backend._under_way == []


def test_a_backend_of_one_batch_at_a_time_does_not_overlap(bundle: Bundle) -> None:
    segmenter, _ = fixed(bundle, OnnxRuntimeBackend(bundle))
    assert not segmenter.overlaps
    with pytest.raises(ValueError, match="onnxruntime"):
        segmenter.finish(next(prepared(segmenter, 1)))
