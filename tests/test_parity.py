"""What the comparison sees, and what it says when it does not like it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from export.parity import BATCHES, Comparison, Tolerance, batches, compare
from export.parity_frames import FrameSet, collect_frames, odd_pictures
from export.report import require_parity
from streamparts.backends import Outputs
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle import Bundle
from streamparts.data import ByteArray
from streamparts.errors import ModelError, VideoError

EXACT = Tolerance(1e-3, 0.05, 1e-3, odd=True)


@pytest.mark.parametrize("count", [1, 2, 7, 14, 15, 207])
def test_every_frame_is_seen_and_every_batch_size_is_had(count: int) -> None:
    slices = list(batches(count))
    assert set(range(count)) == {row for rows in slices for row in range(rows.start, rows.stop)}
    sizes = {rows.stop - rows.start for rows in slices}
    assert sizes >= {size for size in BATCHES if size <= count} and all(rows.start < rows.stop for rows in slices)


def test_frames_are_real_ones_of_the_video_and_odd_ones_of_the_models_size(bundle: Bundle, video: Path) -> None:
    frames = collect_frames([video], bundle, 5)
    assert frames.num_real == 5 and frames.names[:2] == ("numbered.mp4 #0", "numbered.mp4 #8")
    assert frames.images.shape == (5 + 7, 64, 64, 3)
    named = dict(zip(frames.names, frames.images, strict=True))
    assert named["black"].max() == 0 and len(np.unique(named["noise"])) > 200
    for flat, axis in (("one pixel high", 0), ("one pixel wide", 1)):
        content = named[flat].any(axis=(1 - axis, 2))
        assert content.sum() < 8 <= named[flat].any(axis=(axis, 2)).sum()


def test_odd_pictures_of_a_single_pixel_are_pictures() -> None:
    assert all(min(picture.shape) >= 1 for picture in odd_pictures(np.zeros((1, 1, 3), np.uint8)).values())


def test_nothing_to_compare_on_is_an_error(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match="no frames to compare on"):
        collect_frames([tmp_path / "broken.mp4"], bundle, 5)


def compared(bundle: Bundle, video: Path, spoil: str) -> tuple[FrameSet, Comparison]:
    """The tiny model against itself, spoiled on the frames that are white in the middle."""
    backend = OnnxRuntimeBackend(bundle)

    def other(images: ByteArray) -> Outputs:
        out = backend.run(images)
        rows = images[:, 20:44, 20:44].min((1, 2, 3)) == 255
        labels, affines, scores = out.labels.copy(), out.affines.copy(), out.scores.copy()
        match spoil:
            case "labels":
                labels[rows, 30:32] = 2
            case "nan":
                affines[rows] = np.nan
            case "scores":
                scores[rows] += 0.01
        return Outputs(labels, affines, scores)

    frames = collect_frames([video], bundle, 5)
    return frames, compare(backend.run, other, frames, bundle.spec)


def test_equal_runners_agree_entirely(bundle: Bundle, video: Path) -> None:
    comparison = compared(bundle, video, "")[1]
    assert comparison.passes(EXACT) and comparison.label_agreement == 1
    assert not comparison.excess(EXACT).any()


@pytest.mark.parametrize("spoil", ["labels", "nan", "scores"])
def test_the_worst_frame_is_named_drawn_and_in_the_table(
    spoil: str, bundle: Bundle, video: Path, tmp_path: Path
) -> None:
    frames, comparison = compared(bundle, video, spoil)
    with pytest.raises(ModelError, match=r"worst: frame 10, white, see .*x\.worst\.png.*Nothing was written") as caught:
        require_parity(comparison, EXACT, frames, tmp_path / "x.onnx", tmp_path / "r.json")
    assert "\n" not in str(caught.value)
    picture = cv2.imread(str(tmp_path / "x.worst.png"))
    assert picture.shape == (3 * 64, 3 * 3 * 64, 3)
    assert (picture[100, 10] == 255).all(), "the frame itself comes first"
    assert (picture[:, 192:384] != picture[:, 384:]).any() == (spoil == "labels")
    rows = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert not rows["passes"] and [row["frame"] for row in rows["frames"]] == list(comparison.names)


def test_odd_frames_are_not_judged_where_arithmetic_is_coarse(bundle: Bundle, video: Path) -> None:
    comparison = compared(bundle, video, "labels")[1]
    assert not comparison.passes(EXACT)
    assert comparison.passes(replace(EXACT, odd=False)) and comparison.passes(replace(EXACT, odd=False, mean=True))


def test_outputs_of_another_kind_are_refused(bundle: Bundle, video: Path) -> None:
    run, frames = OnnxRuntimeBackend(bundle).run, collect_frames([video], bundle, 2)
    with pytest.raises(ModelError, match="the output labels is"):
        compare(run, lambda images: run(images)._replace(labels=run(images).labels[:, 1:]), frames, bundle.spec)
