"""Checkpoints: one safetensors file with the network, the optimiser and the step, without pickle."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from streamparts.errors import ModelError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Module = TypeVar("Module", bound=nn.Module)
Config = TypeVar("Config", bound="DataclassInstance")


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    step: int,
    config: dict[str, object],
) -> None:
    """Write everything needed to resume, atomically."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    state = optimiser.state_dict()["state"] if optimiser else {}
    for index, values in state.items():
        for name, value in values.items():
            tensors[f"optimiser.{index}.{name}"] = torch.as_tensor(value)
    metadata = {"step": str(step), "config": json.dumps(config)}
    partial = path.with_suffix(".tmp")
    safetensors.torch.save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial, metadata)
    partial.replace(path)


def read_metadata(path: Path) -> tuple[int, dict[str, object]]:
    """Read step and configuration of a checkpoint. Raises ModelError without one."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return int(metadata["step"]), json.loads(metadata["config"])
    except FileNotFoundError as error:
        raise ModelError(f"no checkpoint at {path}; has the training started?") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is not a checkpoint of streamparts ({error})") from error


def read_config(path: Path, kind: type[Config]) -> Config:
    """Read the shape, a dataclass of `kind`, of the network in a checkpoint. Raises ModelError."""
    saved = read_metadata(path)[1]
    known = {field.name for field in fields(kind)}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items() if k in known}
    try:
        return kind(**values)
    except TypeError as error:
        raise ModelError(f"{path} does not describe a network of {kind.__name__} ({error})") from error


def load_weights(path: Path, network: Module) -> Module:
    """Load the weights of `network` from a checkpoint. Raises ModelError if the tensors do not fit."""
    tensors = _section(path, "network.")
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"{path} does not fit the network: {str(error).splitlines()[0]}") from error
    return network


def load_optimiser(path: Path, optimiser: torch.optim.Optimizer) -> None:
    """Restore the optimiser's state from a checkpoint."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _section(path, "optimiser.").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:  # fused Adam needs both in the same memory format
                values[name] = torch.empty_like(parameter).copy_(value)


def _section(path: Path, prefix: str) -> dict[str, Tensor]:
    tensors = safetensors.torch.load_file(path)
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
