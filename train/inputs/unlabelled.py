"""Crops of real clips that show the subject, without labels: its mask says where some part is, but not which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from streamparts.arrays import ByteArray

from ..subject.crops import crop_frames
from ..subject.find import find_subjects
from ..subject.values import BoolArray, SubjectClip
from .backdrops import clutter
from .negatives import Negatives

SOME_PART, UNKNOWN = 255, 254
"""Labels of a pixel of the subject, whichever part it is, and of a pixel about which nothing is known."""
CROPS_PER_SHOT = 60
"""Maximum number of frames used of a shot, spread over it evenly."""
DOUBT = 0.05
"""Width of the band outside a mask's edge that is unknown, as a share of the crop's side: masks miss thin limbs."""
SMALLEST_MASK = 0.02
"""Smallest share of the crop that the subject covers, for the crop to be used."""
PASTED = 0.5
"""Share of the crops whose subject is put before another background."""


@dataclass(frozen=True)
class Unlabelled:
    """Crops of subjects, whose clips are drawn equally often."""

    crops: tuple[ByteArray, ...] = ()
    """One (N, M, M, 3) RGB array per clip."""
    labels: tuple[ByteArray, ...] = ()
    """(N, M, M) each: SOME_PART, 0 or UNKNOWN."""

    @staticmethod
    def load(folders: Sequence[Path], say: Callable[[str], None] = print) -> Unlabelled:
        """Find the subjects in folders of clips, as the label-free trainers do; masks are kept beside the clips.
        Raises what `find_subjects` does."""
        crops, labels = [], []
        for folder in folders:
            cache = folder / ".streamparts-cache"
            for subject in find_subjects(folder, "auto", cache, say=say):
                images, truth = crops_of(subject, cache)
                if len(images):
                    crops.append(images)
                    labels.append(truth)
        return Unlabelled(tuple(crops), tuple(labels))

    def __bool__(self) -> bool:
        return bool(self.crops)

    def draw(self, rng: Generator, negatives: Negatives) -> tuple[ByteArray, ByteArray]:
        """Return an image (M, M, 3) and its labels (M, M); in a share of them, the subject is before another
        background, if there are `negatives`."""
        clip = int(rng.integers(len(self.crops)))
        row = int(rng.integers(len(self.crops[clip])))
        image, labels = self.crops[clip][row], self.labels[clip][row]
        return pasted(rng, image, labels, negatives) if negatives and rng.random() < PASTED else (image, labels)


def crops_of(subject: SubjectClip, cache: Path) -> tuple[ByteArray, ByteArray]:
    """(N, M, M, 3) crops of the frames in which the subject is found, and (N, M, M) labels."""
    found = np.flatnonzero(subject.found)
    rows = found[np.linspace(0, len(found) - 1, min(len(found), CROPS_PER_SHOT)).astype(int)] if len(found) else found
    labels = [labels_of(subject.masks[row], subject.known[row]) for row in rows]
    good = [i for i, each in enumerate(labels) if (each == SOME_PART).mean() >= SMALLEST_MASK]
    side = subject.masks.shape[1]
    if not good:
        return np.zeros((0, side, side, 3), np.uint8), np.zeros((0, side, side), np.uint8)
    rows = rows[good]
    images = crop_frames(subject.clip, subject.rows[rows], subject.regions[rows], side, cache)
    return np.array(images), np.stack([labels[i] for i in good])


def labels_of(mask: ByteArray, known: BoolArray) -> ByteArray:
    """(M, M) labels from a mask of 0 to 255 and where it is trusted."""
    width = 2 * round(DOUBT * len(mask)) + 1
    body = (mask > 127).astype(np.uint8)
    near = cv2.dilate(body, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))) > 0
    inner = cv2.erode(body, np.ones((3, 3), np.uint8)) > 0
    labels = np.where(near | ~known, UNKNOWN, 0)
    return np.asarray(np.where(inner & known, SOME_PART, labels), np.uint8)


def pasted(rng: Generator, image: ByteArray, labels: ByteArray, negatives: Negatives) -> tuple[ByteArray, ByteArray]:
    """Put the subject before clutter, where all else is background."""
    body = (labels == SOME_PART).astype(np.uint8)
    alpha = cv2.GaussianBlur(body.astype(np.float32), (0, 0), 0.8)[..., None]
    behind = clutter(rng, len(image), negatives)
    mixed = np.asarray(image * alpha + behind * (1 - alpha) + 0.5, np.uint8)
    edge = cv2.dilate(body, np.ones((5, 5), np.uint8)) > 0
    return mixed, np.asarray(np.where(body > 0, SOME_PART, np.where(edge, UNKNOWN, 0)), np.uint8)
