import numpy as np
import pytest

import streamparts
from streamparts import Smoothing, Tracker
from streamparts.bundle.load import Bundle
from streamparts.errors import ModelError
from tests.media import ArraySource, picture


def test_frames_one_by_one_give_what_their_video_gives(bundle: Bundle) -> None:
    tracker = Tracker(bundle, backend="onnxruntime")
    for expected in streamparts.track(ArraySource(20), bundle, backend="onnxruntime"):
        image = expected.frame.image
        assert isinstance(image, np.ndarray)
        tracks = tracker.update(image, expected.pts_seconds)
        assert (tracks.index, tracks.names) == (expected.index, tracker.names)
        assert np.array_equal(tracks.labels, expected.labels)
        assert np.array_equal(tracks.affines, expected.affines)
        assert np.array_equal(tracks.visible, expected.visible)
        assert abs(tracks.pts_seconds - expected.pts_seconds) <= 1e-6


def test_a_frame_of_another_size_begins_a_new_segment(bundle: Bundle) -> None:
    tracker = Tracker(bundle, smoothing=Smoothing())
    segments = [
        tracker.update(picture(number, *size), number / 30).frame.segment
        for number, size in enumerate([(96, 128), (96, 128), (48, 64), (48, 64), (96, 128)])
    ]
    assert segments == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("seconds", [1.0, 0.5])
def test_time_must_go_on(bundle: Bundle, seconds: float) -> None:
    tracker = Tracker(bundle)
    tracker.update(picture(0), 1.0)
    with pytest.raises(ValueError, match="must increase"):
        tracker.update(picture(1), seconds)
    assert tracker.update(picture(1), 1.1).index == 1


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)]
)
def test_what_is_no_picture_is_refused(bundle: Bundle, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="image"):
        Tracker(bundle).update(image, 0.0)


def test_a_model_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ModelError, match=r"such.*model"):
        Tracker("none.onnx")
