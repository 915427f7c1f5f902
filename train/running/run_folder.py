"""A run folder: its log, images and checkpoints, and stopping a run without losing a step."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from streamparts.arrays import ByteArray
from streamparts.errors import StreampartsError
from streamparts.models.checkpoint import load_optimiser, load_weights, read_metadata
from streamparts.models.run_files import CONFIG
from streamparts.texts import PlainLines

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Stopped(BaseException):
    """Raised when a signal ends the run after a complete step, with its checkpoint written. As KeyboardInterrupt, it is
    no error that a command reports."""

    def __init__(self, signum: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name} at step {step}")
        self.signum = signum


class StopRequest:
    """Records whether SIGTERM or Ctrl-C has arrived; checked once per step."""

    def __init__(self) -> None:
        self.signum = 0

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Handle the signals; the second one of a kind has its default effect. Only the main thread can do this."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        self._before = before
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        signal.signal(signum, self._before[signal.Signals(signum)])


FREE = {
    "out", "resume", "steps", "student_steps", "batch_size", "student_batch_size", "learning_rate",
    "student_learning_rate", "falling", "pixels", "device", "precision", "threads", "cache", "checkpoint_every",
}  # fmt: skip
"""Settings that a resumed run may change: how long, how fast and where it trains. All others decide what it learns."""


def open_run(folder: Path, config: DataclassInstance, resume: bool) -> None:
    """Create the run folder with its config.json. Raises StreampartsError, before anything is written, for a folder
    with another run, or if a resumed run has other settings than those in FREE."""
    saved = folder / CONFIG
    wanted = json.loads(json.dumps(asdict(config), default=str))
    if saved.exists() and any(folder.glob("*.safetensors")):
        if not resume:
            raise StreampartsError(f"{folder} holds a run; continue with --resume or choose another --out")
        require_same(saved, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    saved.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


def require_same(saved: Path, wanted: dict[str, Any]) -> None:
    """Raise StreampartsError if the settings of a stored run are unreadable, or differ from the wanted ones."""
    try:
        stored = json.loads(saved.read_text(encoding="utf-8"))
        changed = [name for name in differences(stored, wanted) if name.split(".")[0] not in FREE]
    except (OSError, ValueError, AttributeError) as error:
        raise StreampartsError(f"{saved} cannot be read ({error}); choose another --out") from error
    if changed:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in changed[:4])
        raise StreampartsError(f"{saved.parent} was trained with other settings ({flags}); choose another --out")


def differences(stored: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted names of the settings that both have with different values; paths are compared resolved."""
    found = []
    for name in sorted(stored.keys() & wanted.keys()):
        old, new = stored[name], wanted[name]
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{prefix}{name}.")
        elif old != new and not (
            isinstance(old, str) and isinstance(new, str) and Path(old).resolve() == Path(new).resolve()
        ):
            found.append(prefix + name)
    return found


class RunLog:
    """Means of the loss terms since the last line: in the progress bar, in log.jsonl and as TensorBoard curves."""

    def __init__(self, folder: Path, stage: str, start: int, steps: int, every: int, fabric: Fabric) -> None:
        """Of several processes, the first prints and writes the means of all."""
        self._fabric, quiet = fabric, not fabric.is_global_zero
        self.path, self.stage, self.every = folder / "log.jsonl", stage, every
        self.bar = tqdm(
            desc=stage, initial=start, total=steps, unit="step", mininterval=1.0, disable=quiet or None,
            dynamic_ncols=True,
        )  # fmt: skip
        self.board = None if quiet else SummaryWriter(str(folder / "tensorboard"), purge_step=start)
        self.steps, self._start = steps, start
        self._plain = PlainLines(lambda line: print(line, file=sys.stderr, flush=True))
        self.sums: dict[str, Tensor] = {}
        self.count, self.began = 0, time.monotonic()
        self._last, self._processor_before = self.began, time.process_time()

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Sums stay where the terms are: reading one would wait for the device in every step."""
        for name, value in terms.items():
            exact = value.detach().double()
            self.sums[name] = self.sums[name] + exact if name in self.sums else exact
        self.count += 1
        self.bar.update()
        if self.bar.disable and self.board and self._plain.is_due():
            rate = (step + 1 - self._start) / (time.monotonic() - self.began)
            self._plain.say(f"{self.stage}: step {step + 1} of {self.steps}, {rate:.3g} steps per second")
        if self.due(step):
            self._write(step + 1)

    def due(self, step: int) -> bool:
        """Return whether a line, a checkpoint and an image follow this step."""
        return (step + 1) % self.every == 0 or step + 1 == self.steps

    def is_best(self, names: Sequence[str]) -> bool:
        """True if the sum of these terms is lower in the last line than in all earlier ones, including those before a
        resume."""
        rows = [
            row
            for row in map(json.loads, self.path.read_text(encoding="utf-8").splitlines())
            if row["stage"] == self.stage
        ]
        totals = [sum(row.get(name, 0.0) for name in names) for row in rows]
        return bool(totals[-1] <= min(totals))

    def _write(self, step: int) -> None:
        means = self._over_all_processes({name: float(value) / self.count for name, value in self.sums.items()})
        now = time.monotonic()
        rate, self._last = self.count / max(now - self._last, 1e-9), now
        self.sums, self.count = {}, 0
        if not self.board:
            return
        self.bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()})
        head = {"stage": self.stage, "step": step, "seconds": round(now - self.began, 1)}
        head["processor_seconds"] = round(time.process_time() - self._processor_before, 2)
        head["steps_per_second"] = float(f"{rate:.4g}")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**head, **means}) + "\n")
        for name, value in {**means, "sum": sum(means.values())}.items():
            self.board.add_scalar(f"{self.stage}/{name}", value, step)

    def _over_all_processes(self, means: dict[str, float]) -> dict[str, float]:
        values = torch.tensor(list(means.values()), dtype=torch.float64)
        if self._fabric.world_size > 1:
            gathered = torch.as_tensor(self._fabric.all_gather(values.float().to(self._fabric.device)))
            values = gathered.double().mean(0).cpu()
        return {name: round(float(value), 5) for name, value in zip(means, values, strict=True)}

    def picture(self, name: str, image: ByteArray, step: int) -> None:
        """Log an (H, W, 3) image to TensorBoard."""
        if self.board:
            self.board.add_image(f"{self.stage}/{name}", image, step, dataformats="HWC")

    def close(self) -> None:
        self.bar.close()
        if self.board:
            self.board.close()


def restore(checkpoint: Path, network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Restore both from `checkpoint` if it exists; return the step to continue with."""
    if not checkpoint.exists():
        return 0
    load_weights(checkpoint, network)
    load_optimiser(checkpoint, optimiser)
    return read_metadata(checkpoint)[0]


def require_finite(stage: str, step: int, terms: dict[str, Tensor], check: bool = True) -> Tensor:
    """Return the sum of the terms. Raises StreampartsError naming the step and the terms that are not finite; without
    `check`, it does not wait for them."""
    loss = torch.stack(list(terms.values())).sum()
    if check and not torch.isfinite(loss):
        wrong = ", ".join(f"{name} is {value.item()}" for name, value in terms.items() if not torch.isfinite(value))
        raise StreampartsError(f"{stage}, step {step}: {wrong or 'the sum is too large'}; try a lower --learning-rate")
    return loss
