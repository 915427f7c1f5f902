"""Runs a model on a case: through the runtime, or, for a network of a run folder, image by image."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain, groupby
from pathlib import Path

import streamparts
from benchmarks.real.subjects import by_subject
from streamparts.backends.choice import open_backend
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, Frame, Tracks
from streamparts.tracking.roi import Roi
from streamparts.tracking.smoothing import Smoothing
from train.frames.spread import spread
from train.judging.finding import open_finder
from train.judging.found import FoundParts
from train.judging.landmarks import split_frames
from train.judging.observation import observe
from train.judging.sections import Section, landmark_scores, report
from train.judging.side_by_side import SheetFrame, write_sheet
from train.judging.subjects import SubjectMatcher
from train.labels import EvaluationSet, LabelledFrame

NUM_PICTURES = 12
CPU_BACKEND = "onnxruntime"
Pairs = Iterator[tuple[LabelledFrame, FoundParts]]


@dataclass(frozen=True)
class Model:
    """A model that is evaluated."""

    name: str
    """Name in the table."""
    parts: tuple[str, ...]
    subject: str
    """Source of the subject in its training, in words."""
    pairs: Callable[[EvaluationSet, SubjectMatcher], Pairs]
    """Yields every labelled frame of a set with the found parts; with several subjects, one pair per subject, as
    assigned by the matcher."""
    minutes: float | None = None
    """Duration of its training."""


def runtime_model(
    name: str, file: str, roi: Roi | None, subject: str | None = None, smoothing: Smoothing | None = None
) -> Model:
    """An .onnx file or a bundled model, streamed by `streamparts.track`. `subject` None is the file's own."""
    bundle = streamparts.load_model(file)
    backend = open_backend(bundle, CPU_BACKEND, 1)
    said = bundle.spec.subject
    words = subject or (said.source if said else "none, it sees whole pictures")
    return Model(name, bundle.spec.parts, words, partial(_streamed, bundle, backend, roi, smoothing))


def network_model(name: str, path: Path, subject: str) -> Model:
    """A teacher's or student's checkpoint, which sees whole frames."""
    finder = open_finder(str(path))

    def pairs(labelled: EvaluationSet, matcher: SubjectMatcher) -> Pairs:
        return ((frame, finder(frame.image)) for frame in labelled.read())

    return Model(name, finder.part_names, subject, pairs)


def _streamed(
    bundle: Bundle,
    backend: Backend,
    roi: Roi | None,
    smoothing: Smoothing | None,
    labelled: EvaluationSet,
    matcher: SubjectMatcher,
) -> Pairs:
    """Clip by clip; each still on its own."""
    follows = has_subject(bundle) and roi != "off"
    for clip, frames in groupby(labelled.read(), lambda frame: frame.clip):
        if follows:
            stream = tracked(labelled.sources[clip], bundle, backend, roi, labelled.subjects, smoothing)
            found = _followed(frames, stream)
        else:
            found = _looked_at(frames, bundle, backend)
        if labelled.subjects > 1:
            yield from by_subject(((frame, tracks.subjects) for frame, tracks in found), labelled.subjects, matcher)
        else:
            yield from ((frame, FoundParts.of_tracks(tracks)) for frame, tracks in found)


def _followed(frames: Iterator[LabelledFrame], tracks: Generator[Tracks]) -> Iterator[tuple[LabelledFrame, Tracks]]:
    """Streamed from the clip's first frame on, labelled or not: following needs them."""
    with closing(tracks) as stream:
        yield from _joined(frames, stream)


def _looked_at(
    frames: Iterator[LabelledFrame], bundle: Bundle, backend: Backend
) -> Iterator[tuple[LabelledFrame, Tracks]]:
    """Only the labelled frames: a network that sees whole frames needs no others."""
    shown = deque[LabelledFrame]()

    def pictures() -> Iterator[Frame]:
        for number, frame in enumerate(frames):
            shown.append(frame)
            height, width = frame.image.shape[:2]
            yield Frame(number, number, Fraction(1, 25), frame.image, 0, height, width, time.perf_counter())

    all_pictures = pictures()
    first = next(all_pictures)
    source = FrameSource(chain([first], all_pictures), "labelled frames", (first.height, first.width))
    with closing(streamparts.track(source, bundle, backend=backend)) as stream:
        for tracks in stream:
            yield shown.popleft(), tracks


class FrameSource:
    """A source of frames in memory."""

    live = False
    rate: Fraction | None = None
    num_frames: int | None = None
    description, decode_errors, repaired_times = "frames", 0, 0
    time_base = Fraction(1, 25)

    def __init__(self, frames: Iterable[Frame], name: str, size_hw: tuple[int, int]) -> None:
        self.name, self.height, self.width = name, *size_hw
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    def close(self) -> None:
        """Nothing to close."""


def _joined(frames: Iterator[LabelledFrame], stream: Iterator[Tracks]) -> Iterator[tuple[LabelledFrame, Tracks]]:
    for frame in frames:
        for tracks in stream:
            if tracks.index == frame.index:
                yield frame, tracks
                break


def tracked(
    source: Path,
    bundle: Bundle,
    backend: Backend,
    roi: Roi | None,
    subjects: int = 1,
    smoothing: Smoothing | None = None,
) -> Generator[Tracks]:
    """`streamparts.track`, which follows the subject, or several, unless `roi` is "off"."""
    return streamparts.track(source, bundle, backend=backend, roi=roi, subjects=subjects, smoothing=smoothing)


def has_subject(bundle: Bundle) -> bool:
    """Return whether the model has a subject, so that it can be followed."""
    return bundle.spec.subject is not None


def judge(model: Model, labelled: EvaluationSet, sheet: Path | None = None) -> Section:
    """Return all figures of `train.evaluate`, and those on several subjects; `sheet` shows truth beside result."""
    matcher, samples = SubjectMatcher(), list[SheetFrame]()
    chosen = set(spread(labelled.num_frames * labelled.subjects, NUM_PICTURES)) if sheet else set()

    def watched() -> Pairs:
        for row, (frame, found) in enumerate(model.pairs(labelled, matcher)):
            if row in chosen:
                samples.append(SheetFrame(frame, found))
            yield frame, found

    observed = observe(watched(), len(labelled.part_names))
    fit = split_frames(observed.clips, 0)
    if sheet and samples:
        write_sheet(sheet, samples, observed.parts.match() if observed.parts else None)
    section = report(labelled, observed, landmark_scores(observed, fit), fit, model.parts)
    return {**section, "subjects": matcher.section() if matcher.frames else None}


def false_parts(model: Model, labelled: EvaluationSet) -> dict[str, float]:
    """Share of pixels that are labelled, of all frames and of each clip."""
    shares: dict[str, list[float]] = {}
    for frame, found in model.pairs(labelled, SubjectMatcher()):
        shares.setdefault(clip_name(labelled.sources[frame.clip]), []).append(float((found.labels > 0).mean()))
    every = [value for values in shares.values() for value in values]
    return {"all": sum(every) / max(len(every), 1), **{name: sum(v) / len(v) for name, v in shares.items()}}


def clip_name(source: Path) -> str:
    return source.parent.name if source.is_dir() else source.stem
