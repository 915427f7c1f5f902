"""Shared by the training loops: processes, the optimiser's step, learning rates, checkpoints."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor
from tqdm import tqdm

from streamparts.errors import StreampartsError
from streamparts.learning.trainers import exit_code
from streamparts.models.checkpoint import save_checkpoint
from streamparts.models.run_files import NAMES
from streamparts.texts import readable

from .run_folder import RunLog, Stopped, StopRequest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Module = TypeVar("Module", bound=torch.nn.Module)


class Mixed(MixedPrecision):
    """Networks in 16 bits, with outputs and therefore losses in float32. Fabric's own plugin also rounds the inputs,
    poses included, and rejects frozen dataclasses; autocast rounds the operands of each product by itself."""

    def __init__(self, precision: Literal["bf16-mixed", "16-mixed"], device: str) -> None:
        """`device` as for launch. A CPU has no fp16, and computes in bfloat16 instead."""
        on_gpu = device != "cpu" and torch.cuda.is_available()
        super().__init__(precision if on_gpu else "bf16-mixed", "cuda" if on_gpu else "cpu")

    def convert_input(self, data: Any) -> Any:
        return data


def launch(device: str, precision: Literal["32-true", "bf16-mixed", "16-mixed"], threads: int = 0) -> Fabric:
    """Start one process, or as many as torchrun has started; `device` is auto, cpu or cuda. `threads` are those of a
    CPU; 0 is torch's default."""
    if threads:
        torch.set_num_threads(threads)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    nodes = int(os.environ.get("WORLD_SIZE", 1)) // local
    keep_freed_memory()
    arithmetic = Precision() if precision == "32-true" else Mixed(precision, device)
    fabric = Fabric(accelerator=device, devices=local, num_nodes=nodes, plugins=[arithmetic])
    fabric.launch()
    return fabric


def keep_freed_memory() -> None:
    """Keep freed memory in the process. Each step frees its arrays and allocates them again. The GNU C library would
    return them to the system in between, which then clears every page again, up to a tenth of a step on a CPU. From
    here on, the process keeps up to 2 GB of freed memory. Other C libraries are not affected."""
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(mmap_threshold, 32 << 20)
        mallopt(trim_threshold, 2**31 - 1)


def tell_next(run: Path, num_parts: int) -> None:
    """Print what to do with a finished run."""
    tqdm.write(
        f"{num_parts} parts; look at {run / 'parts.png'}, name them in {run / NAMES}, then: "
        f"streamparts export {run} -o {run.name}.onnx",
        file=sys.stderr,
    )


def tell_unusual(failures: Sequence[str], notes: Sequence[str]) -> None:
    """Print unused inputs and notes on the used ones, one line each."""
    for line in (*(f"skipped: {failure}" for failure in failures), *(f"note: {note}" for note in notes)):
        tqdm.write(readable(line), file=sys.stderr)


def adam(
    network: torch.nn.Module,
    rate: float,
    betas: tuple[float, float],
    fabric: Fabric,
    pretrained: torch.nn.Module | None = None,
    share: float = 1.0,
) -> torch.optim.Adam:
    """Create Adam, as one call for all tensors; not in float16 on a GPU, where it could not clip scaled gradients.
    `pretrained` parameters of the network learn at `share` of the rate."""
    known = {id(parameter) for parameter in pretrained.parameters()} if pretrained else set()
    own = [parameter for parameter in network.parameters() if id(parameter) not in known]
    groups = [{"params": own, "share": 1.0}]
    if pretrained:
        groups.append({"params": list(pretrained.parameters()), "share": share})
    return torch.optim.Adam(groups, rate, betas=betas, fused=fabric.device.type == "cpu" or not scales(fabric))


def scales(fabric: Fabric) -> bool:
    """True if gradients are scaled, for float16."""
    return getattr(fabric.strategy.precision, "scaler", None) is not None


def optimiser_step(
    fabric: Fabric, module: _FabricModule, optimiser: _FabricOptimizer, loss: Tensor, max_norm: float = 1.0
) -> None:
    """Take one optimiser step on `loss`, with gradients clipped by norm."""
    fabric.backward(loss)
    fabric.clip_gradients(module, optimiser, max_norm=max_norm)
    optimiser.step()
    optimiser.zero_grad()


def keep(
    fabric: Fabric,
    log: RunLog,
    stop: StopRequest,
    step: int,
    best_by: Sequence[str],
    path: Path,
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    shape: DataclassInstance,
) -> None:
    """Write the checkpoint when it is due after a step, and a second one at the lowest sum of the terms `best_by` so
    far. Raises Stopped, with the checkpoint written, if a signal has arrived."""
    stopped = anyone(fabric, stop)
    if fabric.is_global_zero and (log.due(step) or stopped):
        save_checkpoint(path, network, optimiser, step + 1, asdict(shape))
    if fabric.is_global_zero and log.due(step) and log.is_best(best_by):
        save_checkpoint(path.with_name(f"best-{path.name}"), network, None, step + 1, asdict(shape))
    if stopped:
        raise Stopped(stopped, step + 1)


def anyone(fabric: Fabric, stop: StopRequest) -> int:
    """Return the signal that arrived in this process or another, 0 for none, so that all stop at the same step."""
    if fabric.world_size == 1:
        return stop.signum
    signums = fabric.all_gather(torch.tensor(stop.signum, device=fabric.device))
    return int(torch.as_tensor(signums).max())


def ramp(value: float, start: float, end: float) -> float:
    """Return 0 up to `start`, 1 from `end`, linear in between."""
    return min(1.0, max(0.0, (value - start) / (end - start)))


def cosine_rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Learning rate: linear warm-up, then a half cosine to zero."""
    return peak * min(1.0, (step + 1) / warmup) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps)))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set `rate`, or each group's share of it."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("share", 1.0)


def channels_last(network: Module) -> Module:
    """Memory layout in which convolutions on a CPU take half the time."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def trainer_exit_code(work: Callable[[], None], debug: bool) -> int:
    """Return the exit code of a trainer's command: 0, 1 with a one-line error, or 128 + signal if it was stopped."""
    signum = 0

    def work_until_stopped() -> None:
        nonlocal signum
        try:
            work()
        except Stopped as stopped:
            print(f"\n{stopped}; continue with --resume", file=sys.stderr)
            signum = stopped.signum

    code = exit_code(work_until_stopped, debug, expected=(StreampartsError,))
    if code == 130:
        print("\nstopped; continue with --resume", file=sys.stderr)
    return 128 + signum if signum else code
