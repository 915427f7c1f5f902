"""The masks that a training takes for its subject, evaluated as a model of one part."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.real.clips import gather
from benchmarks.real.running import Model, Pairs
from benchmarks.real.sets import Case
from train.frames.cache import cache_place
from train.inputs.close_folder import source_of
from train.judging.found import FoundParts
from train.judging.metrics import mask_centers
from train.judging.subjects import SubjectMatcher
from train.labels import EvaluationSet
from train.subject.cutting import paste
from train.subject.find import find_subjects
from train.subject.values import SubjectClip

NAME = "masks of the subject"


def has_masks(case: Case) -> bool:
    """Return whether the labelled frames are of clips that a model is trained on."""
    sources = {source.resolve() for source in case.labelled.sources}
    return bool(sources) and sources <= {clip.resolve() for clip in case.training}


def mask_model(case: Case, subject: str, cache: Path) -> Model:
    """Find the subject of the case's clips, or read it from the cache of its training. Raises VideoError, ModelError or
    MissingExtraError."""
    folder = gather(cache / "clips" / case.run, case.training)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    found = find_subjects(folder, source_of(subject), cache_place(folder, None, folder), say=say)

    def pairs(labelled: EvaluationSet, matcher: SubjectMatcher) -> Pairs:
        return _pairs(labelled, found)

    return Model(NAME, ("subject",), ", ".join(dict.fromkeys(clip.source for clip in found)), pairs)


def _pairs(labelled: EvaluationSet, found: tuple[SubjectClip, ...]) -> Pairs:
    """The frames that a training uses; several subjects of a clip are one."""
    for frame in labelled.read():
        source, hw = labelled.sources[frame.clip].resolve(), frame.image.shape[:2]
        masks = list(_masks(frame.index, hw, (clip for clip in found if clip.clip.resolve() == source)))
        if masks:
            labels = np.any(masks, axis=0).astype(np.uint8)
            centers, _ = mask_centers(labels, 1)
            affines = np.zeros((1, 2, 3), np.float32)
            affines[:, :, 2] = (centers + 1) * np.array(hw[::-1], np.float32) / 2
            yield frame, FoundParts((hw[0], hw[1]), labels, affines)


def _masks(index: int, hw: tuple[int, int], clips: Iterator[SubjectClip]) -> Iterator[NDArray[np.bool_]]:
    """(H, W) of each subject in the frame `index` of the file, if it is used; empty where a subject is not found."""
    for clip in clips:
        for row in np.flatnonzero(clip.rows == index).tolist():
            mask = paste(clip.masks[row].astype(np.float32) / 255, clip.regions[row].tolist(), hw)
            yield np.asarray((mask > 0.5) & bool(clip.found[row]))
