import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from streamparts.arrays import ByteArray
from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.load import Bundle
from streamparts.data import Frame, NetworkOutputs
from streamparts.errors import ModelError
from streamparts.geometry import affine_from_moments, mask_moments
from streamparts.tracking.segment import PartSegmenter
from tests.media import picture, red_center
from tests.tiny_model import write_tiny_model


def as_frame(image: np.ndarray) -> Frame:
    return Frame(0, 0, Fraction(1, 30), image, 0, image.shape[0], image.shape[1], 0.0)


@pytest.fixture(scope="module")
def segmenter(bundle: Bundle) -> PartSegmenter:
    return PartSegmenter(bundle, OnnxRuntimeBackend(bundle, threads=1))


def test_the_tiny_model_agrees_with_moments_in_numpy(segmenter: PartSegmenter) -> None:
    _, parts = segmenter(as_frame(picture(4)))
    for part in (0, 1):
        mean, covariance, mass = mask_moments(parts.labels == part + 1)
        expected = affine_from_moments(mean, covariance)
        assert mass > 50
        assert np.allclose(parts.affines[part, :, 2], mean, atol=1e-5)
        ours, theirs = parts.affines[part, :, :2], expected[:, :2]
        assert np.allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-5)


def test_a_part_is_found_where_it_is_in_the_frame(segmenter: PartSegmenter) -> None:
    letterbox, parts = segmenter(as_frame(picture(7, 480, 640)))
    center = letterbox.affines_to_frame(parts.affines)[0, :, 2]
    assert np.abs(center - red_center(7, 480, 640)).max() < 2


def test_the_prepared_image_keeps_the_proportions_of_the_frame(segmenter: PartSegmenter) -> None:
    prepared = segmenter.prepare(as_frame(np.full((50, 100, 3), 200, np.uint8)))
    assert prepared.image.shape == (64, 64, 3)
    assert prepared.image[16:48].min() == 200
    assert prepared.image[:16].max() == prepared.image[48:].max() == 0


def test_preparing_and_inferring_apart_gives_the_same(segmenter: PartSegmenter) -> None:
    frame = as_frame(picture(2))
    _, together = segmenter(frame)
    apart = segmenter.infer(segmenter.prepare(frame))
    assert np.array_equal(together.labels, apart.labels)
    assert np.array_equal(together.affines, apart.affines)


def test_a_batch_gives_what_its_pictures_give_one_by_one(bundle: Bundle) -> None:
    backend = OnnxRuntimeBackend(bundle)
    images = np.stack([picture(number, 64, 64) for number in range(3)])
    batch = backend.run(images)
    for number in range(3):
        for whole, single in zip(batch[:3], backend.run(images[number : number + 1])[:3], strict=True):
            assert np.allclose(whole[number], single[0], atol=1e-6)


def test_an_empty_picture_has_no_parts_and_finite_numbers(segmenter: PartSegmenter) -> None:
    _, parts = segmenter(as_frame(np.zeros((64, 64, 3), np.uint8)))
    assert parts.scores.tolist() == [0, 0]
    assert not parts.labels.any()
    assert np.isfinite(parts.affines).all()


def test_pictures_of_the_wrong_size_are_a_model_error(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match=r"tiny\.onnx.*uint8.* uint8 \(1, 32, 64, 3\)"):
        OnnxRuntimeBackend(bundle).run(np.zeros((1, 32, 64, 3), np.uint8))


def test_a_negative_number_of_threads_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="threads"):
        OnnxRuntimeBackend(bundle, threads=-1)


def test_what_was_checked_is_what_runs(tmp_path: Path) -> None:
    """The file may change between loading and running; the bundle holds what it described."""
    path = write_tiny_model(tmp_path / "model.onnx")
    bundle = load_model(path)
    path.write_bytes(b"")
    labels, *_ = OnnxRuntimeBackend(bundle).run(np.zeros((1, 64, 64, 3), np.uint8))
    assert labels.shape == (1, 64, 64)


class NanBackend:
    name = "nan"

    def run(self, images: ByteArray) -> NetworkOutputs:
        num, height, width = images.shape[:3]
        affines = np.full((num, 2, 2, 3), np.nan, np.float32)
        return NetworkOutputs(np.zeros((num, height, width), np.uint8), affines, np.ones((num, 2), np.float32))


def test_numbers_that_are_not_finite_are_a_model_error(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match="at frame 0"):
        PartSegmenter(bundle, NanBackend())(as_frame(picture(0)))


class TellingBackend:
    """Returns the outputs set by the test, for one image."""

    name = "telling"

    def __init__(self, **said: np.ndarray) -> None:
        self._said = said

    def run(self, images: ByteArray) -> NetworkOutputs:
        num, height, width = images.shape[:3]
        sound: dict[str, np.ndarray | None] = {
            "labels": np.zeros((num, height, width), np.uint8),
            "affines": np.zeros((num, 2, 2, 3), np.float32),
            "scores": np.ones((num, 2), np.float32),
            "evidence": np.ones((num, 2, 2), np.float32),
        }
        return NetworkOutputs(**(sound | self._said))  # type: ignore[arg-type]


def of_two(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"scores": of_two(1e30, 0.5)}, "scores outside 0 to 1 at frame 0"),
        ({"scores": of_two(0.5, -0.1)}, "scores outside 0 to 1"),
        ({"scores": of_two(0.5, np.inf)}, "numbers that are not finite"),
        ({"scores": of_two(0.5, 0.5, 0.5)}, "poses or scores with shapes"),
        ({"evidence": np.full((1, 2, 2), 1.5, np.float32)}, "evidence outside 0 to 1"),
        ({"evidence": np.full((1, 2, 2), np.nan, np.float32)}, "numbers that are not finite"),
        ({"evidence": np.zeros((1, 2), np.float32)}, "evidence with a shape"),
        ({"affines": np.full((1, 2, 2, 3), 3.4e38, np.float32)}, "poses far outside the image"),
        ({"affines": np.full((1, 2, 2, 3), -2e4, np.float32)}, "poses far outside the image"),
        ({"affines": np.zeros((1, 3, 2, 3), np.float32)}, "poses or scores with shapes"),
        ({"labels": np.full((1, 64, 64), 3, np.uint8)}, "labels that contradict its description"),
        ({"labels": np.zeros((1, 32, 64), np.uint8)}, "labels that contradict its description"),
    ],
)
def test_what_no_tracks_file_may_hold_is_the_error_of_its_frame(
    bundle: Bundle, said: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ModelError, match=rf"^tiny: .*{message}"):
        PartSegmenter(bundle, TellingBackend(**said))(as_frame(picture(0)))


def test_what_rounding_puts_out_of_its_range_is_put_back(bundle: Bundle) -> None:
    backend = TellingBackend(scores=of_two(1.01, -0.005), evidence=np.full((1, 2, 2), 1.02, np.float32))
    _, parts = PartSegmenter(bundle, backend)(as_frame(picture(0)))
    assert parts.scores.tolist() == [1, 0]
    assert parts.evidence is not None and parts.evidence.max() == 1


def test_frames_in_a_batch_have_the_parts_they_have_alone(bundle: Bundle, segmenter: PartSegmenter) -> None:
    prepared = [segmenter.prepare(as_frame(picture(number))) for number in range(3)]
    for together, item in zip(segmenter.infer_batch(prepared), prepared, strict=True):
        alone = segmenter.infer(item)
        assert np.array_equal(together.labels, alone.labels)
        assert np.allclose(together.affines, alone.affines, atol=1e-6)


def test_in_a_batch_the_frame_that_is_not_finite_is_named(bundle: Bundle) -> None:
    class SecondIsNan(NanBackend):
        def run(self, images: ByteArray) -> NetworkOutputs:
            outputs = super().run(images)
            outputs.affines[[0, 2]] = 0
            return outputs

    segmenter = PartSegmenter(bundle, SecondIsNan())
    frames = [dataclasses.replace(as_frame(picture(0)), index=index) for index in (5, 6, 7)]
    with pytest.raises(ModelError, match="at frame 6"):
        segmenter.infer_batch([segmenter.prepare(frame) for frame in frames])
