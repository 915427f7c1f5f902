"""Separates subject and background by the colours that each keeps over a whole shot."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from streamparts.arrays import ByteArray

from .evidence import BACKGROUND, SUBJECT, UNKNOWN, disc

SIDE = 96
"""Longer side, in pixels, of the frames that are tiled into one image."""
SURE, MAYBE = 0.85, 0.3
"""Minimum probabilities of the network for a pixel that surely, and one that possibly, shows the subject."""
ROUNDS = 3
"""Number of iterations of GrabCut."""


def refined(images: Sequence[ByteArray], masks: Sequence[ByteArray]) -> list[ByteArray]:
    """Return trimaps (h, w) for the frames (h, w, 3) of one shot, from a network's masks (h, w). GrabCut runs on all
    frames tiled into one image, so that all share one mixture of colours for the subject and one for the background.
    Pixels where GrabCut and the network disagree are unknown."""
    height, width = images[0].shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = [np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8) for image in images]
    chance = [cv2.resize(mask, size, interpolation=cv2.INTER_AREA) / np.float32(255) for mask in masks]
    # a nearly square image of tiles
    columns = int(np.ceil(np.sqrt(len(images))))
    labels = grab_cut(tiled(small, columns), tiled([seed(each) for each in chance], columns))
    cut = untiled(labels, columns, size, len(images))
    return [
        agreed(mask, np.asarray(cv2.resize(each, (width, height)), np.uint8))
        for mask, each in zip(masks, cut, strict=True)
    ]


def seed(chance: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> ByteArray:
    """Return GrabCut's four classes, from the network's probabilities; far from all candidates, a pixel is surely
    background."""
    near = cv2.dilate((chance > MAYBE).astype(np.uint8), disc(9)) > 0
    out = np.where(near, cv2.GC_PR_BGD, cv2.GC_BGD)
    out[chance > MAYBE] = np.where(chance > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD)[chance > MAYBE]
    core = cv2.erode((chance > SURE).astype(np.uint8), disc(5)) > 0
    out[core] = cv2.GC_FGD
    # GC_BGD 0, GC_FGD 1, GC_PR_BGD 2, GC_PR_FGD 3: at the border, nothing is more than probably background
    out[[0, -1]], out[:, [0, -1]] = np.minimum(out[[0, -1]], 2), np.minimum(out[:, [0, -1]], 2)
    return out.astype(np.uint8)


def grab_cut(image: ByteArray, labels: ByteArray) -> ByteArray:
    """Return 255 where GrabCut finds the subject; the seeds themselves if there are too few of either kind."""
    # each mixture of colours is fitted to at least 50 pixels
    subject = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if min(subject.sum(), (~subject).sum()) < 50:
        return np.where(subject, 255, 0).astype(np.uint8)
    cv2.setRNGSeed(0)
    out, behind, before = labels.copy(), np.zeros((1, 65)), np.zeros((1, 65))
    bgr, nowhere = np.ascontiguousarray(image[..., ::-1]), (0, 0, 1, 1)
    cv2.grabCut(bgr, out, nowhere, behind, before, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.where(np.isin(out, (cv2.GC_FGD, cv2.GC_PR_FGD)), 255, 0).astype(np.uint8)


def tiled(pictures: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]], columns: int) -> ByteArray:
    blank = np.zeros_like(pictures[0])
    padded = [*pictures, *[blank] * (-len(pictures) % columns)]
    rows = [np.concatenate(padded[i : i + columns], axis=1) for i in range(0, len(padded), columns)]
    return np.concatenate(rows)


def untiled(picture: ByteArray, columns: int, size: tuple[int, int], count: int) -> list[ByteArray]:
    width, height = size
    places = [divmod(i, columns) for i in range(count)]
    return [picture[y * height : (y + 1) * height, x * width : (x + 1) * width] for y, x in places]


def agreed(mask: ByteArray, cut: ByteArray) -> ByteArray:
    trimap = np.full(mask.shape, UNKNOWN, np.uint8)
    trimap[(cut > 160) & (mask > 0.25 * 255)] = SUBJECT
    trimap[(cut < 96) & (mask < 0.75 * 255)] = BACKGROUND
    return trimap
