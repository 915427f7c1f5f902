"""Calibrates the subject score of a student trained on crops, so that a run can follow the subject."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from streamparts.models.readout import ExportedStudent
from streamparts.models.student import Student

from ..frames.clips import ClipFolder
from ..frames.transforms import Draws
from ..inputs.pairs import PairSampler
from ..inputs.views import CLOSE, EMPTY, emptied, lesson_transforms, seen_through, view_images
from ..subject.values import MARGIN
from .presence import calibrate, features_of

SUBJECT = "subject.json"
ROUNDS, TOGETHER = 24, 12
"""Number of batches of views, and of views in each."""


def write_subject(path: Path, student: Student, folder: ClipFolder, source: str, seed: int) -> None:
    """Calibrate on views of the training clips that show the subject, and on views beside it or with it painted over.
    `source` describes how the subject was found."""
    features, present = observed_views(student, folder, seed)
    slope, offset = calibrate(features, present)
    about = {"margin": MARGIN, "slope": slope, "offset": offset, "source": source}
    path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def observed_views(student: Student, folder: ClipFolder, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 3) presence features of views, and (N,) 1 for those that show the subject."""
    network = ExportedStudent(student).eval()
    sampler = PairSampler(folder, TOGETHER, seed)
    features, present = [], []
    for step in range(ROUNDS):
        images, there = views_with_and_without(sampler, step, seed)
        with torch.inference_mode():
            read = network.read(images.to(next(student.parameters()).device))
        features.append(features_of(read))
        present += there.tolist()
    return np.concatenate(features).astype(np.float64), np.array(present, np.float64)


def views_with_and_without(sampler: PairSampler, step: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (N, 3, S, S) views and (N,) True for those that show the subject. If the subject fills the frame, it is
    painted over for the others."""
    batch = sampler.frames(step)
    views = batch.views
    assert views is not None
    side = batch.frames.shape[1]
    transform, kind = lesson_transforms(Draws(seed + 2, step, TOGETHER))
    images, _ = view_images(views, transform, kind, side)
    close = kind == CLOSE
    maps = torch.from_numpy(views.maps[..., :1]).permute(0, 3, 1, 2).float() / 255
    subject = seen_through(maps, transform, 1.0, side)[close]
    grown = torch.nn.functional.max_pool2d(subject, 9, stride=1, padding=4)
    shown = torch.cat([images[close], images[kind == EMPTY], emptied(images[close], grown)])
    there = torch.zeros(len(shown))
    there[: int(close.sum())] = 1
    return shown, there
