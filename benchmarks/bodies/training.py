"""Trains the two label-free trainers on raw clips of people who turn around, as users would: train, then export."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bodies.sets import SETS, TRAINING, Clips, open_set
from benchmarks.real.clips import gather
from benchmarks.real.training import command

TRAINERS = {"assembly": "train.assembly", "scops": "train.scops"}
PRESETS = {"assembly": "quick", "scops": "fast"}
"""Presets unless --preset names another."""
NUM_CLIPS, NUM_FRAMES = 16, 96


@dataclass(frozen=True)
class LearnerOptions:
    """Options of the trainings."""

    preset: str | None = None
    threads: int = 0
    features: Path | None = None
    """Weights of SqueezeNet for scops, as .npz; None: torchvision's."""
    more: tuple[str, ...] = ()
    """Further flags of the trainer, unchanged."""

    def flags(self, trainer: str) -> list[str]:
        out = ["--preset", self.preset or PRESETS[trainer]]
        if self.threads:
            out += ["--threads", str(self.threads)]
        if self.features and trainer == "scops":
            out += ["--features", str(self.features), "--backbone-weights", str(self.features)]
        return [*out, *self.more]


def training_clips(cache: Path, size: int, num_clips: int = NUM_CLIPS, num_frames: int = NUM_FRAMES) -> Clips:
    """Clips of the set `turning`, with bodies, clothes and places of their own."""
    return open_set(SETS["turning"], cache, num_clips, num_frames, size, TRAINING)


def learn(trainer: str, recipe: LearnerOptions, clips: Clips, cache: Path) -> tuple[Path, float]:
    """Return the exported model that `trainer` learned from the videos alone, and the minutes it took; from the cache
    if it exists, and an interrupted training is resumed. Raises TrainingError."""
    words = [word.strip("-").replace("/", "_") for word in recipe.flags(trainer)]
    folder = cache / "runs" / "-".join([trainer, f"{len(clips.videos)}", clips.videos[0].parent.name, *words])
    exported, done = folder.with_name(f"{folder.name}.onnx"), folder.with_name(f"{folder.name}.json")
    if not done.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        raw = gather(cache / "raw" / clips.videos[0].parent.name, clips.videos)
        began = time.monotonic()
        resumed = ["--resume"] if (folder / "config.json").exists() else []
        command(TRAINERS[trainer], str(raw), "--out", str(folder), *resumed, *recipe.flags(trainer))
        command("export.onnx_model", str(folder), "-o", str(exported))
        minutes = round((time.monotonic() - began) / 60, 1)
        done.write_text(json.dumps({"minutes": minutes, "resumed": bool(resumed)}) + "\n", encoding="utf-8")
    return exported, float(json.loads(done.read_text(encoding="utf-8"))["minutes"])
