"""What a student of clips seen close knows of its subject as a whole, so that the stream can follow it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from streamparts.models.readout import ExportedStudent
from streamparts.models.student import Student
from train.augment import Draws
from train.clips import ClipFolder, PairSampler
from train.presence import calibrate, features_of
from train.subject.values import MARGIN
from train.views import CLOSE, EMPTY, emptied, lesson_transforms, seen_through, view_images

SUBJECT = "subject.json"
ROUNDS, TOGETHER = 24, 12
"""Batches of views that are looked at, and views in each."""


def write_subject(path: Path, student: Student, folder: ClipFolder, source: str, seed: int) -> None:
    """Calibrate on close views of the training clips, and on views beside the subject or with it painted over.
    `source` says in words where the subject came from."""
    features, present = observed_views(student, folder, seed)
    slope, offset = calibrate(features, present)
    about = {"margin": MARGIN, "slope": slope, "offset": offset, "source": source}
    path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def observed_views(student: Student, folder: ClipFolder, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) presence features of views, and (N,) 1 where they show the subject."""
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
    """(N, 3, S, S) views and (N,) whether each shows the subject. Where nothing lies beside a subject that fills the
    picture, the subject is painted over."""
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
