"""Train a model from a camera or raw clips: record, adapt or train, export. Each step is a command in a process of its
own; all files are in one folder, and the model can be trained further."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from streamparts.errors import MissingExtraError, ModelError, StreampartsError, VideoError
from streamparts.learning.fitting import best_model
from streamparts.learning.record import record
from streamparts.learning.trainers import TRAINERS, locate
from streamparts.machine import missing_package
from streamparts.sources import open_source

QUICK_MINUTES = 5.0
"""Minutes that `streamparts train --preset quick` takes on two cores."""
QUICK_STEPS = {"steps": 500, "student-steps": 400, "bootstrap-steps": 150, "gate-steps": 75}
RECORD_SECONDS = 60.0
PROGRAM = (sys.executable, "-m", "streamparts")
"""Command line that runs a command in a separate process."""
MODEL, RUN, CLIPS = "model.onnx", "run", "clips"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Learned:
    """Result of `learn`."""

    model: Path
    """The exported .onnx file."""
    run: Path
    """The trainers' run folder, with images of the parts."""
    began_as: str
    """Name of the adapted model; "" for parts trained from scratch."""


def learn(
    source: str | Path,
    out: str | Path,
    *,
    minutes: float = QUICK_MINUTES,
    record_seconds: float = RECORD_SECONDS,
    begin: str = "auto",
    say: Callable[[str], None] = print,
) -> Learned:
    """Train a model on the subject of `source` without labels, and export it to `out`/model.onnx.

    Args:
        source: a video, a folder of videos, or any source for open_source, which is recorded first.
        out: a new folder for the recording, the run and the model.
        minutes: training time on two cores; finding the subject takes about one minute more.
        record_seconds: length of the recording of a live source.
        begin: "auto" adapts the bundled model that finds its subject in the clips, or trains from scratch if none does;
            "scratch"; or the model to adapt, by name or as an .onnx file.
        say: receives lines for the user.

    Raises MissingExtraError without the trainers, VideoError if nothing moves or nothing can be recorded, ModelError if
    a step of the training fails.
    """
    require_trainers()
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise ModelError(f"{folder} is not empty; choose a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    clips = Path(source)
    if clips.is_file():
        clips = folder / CLIPS
        clips.mkdir()
        shutil.copy(source, clips)
    elif not clips.exists():
        clips = _recorded(str(source), folder / CLIPS, record_seconds, say)
    known = best_model(clips, say) if begin == "auto" else "" if begin == "scratch" else begin
    run, model = folder / RUN, folder / MODEL
    if known:
        say(f"adapting {known} for {minutes:g} minutes")
        _step("adapt", known, str(clips), "--out", str(run), "--minutes", f"{minutes:g}")
    else:
        say(f"training parts from scratch for about {minutes:g} minutes; then see {run / 'parts.png'}")
        _step("train", str(clips), "--out", str(run), "--preset", "quick", *_steps_for(minutes))
    _step("export", str(run), "-o", str(model), "--name", folder.name)
    return Learned(model, run, known)


def require_trainers() -> None:
    """Raise MissingExtraError unless torch and the trainers are installed."""
    for package in ("torch", "tyro", "onnxscript"):
        if reason := missing_package(package, "train"):
            raise MissingExtraError(f"training needs the trainers: {reason}")
    for command in ("train", "adapt", "export"):
        locate(TRAINERS[command].module)


def _recorded(word: str, folder: Path, seconds: float, say: Say) -> Path:
    folder.mkdir()
    with closing(open_source(word)) as source:
        record(source, folder / "recorded.mp4", seconds, say)
    return folder


def _steps_for(minutes: float) -> list[str]:
    """Flags for a training of that many minutes."""
    flags = []
    for name, steps in QUICK_STEPS.items():
        flags += [f"--{name}", str(max(2, round(steps * minutes / QUICK_MINUTES)))]
    return flags


def _step(command: str, *words: str) -> None:
    """Run one command of the trainers with its progress on the terminal. Raises VideoError or ModelError with its last
    line."""
    line = [*PROGRAM, command, *words]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        last = ""
        assert process.stderr is not None
        while piece := process.stderr.read(1):
            sys.stderr.write(piece)
            sys.stderr.flush()
            last = piece if last.endswith(("\n", "\r")) else last + piece
    if process.returncode:
        raise _error_of(command, last.strip(), process.returncode)


def _error_of(command: str, line: str, code: int) -> StreampartsError:
    said = line.partition("error: ")[2]
    if (said and "subject" in said) or "moves" in said:
        return VideoError(said)
    return ModelError(said or f"streamparts {command} exited with code {code}")
