"""The report and the files of an export whose comparison fails."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

pytest.importorskip("torch")

from export.parity import compare_frames, tolerance_of
from export.report import require_parity, said
from streamparts.arrays import ByteArray
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.load import Bundle
from streamparts.data import NetworkOutputs
from streamparts.errors import ModelError
from streamparts.parity.agreement import Comparison
from streamparts.parity.sample_frames import FrameSet, sample_frames, with_odd_frames

EXACT = tolerance_of("fp32")


def compared(bundle: Bundle, video: Path, spoil: str) -> tuple[FrameSet, Comparison]:
    """The tiny model against itself, spoiled on the frames that are white in the middle."""
    backend = OnnxRuntimeBackend(bundle)

    def other(images: ByteArray) -> NetworkOutputs:
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
        return NetworkOutputs(labels, affines, scores)

    frames = with_odd_frames(sample_frames(video, bundle.spec.input_hw, 5))
    return frames, compare_frames(backend.run, other, frames, bundle.spec)


def test_equal_runners_agree_entirely(bundle: Bundle, video: Path, tmp_path: Path) -> None:
    frames, comparison = compared(bundle, video, "")
    agreement = require_parity(comparison, EXACT, frames, tmp_path / "x.onnx", tmp_path / "r.json")
    assert (agreement.num_frames, agreement.worst_labels, agreement.pose_px, agreement.score) == (5, 1, 0, 0)
    assert not comparison.label_mismatch.any() and not comparison.score.any() and not comparison.max_pose_px.any()
    assert "5 real and 7 synthetic frames: on 5 frames labels agree on 100.000% of pixels" in said(
        agreement, EXACT, frames
    )
    report = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert report["passes"] and report["real_frames"]["labels"] == 1 and len(report["frames"]) == 12
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


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
    assert not rows["passes"] and [row["frame"] for row in rows["frames"]] == list(frames.names)


def test_odd_frames_are_not_judged_where_arithmetic_is_coarse(bundle: Bundle, video: Path, tmp_path: Path) -> None:
    frames, comparison = compared(bundle, video, "labels")
    with pytest.raises(ModelError, match="Nothing was written"):
        require_parity(comparison, EXACT, frames, tmp_path / "x.onnx", None)
    for mean in (False, True):
        coarse = msgspec.structs.replace(EXACT, odd=0, mean=mean)
        assert require_parity(comparison, coarse, frames, tmp_path / "x.onnx", None).worst_labels == 1


def test_poses_of_odd_frames_may_be_off_by_some_times_more(bundle: Bundle, video: Path, tmp_path: Path) -> None:
    frames, comparison = compared(bundle, video, "")
    odd = comparison.pose_px.copy()
    odd[-1, 0] = 15 * EXACT.pose_px
    real = comparison.pose_px.copy()
    real[0, 0] = 15 * EXACT.pose_px
    strict = msgspec.structs.replace(EXACT, odd=1)
    for poses, limits, passes in ((odd, EXACT, True), (odd, strict, False), (real, EXACT, False)):
        changed = dataclasses.replace(comparison, pose_px=poses)
        if passes:
            require_parity(changed, limits, frames, tmp_path / "x.onnx", None)
        else:
            with pytest.raises(ModelError, match="worst: frame"):
                require_parity(changed, limits, frames, tmp_path / "x.onnx", None)
