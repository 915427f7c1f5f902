"""Puppets with exact truth: rendered on the fly, or a folder of clips of `streamparts render-puppets`."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from streamparts.arrays import ByteArray, FloatArray
from streamparts.sources import find_videos

from ..drawing.puppet_clips import PuppetTruth, load_truth, render_clip
from ..drawing.puppet_figures import FIGURES
from .pictures import video_frames
from .values import TRUE, EvaluationSet, LabelledFrame, LabelsError, set_name

UNSEEN_SEED = 700_000
"""First seed: training uses seeds from 0, development of methods used seeds from 100,000."""


@dataclass(frozen=True)
class PuppetOptions:
    """Parameters of the rendered clips."""

    num_clips: int = 8
    num_frames: int = 48
    """Length of each clip, in frames."""
    size: int = 256
    """Side in pixels."""


def open_rendered(kind: str, options: PuppetOptions) -> EvaluationSet:
    """Render clips with held-out seeds, and thus new textures, colours, backgrounds and motions."""
    if kind not in FIGURES:
        raise LabelsError(f"there is no puppet called {kind!r}; choose from {', '.join(FIGURES)}, or give a folder")
    size_hw = (options.size, options.size)

    def read() -> Iterator[LabelledFrame]:
        for number in range(options.num_clips):
            clip = render_clip(kind, UNSEEN_SEED + number, options.num_frames, size_hw)
            for index, image in enumerate(clip.frames):
                yield labelled(image, clip, index, number)

    names = tuple(bone.name for bone in FIGURES[kind].bones)
    num_frames = options.num_clips * options.num_frames
    return EvaluationSet(f"puppets:{kind}", TRUE, num_frames, read, part_names=names, consecutive=True)


def open_folder(folder: Path, max_frames: int) -> EvaluationSet:
    """Open the first frames of every clip, about `max_frames` in total."""
    videos = find_videos(folder)
    truths = [_truth_of(video) for video in videos]
    if len({truth.part_names for truth in truths}) != 1:
        raise LabelsError(f"{folder}: its clips show several kinds of puppets; use a folder for each kind")
    lengths = [min(len(truth.labels), max(2, max_frames // len(videos))) for truth in truths]

    def read() -> Iterator[LabelledFrame]:
        for number, (video, length) in enumerate(zip(videos, lengths, strict=True)):
            truth = _truth_of(video)
            for index, image in video_frames(video, range(length)):
                yield labelled(image, truth, index, number)

    names = truths[0].part_names
    name = set_name("puppets", folder)
    return EvaluationSet(
        name, TRUE, sum(lengths), read, part_names=names, consecutive=True, sources=tuple(map(Path, videos))
    )


def _truth_of(video: Path) -> PuppetTruth:
    """The truth of a video's first subject, with the labels of all."""
    try:
        truth = load_truth(video)
        others = [
            load_truth(path).labels for path in sorted(video.parent.glob(f"{glob.escape(video.stem)}.subject*.npz"))
        ]
        return replace(truth, labels=np.max([truth.labels, *others], axis=0)) if others else truth
    except (OSError, KeyError, ValueError) as error:
        raise LabelsError(f"{video}: no readable truth beside it ({error})") from error


def labelled(image: ByteArray, truth: PuppetTruth, index: int, clip: int) -> LabelledFrame:
    """Return one frame of a clip, with poses in pixels."""
    return LabelledFrame(
        image,
        clip,
        landmarks=truth.joints[index],
        labels=truth.labels[index],
        affines=_to_pixels(truth.affines[index], truth.labels.shape[1:]),
        visible_fraction=truth.visible_fraction[index],
        index=index,
    )


def _to_pixels(affines: FloatArray, size_hw: tuple[int, ...]) -> FloatArray:
    """(T, 2, 3) canonical -> normalised coordinates, converted to canonical -> pixels."""
    half = np.array([size_hw[1] / 2, size_hw[0] / 2], np.float32)
    out = affines * half[:, None]
    out[:, :, 2] += half
    return out
