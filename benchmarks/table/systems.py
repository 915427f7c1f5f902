"""The eight systems: the command that trains each, and the steps that it can take in a given time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2

from benchmarks.place import ROOT
from streamparts.errors import StreampartsError
from train.baselines.methods import METHODS
from train.baselines.settings import BaselineConfig
from train.frames.readers import find_clips, open_reader
from train.frames.spread import spread
from train.presets import assembly, scops
from train.terms.scops_losses import ABLATIONS

TRIAL_STEPS, TRIAL_EVERY = 24, 10
"""Steps of the trial that measures the processor time of a step, and between its log lines: there are three, after 10,
20 and 24 steps. The first ones warm up."""
STUDENT_COST = 0.88
"""A step of Assembly's student relative to one of its teacher: train/LOG.md, 1299 s for 4500 and 633 s for 2500."""
MIXTURES = ("nem", "r-nem")
MASKED = "co-part-masks"
"""Motion Co-part with the subject's masks, if the subject is searched for."""
NUM_PICTURES = 200
"""Frames, spread over the clips, that DFF factorises; it does not learn, so its time cannot be set. SCOPS and ULD train
on as many, if on whole frames; crops they select themselves."""


@dataclass(frozen=True)
class Shared:
    """Settings that all systems share."""

    clips: Path
    num_parts: int
    subject: str
    """"background" for whole frames, or as in train: all then see crops that follow the subject."""
    features: tuple[Path, ...]
    """Pretrained features: the first is DFF's, and SCOPS's backbone; the others are for perceptual terms, for which a
    single file serves, too."""
    minutes: float
    """Processor time of each training."""


@dataclass(frozen=True)
class System:
    """One column of the table."""

    name: str
    module: str
    flags: tuple[str, ...] = ()
    scaled: tuple[tuple[str, int], ...] = ()
    """Flags that count steps, with their defaults, the training's steps first: all grow and shrink together."""
    cost: float = 0.0
    """Steps of the first kind that a training with the default steps costs."""


def systems(settings: Shared) -> dict[str, System]:
    """All of them, in the order of the table."""
    features = [str(path.absolute()) for path in settings.features]
    found = [_assembly(settings), _scops("SCOPS", settings, features), _scops("ULD", settings, features)]
    found.append(System("DFF", "train.dff", ("--num-parts", str(settings.num_parts), "--features", features[0])))
    found += [_baseline(name, name, settings, features) for name in METHODS]
    if settings.subject != "background":
        found.append(_baseline(MASKED, "co-part", settings, features, "--subject-masks"))
    return {each.name: each for each in found}


def _assembly(settings: Shared) -> System:
    preset = "puppets" if settings.subject == "background" else "cpu"
    changed = assembly.PRESETS[preset][1]
    defaults = {name: changed.get(name, getattr(assembly.TrainingConfig, name)) for name in SCALED}
    counts = tuple((f"--{name.replace('_', '-')}", int(str(value))) for name, value in defaults.items())
    cost = counts[0][1] + STUDENT_COST * counts[1][1]
    return System("Assembly", "train.assembly", ("--preset", preset, "--subject", settings.subject), counts, cost)


SCALED = ("steps", "student_steps", "bootstrap_steps", "gate_steps")


def _scops(name: str, settings: Shared, features: Sequence[str]) -> System:
    flags = ["--network.num-parts", str(settings.num_parts), "--features", features[0]]
    flags += ["--backbone-weights", features[0]]
    if settings.subject not in ("background", "auto"):
        flags += ["--subject", settings.subject]
    if name == "ULD":
        weights = asdict(ABLATIONS["uld"])
        for field, value in weights.items():
            word = field.replace("_", "-")
            flags += (
                [f"--loss.{'' if value else 'no-'}{word}"]
                if isinstance(value, bool)
                else [f"--loss.{word}", str(value)]
            )
    steps = int(str(scops.PRESETS["fast"][1]["steps"]))
    return System(name, "train.scops", tuple(flags), (("--steps", steps),), steps)


def _baseline(name: str, method: str, settings: Shared, features: Sequence[str], *more: str) -> System:
    # one component of a mixture is the background
    parts = settings.num_parts + (method in MIXTURES)
    flags = ("--method", method, "--subject", settings.subject, "--num-parts", str(parts), *more)
    steps = int(str(METHODS[method].defaults.get("steps", BaselineConfig.steps)))
    perceptual = features[1:] or features
    return System(name, "train.baselines", (*flags, "--features", *perceptual), (("--steps", steps),), steps)


def train(system: System, settings: Shared, seed: int, out: Path) -> dict[str, Any]:
    """Train one system into `out`, unless that is done; return what is in its done.json: steps and processor minutes.
    Raises StreampartsError."""
    done = out / "done.json"
    if not done.exists():
        about = _factorise(system, settings, seed, out) if not system.scaled else _learn(system, settings, seed, out)
        done.write_text(json.dumps(about) + "\n", encoding="utf-8")
    stored: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
    return stored


def _learn(system: System, settings: Shared, seed: int, out: Path) -> dict[str, Any]:
    trial = out.with_name(f"{out.name}-trial")
    if not (out / "config.json").exists():
        step = _seconds_of_a_step(system, settings, trial)
        scale = 60 * settings.minutes / (step * system.cost)
        counts = {flag: max(1, round(count * scale)) for flag, count in system.scaled}
        trial.mkdir(parents=True, exist_ok=True)
        (trial / "counts.json").write_text(json.dumps(counts) + "\n", encoding="utf-8")
    counts = json.loads((trial / "counts.json").read_text(encoding="utf-8"))
    every = max(1, counts[system.scaled[0][0]] // 4)
    resume = ["--resume"] if (out / "config.json").exists() else []
    words = [str(_input(system, settings, out)), "--out", str(out), *system.flags, "--seed", str(seed), *resume]
    command(system.module, *words, *_steps(counts), "--checkpoint-every", str(every), "--threads", "1")
    return {"steps": counts, "minutes": round(sum(_spent(out / "log.jsonl").values()) / 60, 2)}


def _seconds_of_a_step(system: System, settings: Shared, trial: Path) -> float:
    """Processor time of one step, from a short training. From line to line there are ten steps, then four, and each
    time one picture and one checkpoint, which the difference leaves out. Assembly may find no part, which does not
    matter here. Raises StreampartsError if nothing was trained."""
    counts = {flag: 0 if "student" in flag else TRIAL_STEPS for flag, _ in system.scaled}
    given = str(_input(system, settings, trial))
    words = [given, "--out", str(trial), *system.flags, *_steps(counts), "--threads", "1"]
    if not (trial / "log.jsonl").exists():
        command(system.module, *words, "--checkpoint-every", str(TRIAL_EVERY), check=False)
    spent = [float(row["processor_seconds"]) for row in _rows(trial / "log.jsonl")]
    if len(spent) < 3:
        raise StreampartsError(f"{system.name} could not be trained; see what it printed above")
    long, short = spent[1] - spent[0], spent[2] - spent[1]
    fewer = TRIAL_STEPS - 2 * TRIAL_EVERY
    step = (long - short) / (TRIAL_EVERY - fewer)
    return step if step > 0 else max(long, 1e-3) / TRIAL_EVERY


def _input(system: System, settings: Shared, run: Path) -> Path:
    pictures = system.module == "train.scops" and settings.subject == "background"
    return pictures_of(settings.clips, run) if pictures else settings.clips


def _steps(counts: dict[str, int]) -> list[str]:
    return [word for flag, count in counts.items() for word in (flag, str(count))]


def _rows(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


def _spent(log: Path) -> dict[str, float]:
    """Processor seconds by stage."""
    return {row["stage"]: float(row["processor_seconds"]) for row in _rows(log)}


def _factorise(system: System, settings: Shared, seed: int, out: Path) -> dict[str, Any]:
    """DFF, on pictures from all clips."""
    command(system.module, str(pictures_of(settings.clips, out)), "--out", str(out), *system.flags, "--seed", str(seed))
    return {"steps": {}, "minutes": None}


def pictures_of(clips: Path, run: Path) -> Path:
    """Return the folder, beside a run, of frames spread over each clip as PNG files; write it if it is not there."""
    folder, found = run.with_name("pictures"), find_clips(clips)
    if folder.exists():
        return folder
    partial = folder.with_name(f".{folder.name}")
    partial.mkdir(parents=True, exist_ok=True)
    for number, clip in enumerate(found):
        reader = open_reader(clip)
        for index in spread(len(reader), max(1, NUM_PICTURES // len(found))):
            cv2.imwrite(str(partial / f"{number:04d}_{index:05d}.png"), reader[index][..., ::-1])
    partial.rename(folder)
    return folder


def command(module: str, *words: str, check: bool = True) -> None:
    """Run `python -m MODULE ...` with its progress on the screen. Raises StreampartsError if it fails."""
    result = subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, check=False)
    if result.returncode and check:
        raise StreampartsError(f"python -m {module} {' '.join(words)} ended with code {result.returncode}; see above")
