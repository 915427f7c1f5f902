"""A model on a case: through the runtime as a user has it, or a network of a run folder picture by picture."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import streamparts
from streamparts.backends import Backend
from streamparts.backends.choice import open_backend
from streamparts.bundle import Bundle
from streamparts.data import Tracks
from train.finding import Found, open_finder
from train.labels import EvaluationSet, LabelledFrame
from train.landmarks import split_frames
from train.observation import observe
from train.sections import Section, landmark_scores, report
from train.side_by_side import Sample, write_sheet
from train.spread import spread

NUM_PICTURES = 12
CPU_BACKEND = "onnxruntime"
Pairs = Iterator[tuple[LabelledFrame, Found]]


@dataclass(frozen=True)
class Model:
    """What is judged."""

    name: str
    """In the table."""
    parts: tuple[str, ...]
    subject: str
    """Where the subject came from when it was made, in words."""
    pairs: Callable[[EvaluationSet], Pairs]
    """Every labelled frame of a set with what is found in it."""


def runtime_model(name: str, file: str, roi: str, subject: str | None = None) -> Model:
    """An .onnx file or a shipped model, streamed by `streamparts.track`. `subject` None is what the file says."""
    bundle = streamparts.load_model(file)
    backend = open_backend(bundle, CPU_BACKEND, 1)
    said = getattr(bundle.spec, "subject", None)
    words = subject or (said.source if said else "none: it sees whole pictures")
    return Model(name, bundle.spec.parts, words, lambda labelled: _streamed(labelled, bundle, backend, roi))


def network_model(name: str, path: Path, subject: str) -> Model:
    """A teacher's or student's checkpoint, which sees each picture as a whole."""
    finder = open_finder(str(path))

    def pairs(labelled: EvaluationSet) -> Pairs:
        return ((frame, finder(frame.image)) for frame in labelled.read())

    return Model(name, finder.part_names, subject, pairs)


def _streamed(labelled: EvaluationSet, bundle: Bundle, backend: Backend, roi: str) -> Pairs:
    """Each clip is streamed from its first frame on, labelled or not: following needs them; a still by itself."""
    for clip, frames in groupby(labelled.read(), lambda frame: frame.clip):
        with closing(tracked(labelled.sources[clip], bundle, backend, roi)) as stream:
            yield from _joined(frames, stream)


def _joined(frames: Iterator[LabelledFrame], stream: Iterator[Tracks]) -> Pairs:
    for frame in frames:
        for tracks in stream:
            if tracks.index == frame.index:
                yield frame, Found.of_tracks(tracks)
                break


def tracked(source: Path, bundle: Bundle, backend: Backend, roi: str) -> Any:
    """`streamparts.track`, with following where this version has it."""
    known = inspect.signature(streamparts.track).parameters
    return streamparts.track(source, bundle, backend=backend, **({"roi": roi} if "roi" in known else {}))


def judge(model: Model, labelled: EvaluationSet, sheet: Path | None = None) -> Section:
    """All figures of `train.evaluate`, and a picture of truth beside what was found."""
    samples, chosen = dict[int, tuple[LabelledFrame, Found]](), set(spread(labelled.num_frames, NUM_PICTURES))

    def watched() -> Pairs:
        for row, (frame, found) in enumerate(model.pairs(labelled)):
            if sheet and row in chosen:
                samples[row] = (frame, found)
            yield frame, found

    observed = observe(watched(), len(labelled.part_names))
    fit = split_frames(observed.clips, 0)
    if sheet and samples:
        match = observed.parts.match() if observed.parts else None
        write_sheet(sheet, [Sample(frame, found) for frame, found in samples.values()], match)
    return report(labelled, observed, landmark_scores(observed, fit), fit, model.parts)


def false_parts(model: Model, labelled: EvaluationSet) -> dict[str, float]:
    """Share of pixels that are labelled, of all frames and of each clip."""
    shares: dict[str, list[float]] = {}
    for frame, found in model.pairs(labelled):
        shares.setdefault(clip_name(labelled.sources[frame.clip]), []).append(float((found.labels > 0).mean()))
    each = {name: sum(values) / len(values) for name, values in shares.items()}
    every = [value for values in shares.values() for value in values]
    return {"all": sum(every) / max(len(every), 1), **each}


def clip_name(source: Path) -> str:
    return source.parent.name if source.is_dir() else source.stem
