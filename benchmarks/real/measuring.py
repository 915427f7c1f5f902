"""Evaluates every model on every case of its kind; returns rows of figures."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.command_line import default_cache
from benchmarks.real import finding, training
from benchmarks.real.running import Model, false_parts, judge, network_model, runtime_model
from benchmarks.real.sets import DATA, SETS, Case, NoDataError, RealSet, empty
from benchmarks.real.tables import Row
from streamparts.backends.loading import load_model
from streamparts.bundle.shipped import model_names
from streamparts.errors import StreampartsError
from streamparts.tracking.roi import Roi
from streamparts.tracking.smoothing import Smoothing

Rows = list[Row]
KINDS = {
    "person": "person",
    "puppet-human": "person",
    "dog": "quadruped",
    "hand": "hand",
    "rodent-top": "mouse",
    "arm": "robot",
}
"""Maps models to the kind of subject they are made for."""
MAX_FRAMES = 900
LEARNED = "learned here"
"""Models trained on the set's own clips: the export, streamed; its teacher and its student, image by image."""


@dataclass(frozen=True)
class Asked:
    """Options of a run."""

    sets: tuple[RealSet, ...]
    models: dict[str, str]
    """Maps names to files or names of bundled models."""
    data: Path
    cache: Path
    max_frames: int = MAX_FRAMES
    pictures: Path | None = None
    roi: Roi | None = None
    smoothing: Smoothing | None = None
    everywhere: bool = False
    """Models are tried on all the sets, not only on those of their kind of subject."""
    recipe: training.Recipe | None = None
    """None disables training."""
    masks_of: str | None = None
    """Source of the subject, as train.assembly's --subject, whose masks are evaluated; None evaluates none."""


def measure(asked: Asked, keep: Callable[[Rows, list[str]], None] = lambda rows, lines: None) -> tuple[Rows, list[str]]:
    """Return a row for every model and case, and a line for every set whose clips are missing and for every case that
    failed; `keep` gets the results so far after each set. Raises StreampartsError for a model that cannot be loaded."""
    rows, lines = Rows(), list[str]()
    loaded = {
        name: runtime_model(name, file, asked.roi, smoothing=asked.smoothing) for name, file in asked.models.items()
    }
    for each in asked.sets:
        try:
            cases = each.cases(asked.data, asked.cache, asked.max_frames)
        except NoDataError as error:
            lines.append(str(error))
            continue
        for case in cases:
            try:
                for model in models_for(each, case, loaded, asked):
                    print(f"{case.name}: {model.name}", file=sys.stderr, flush=True)
                    rows.append(_row(each, case, model, asked))
            except StreampartsError as error:  # a failure must not lose the hours spent on other sets
                lines.append(f"{case.name}: {error}")
        keep(rows, lines)
    rows += _false_parts(loaded, asked)
    keep(rows, lines)
    return rows, lines


def models_for(each: RealSet, case: Case, loaded: dict[str, Model], asked: Asked) -> Iterator[Model]:
    """Yield the given models that fit the set, then the masks of its subject, then models trained on it."""
    fits = {name for name in loaded if asked.everywhere or KINDS.get(name, each.kind) == each.kind}
    yield from (model for name, model in loaded.items() if name in fits)
    if asked.masks_of is not None and finding.has_masks(case):
        yield finding.mask_model(case, asked.masks_of, asked.cache)
    if asked.recipe is None or not case.training:
        return
    run = training.train(case, asked.recipe, asked.cache, case.training)
    for what, path in (("teacher", run.folder / "teacher.safetensors"), ("student", run.folder)):
        if (run.folder / f"{what}.safetensors").exists():
            yield network_model(f"{LEARNED}, {what}", path, run.subject)
    exported = runtime_model(LEARNED, str(run.exported), asked.roi, run.subject, asked.smoothing)
    yield replace(exported, minutes=run.minutes)


def _row(each: RealSet, case: Case, model: Model, asked: Asked) -> Row:
    file = re.sub("[^A-Za-z0-9.]+", "_", f"{case.name}-{model.name}") + ".png"
    figures = judge(model, case.labelled, asked.pictures / file if asked.pictures else None)
    head = {"set": each.name, "case": case.name, "truth": case.labelled.truth, "model": model.name}
    return {**head, "subject": model.subject, "minutes": model.minutes, "figures": figures}


def _false_parts(loaded: dict[str, Model], asked: Asked) -> Iterator[Row]:
    """Yield the share of false parts of each model for one kind of subject, if the clips are present."""
    for name, model in loaded.items():
        for case in empty(KINDS[name], asked.data) if name in KINDS else []:
            shares = false_parts(model, case.labelled)
            yield {"set": "empty", "case": case.name, "model": name, "subject": model.subject, "false parts": shares}


def shipped(max_frames: int, quick: bool = False) -> dict[str, list[Any]]:
    """For the report: bundled models on the sets of their kind, and the puppets' model on all of them, as a floor.
    Missing clips give a line instead of a row."""
    sets = tuple(SETS.values())[:2] if quick else tuple(SETS.values())
    rows, missing = Rows(), list[str]()
    for name in (each for each in model_names() if load_model(each).spec.precision == "fp32"):
        floor = name == "puppet-human"
        found, missing = measure(Asked(sets, {name: name}, DATA, default_cache("real"), max_frames, everywhere=floor))
        rows += found
    return {"rows": rows, "missing": missing}
