"""Anchors: the same place of the subject in different frames is the same cluster."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from train.frames.clips import Clip, ClipFolder  # noqa: E402
from train.frames.close_ups import CloseUp  # noqa: E402
from train.frames.scenery import Scenery  # noqa: E402
from train.frames.transforms import Draws  # noqa: E402
from train.inputs import anchors as module  # noqa: E402
from train.inputs.anchors import Anchors, anchored, fronts, outline_of  # noqa: E402
from train.inputs.augment import prepare_pair  # noqa: E402
from train.inputs.pairs import PairSampler  # noqa: E402

SIDE = 128
HEAD, TAIL = (220, 60, 40), (40, 80, 210)


def animal(angle: float, centre: tuple[float, float] = (64, 64)) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(S, S, 3) seen from above, head at `angle`, and its mask: a long ellipse, red in front, blue behind."""
    image, mask = np.full((SIDE, SIDE, 3), 128, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    axes, degrees = (44, 16), np.degrees(angle)
    cv2.ellipse(mask, (int(centre[0]), int(centre[1])), axes, degrees, 0, 360, 255, -1)
    y, x = np.indices((SIDE, SIDE))
    front = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle) > 0
    image[(mask > 0) & front], image[(mask > 0) & ~front] = HEAD, TAIL
    return image, mask


def folder_of(*clips: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> ClipFolder:
    out = []
    for clip in clips:
        masks = np.stack([mask for _, mask in clip])
        close_up = CloseUp(masks, np.ones(masks.shape, np.bool_))
        scenery = Scenery(np.zeros((SIDE, SIDE, 3), np.uint8), trusted=False)
        out.append(Clip("", np.stack([image for image, _ in clip]), scenery, (), close_up))
    return ClipFolder(tuple(out), ())


def cluster_at(shares: NDArray[np.float32], point: tuple[float, float]) -> int:
    """The cluster at a point, in pixels of the crop, of shares (K, G, G)."""
    scale = shares.shape[-1] / SIDE
    return int(shares[:, int(point[1] * scale), int(point[0] * scale)].argmax())


def test_an_outline_has_the_moments_of_its_ellipse() -> None:
    outline = outline_of([animal(0.6, (70, 50))[1]])
    assert outline.centre[0] == pytest.approx(np.array([70.5, 50.5]) / SIDE, abs=0.005)
    assert outline.angle[0] == pytest.approx(0.6, abs=0.02)
    # an ellipse's variances are a quarter of its squared half axes
    assert outline.size[0] == pytest.approx(np.sqrt((44**2 + 16**2) / 8) / SIDE, rel=0.03)
    assert outline.elongation[0] == pytest.approx((44**2 - 16**2) / (44**2 + 16**2), rel=0.03)


def test_the_front_is_followed_through_a_turn_and_wrong_evidence() -> None:
    heading = np.linspace(0, 4 * np.pi, 80)
    outline = outline_of([animal(angle)[1] for angle in heading])
    # the axis has no sign of its own: whether a frame must be flipped for the front
    truth = np.cos(outline.angle - heading) < 0
    assert 0.2 < truth.mean() < 0.8
    evidence = np.where(truth, -1.0, 1.0).astype(np.float32)
    evidence[::3] *= -1
    assert (fronts(outline, evidence, [0, 80]) == truth).all()


def test_clips_are_solved_each_for_itself() -> None:
    outline = outline_of([animal(0.0)[1]] * 6)
    evidence = np.array([1, 0, 0, -1, 0, 0], np.float32)
    assert fronts(outline, evidence, [0, 3, 6]).tolist() == [False] * 3 + [True] * 3


def test_place_alone_follows_an_upright_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "lite0_file", lambda: None)
    centres = [(50, 64), (64, 60), (76, 70), (60, 66)]
    anchors = Anchors(folder_of([animal(np.pi / 2, centre) for centre in centres]), 4, seed=0)
    assert anchors.upright and anchors.words == "place in the outline"
    shares = anchors(np.arange(4)).numpy()
    assert shares.shape == (4, 4, 32, 32) and shares.sum(1) == pytest.approx(1, abs=1e-5)
    feet = {cluster_at(s, (x, y + 32)) for s, (x, y) in zip(shares, centres, strict=True)}
    heads = {cluster_at(s, (x, y - 32)) for s, (x, y) in zip(shares, centres, strict=True)}
    assert len(feet) == len(heads) == 1 and feet != heads


@pytest.mark.slow
def test_a_turning_animal_keeps_head_and_tail() -> None:
    first, second = np.linspace(0, 2 * np.pi, 16), np.linspace(3, -4, 16)
    anchors = Anchors(folder_of([animal(a) for a in first], [animal(a) for a in second]), 4, seed=0)
    assert not anchors.upright
    shares = anchors(np.arange(32)).numpy()
    ends = np.array([
        [cluster_at(s, (64 + d * 32 * np.cos(a), 64 + d * 32 * np.sin(a))) for d in (1, -1)]
        for s, a in zip(shares, [*first, *second], strict=True)
    ])  # fmt: skip
    heads, tails = (np.bincount(column, minlength=4) for column in ends.T)
    assert min(heads.max(), tails.max()) >= 31 and heads.argmax() != tails.argmax()


def test_anchors_turn_with_the_pair() -> None:
    clips = folder_of([animal(a) for a in np.linspace(0, 6, 12)])
    anchors = Anchors(clips, 3, seed=0)
    batch = PairSampler(clips, 4, seed=0).batch(0)
    pair = prepare_pair(batch, torch.device("cpu"), Draws(0, 0, 4), 90.0, 0.0)
    found = anchored(pair, batch, anchors).anchors
    assert found is not None and found.shape == (8, 3, SIDE, SIDE)
    images = torch.cat([pair.source, pair.target])
    silhouettes = torch.cat([pair.source_silhouette, pair.target_silhouette])[:, 0] > 0.99
    red = (images[:, 0] > 0.7) & silhouettes
    blue = (images[:, 2] > 0.7) & silhouettes
    labels = found.argmax(1)
    mostly = torch.bincount(labels[red]).argmax()
    assert (labels[red] == mostly).float().mean() > 0.5 and (labels[blue] == mostly).float().mean() < 0.1


def test_a_subject_thinner_than_the_grid_has_anchors() -> None:
    image, mask = np.full((SIDE, SIDE, 3), 128, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    mask[64, 60:70] = 255
    shares = Anchors(folder_of([(image, mask)] * 3), 4, seed=0)(np.arange(3))
    assert shares.shape == (3, 4, 32, 32) and torch.isfinite(shares).all()


def test_whole_pictures_have_no_anchors() -> None:
    clips = folder_of([animal(a) for a in np.linspace(0, 6, 4)])
    batch = PairSampler(clips, 2, seed=0).batch(0)
    pair = prepare_pair(batch, torch.device("cpu"), Draws(0, 0, 2), 10.0, 0.0)
    assert anchored(pair, batch, None) is pair
