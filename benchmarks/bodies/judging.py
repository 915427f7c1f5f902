"""Runs models on rendered clips as users run them: `streamparts.track`, which follows the people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import streamparts
from benchmarks.bodies.figures import Tally, as_true, named
from benchmarks.bodies.sets import Clips
from benchmarks.real.running import CPU_BACKEND, NUM_PICTURES, has_subject, tracked
from benchmarks.real.subjects import middle_of
from streamparts.arrays import ByteArray
from streamparts.backends.choice import open_backend
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, Tracks
from streamparts.sources.rescale import Rescaler
from streamparts.tracking.smoothing import Smoothing
from train.drawing.puppet_clips import PuppetTruth
from train.frames.spread import spread
from train.judging.found import FoundParts
from train.judging.metrics import Confusion
from train.judging.side_by_side import SheetFrame, write_sheet
from train.judging.subjects import SubjectMatcher, middle_and_size
from train.labels.puppets import labelled


@dataclass(frozen=True)
class Judged:
    """A model, and which of its parts stands for each true one."""

    name: str
    bundle: Bundle
    backend: Backend
    match: NDArray[np.int64] | None = None
    """(T,) found parts, -1 without one; None: not known yet."""
    smoothing: Smoothing | None = None

    @classmethod
    def load(cls, name: str, file: str, parts: tuple[str, ...], smoothing: Smoothing | None = None) -> Judged:
        """Load a bundled model or an .onnx file. Parts are matched by name if it has all names. Raises ModelError."""
        bundle = streamparts.load_model(file)
        match = named(bundle.spec.parts, parts)
        backend = open_backend(bundle, CPU_BACKEND, 1)
        return cls(name, bundle, backend, match if (match >= 0).all() else None, smoothing)

    def follows(self, clips: Clips) -> int:
        """Return how many people are followed: all, or one by a model that sees whole frames."""
        return clips.subjects if has_subject(self.bundle) else 1

    def frames(self, clips: Clips) -> Iterator[tuple[int, Tracks, list[PuppetTruth]]]:
        """Yield the number of the clip, the tracks of every frame and the truth of the clip."""
        for number, video in enumerate(clips.videos):
            truths = clips.truths(video)
            subjects = self.follows(clips)
            with closing(tracked(video, self.bundle, self.backend, None, subjects, self.smoothing)) as stream:
                for tracks in stream:
                    yield number, tracks, truths

    def matched(self, clips: Clips) -> Judged:
        """Match the parts one-to-one with the true ones of these clips, by the largest sum of IoUs."""
        counts: Confusion | None = None
        for _, tracks, truths in self.frames(clips):
            truth = truths[0].labels[tracks.index]
            each = Confusion.of(truth, all_labels(tracks), len(truths[0].part_names), len(self.bundle.spec.parts))
            counts = each if counts is None else counts + each
        if counts is None:
            raise ValueError("no frame to match parts on")
        return replace(self, match=counts.match())


def all_labels(tracks: Tracks) -> ByteArray:
    """(H, W) labels of all followed subjects at the frame's size; the first ones are on top."""
    out: ByteArray | None = None
    for subject in tracks.subjects:
        labels = FoundParts.of_tracks(subject).labels_at_frame()
        out = labels if out is None else np.where(out > 0, out, labels)
    assert out is not None  # a frame has at least one subject
    return out


def judge(model: Judged, clips: Clips, sheet: Path | None = None) -> dict[str, Any]:
    """Return the figures of a model with matched parts; `sheet` shows truth beside result."""
    if model.match is None:
        raise ValueError(f"{model.name} has parts that are matched with no true ones")
    tally, matcher, samples = Tally(clips.truths(clips.videos[0])[0].part_names), SubjectMatcher(), list[SheetFrame]()
    rescaler, chosen = Rescaler(), {-1}
    before = last = -1
    for clip, tracks, truths in model.frames(clips):
        i = tracks.index
        if clip != before:
            tally.begin_clip()
            matcher, last, before = _of_new_clip(matcher), -1, clip
            chosen = set(spread(len(truths[0].labels), max(1, NUM_PICTURES // len(clips.videos))))
        found = as_true(all_labels(tracks), model.match, len(model.bundle.spec.parts))
        tally.add([truth.labels[i] for truth in truths], [truth.visible_fraction[i] for truth in truths], found)
        if model.follows(clips) > 1:
            _follow(matcher, tracks, [truth.joints[i] for truth in truths], i - last)
        last = i
        if sheet and i in chosen and len(samples) < NUM_PICTURES:
            whole = labelled(rescaler.rgb(tracks.frame).copy(), truths[0], i, clip)
            whole = replace(whole, labels=np.max([truth.labels[i] for truth in truths], axis=0))
            shown = FoundParts((tracks.frame.height, tracks.frame.width), all_labels(tracks), tracks.affines)
            samples.append(SheetFrame(whole, shown))
    if sheet and samples:
        write_sheet(sheet, samples, model.match)
    return {**tally.figures(), **(_followed(matcher) if model.follows(clips) > 1 else {})}


def _of_new_clip(matcher: SubjectMatcher) -> SubjectMatcher:
    """The counts so far, without the identities of another clip."""
    return SubjectMatcher(matcher.frames, matcher.labelled, matcher.found, matcher.switches)


def _follow(matcher: SubjectMatcher, tracks: Tracks, joints: list[NDArray[np.float32]], steps: int) -> None:
    found = {each.subject: center for each in tracks.subjects if (center := middle_of(each)) is not None}
    middles, sizes = zip(*(middle_and_size(points) for points in joints), strict=True)
    matcher.update(np.stack(middles), found, np.array(sizes), steps)


def _followed(matcher: SubjectMatcher) -> dict[str, Any]:
    section = matcher.section()
    return {
        "people found": round(section["found"], 3),
        "switches of people per 10,000 frames": round(section["switches_per_10000_frames"]),
    }
