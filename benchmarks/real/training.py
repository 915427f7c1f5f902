"""Trains models on a set's own clips as a user would: `train.assembly` and the export, each as a command."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from benchmarks.place import ROOT
from benchmarks.real.clips import gather
from benchmarks.real.sets import Case
from streamparts.errors import StreampartsError
from train.presets.assembly import PRESETS, TrainingConfig

SCALED = ("steps", "student_steps", "bootstrap_steps", "gate_steps")
"""Options that --steps-scale multiplies."""
DONE = "trained.json"


class TrainingError(StreampartsError):
    """A command of a training ended with an error."""


@dataclass(frozen=True)
class Recipe:
    """Options of all trainings; others keep their defaults."""

    preset: str = "cpu"
    steps_scale: float = 1.0
    subject: str = "auto"
    threads: int = 0
    more: tuple[str, ...] = ()
    """Further flags of train.assembly, unchanged."""

    def flags(self) -> list[str]:
        """Of train.assembly."""
        out = ["--preset", self.preset] if self.preset != "cpu" else []
        if self.steps_scale != 1:
            default = {field.name: field.default for field in fields(TrainingConfig)} | PRESETS[self.preset][1]
            for name in (each for each in SCALED if each in default):
                steps = max(1, round(float(str(default[name])) * self.steps_scale))
                out += [f"--{name.replace('_', '-')}", str(steps)]
        if self.subject != "auto":
            out += ["--subject", self.subject]
        if self.threads:
            out += ["--threads", str(self.threads)]
        return [*out, *self.more]

    @property
    def label(self) -> str:
        """Distinguishes the folders of different trainings."""
        words = [word.strip("-").replace("/", "_") for word in self.flags()]
        return "-".join(words) or "default"


@dataclass(frozen=True)
class Run:
    """A run folder with its exported model beside it."""

    folder: Path
    subject: str
    """Source of the subject, in words."""
    minutes: float

    @property
    def exported(self) -> Path:
        return self.folder.with_suffix(".onnx")


def train(case: Case, recipe: Recipe, cache: Path, clips: Sequence[Path]) -> Run:
    """Return the case's run, from the cache if it exists; an interrupted one is resumed. Raises TrainingError."""
    runs = cache / "runs" / recipe.label
    runs.mkdir(parents=True, exist_ok=True)
    folder, done = runs / case.run, runs / f"{case.run}.{DONE}"
    if not done.exists():
        clips_folder = gather(cache / "clips" / case.run, clips)
        began = time.monotonic()
        going_on = ["--resume"] if (folder / "config.json").exists() else []
        command("train.assembly", str(clips_folder), "--out", str(folder), *going_on, *recipe.flags())
        command("export.onnx_model", str(folder), "-o", str(folder.with_suffix(".onnx")))
        about = {"minutes": round((time.monotonic() - began) / 60, 1), "resumed": bool(going_on)}
        done.write_text(json.dumps(about) + "\n", encoding="utf-8")
    return Run(folder, subject_words(folder), float(json.loads(done.read_text(encoding="utf-8"))["minutes"]))


def subject_words(folder: Path) -> str:
    """Return the source of the subject, from the exported model or the run."""
    from streamparts.backends.loading import load_model

    said = load_model(folder.with_suffix(".onnx")).spec.subject
    if said is not None:
        return str(said.source)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return str(config.get("subject", "not known"))


def command(module: str, *words: str) -> None:
    """Run `python -m MODULE ...` with its progress on the screen. Raises TrainingError."""
    result = subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, check=False)
    if result.returncode:
        raise TrainingError(f"python -m {module} {' '.join(words)} ended with code {result.returncode}; see above")
