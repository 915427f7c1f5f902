"""Small networks with random weights, exported like trained ones, for tests of backends."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from streamparts.bundle.load import Bundle, check_model
from streamparts.bundle.spec import ModelSpec
from streamparts.models.assembly import Assembly, AssemblyConfig
from streamparts.models.fuse import fuse_batch_norms
from streamparts.models.groups import PartGroups
from streamparts.models.readout import ExportedScops, ExportedSegmenter, ExportedStudent, ExportedTeacher
from streamparts.models.resnet import ResNet50
from streamparts.models.scops import Backbone, Scops, ScopsConfig
from streamparts.models.segmenters import SEGMENTERS
from streamparts.models.student import STUDENT_SIZES, Student, StudentConfig
from tests.conftest import ROOT
from tests.test_layers import imported, module_name

SIZE = 64
NUM_PARTS = 5
GROUPS = PartGroups(((1, 0), (3,), (2,), (4,), (5,)), ((0.1, 0.0),) * 5, (0.3, 0, 0.1, 0, 0), ((1.0, 1.2),) * 5)
"""Assignment of the teacher's slots to parts."""
KEPT = ROOT / "build" / "tests" / "exported"
"""Exported models of earlier tests and runs. One export takes as long as fifty tests that use it."""


def exported_bundle(kind: str, folder: Path, backbone: Backbone = "fast") -> Bundle:
    """A bundle in `folder` whose weights are random, the same at each call: "student", "scops", "teacher" or one of
    SEGMENTERS; `backbone` is that of "scops".

    Exported once per state of the sources, then copied from KEPT. tests/test_export.py exports anew in each run."""
    data = kept(f"{kind}-{backbone}", lambda: _export(kind, backbone))
    path = folder / f"{kind}.onnx"
    path.write_bytes(data)
    return Bundle(check_model(data), path, hashlib.sha256(data).hexdigest(), data)


def kept(name: str, export: Callable[[], bytes], anew: bool = False) -> bytes:
    """The model kept under `name`, or else, or with `anew`, what `export` returns, which is kept from then on."""
    path = KEPT / _sources_digest() / f"{name}.onnx"
    if anew or not path.exists():
        _keep(path, export())
    return path.read_bytes()


@cache
def _sources_digest() -> str:
    """SHA-256 of all code that takes part in an export, and of the versions of the libraries that do."""
    modules = {module_name(path): path for name in ("export", "streamparts") for path in (ROOT / name).rglob("*.py")}
    rooms = ("streamparts.models", "streamparts.bundle")
    unread = ["export.graph", *(name for name in modules if name.startswith(rooms))]
    sources = {ROOT / "tests" / name for name in ("exported.py", "networks.py", "test_export.py")}
    while unread:
        name = unread.pop()
        if modules[name] not in sources:
            sources.add(modules[name])
            unread += imported(name, modules[name], modules)
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.read_bytes())
    for library in ("torch", "onnx", "onnxscript", "onnx-ir", "numpy"):
        digest.update(f"{library} {version(library)}".encode())
    return digest.hexdigest()[:32]


def _keep(path: Path, data: bytes) -> None:
    """Write the file whole, for other processes may look for it, and remove those of other sources."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in KEPT.iterdir():
        if other != path.parent:
            shutil.rmtree(other, ignore_errors=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)


def _export(kind: str, backbone: Backbone) -> bytes:
    from export.graph import to_onnx  # its imports take seconds

    torch.manual_seed(0)
    config: Any
    more: dict[str, object] = {}
    if kind in SEGMENTERS:
        config = SEGMENTERS[kind].config(num_parts=NUM_PARTS, image_size=SIZE)
        network: nn.Module = ExportedSegmenter(SEGMENTERS[kind].build(config))
    elif kind == "teacher":
        config = AssemblyConfig(NUM_PARTS + 1, SIZE, 6, (8, 12, 16, 24, 24), 24, 12)
        network = ExportedTeacher(Assembly(config), GROUPS, gate=3.0)
        more = {"form": "fast", "gate": 3.0, "groups": GROUPS.to_json()}
    elif kind == "student":
        config = StudentConfig(NUM_PARTS, SIZE, **STUDENT_SIZES["nano"])
        network = ExportedStudent(Student(config))
    else:
        config = ScopsConfig(NUM_PARTS, SIZE, backbone)
        network = ExportedScops(Scops(config))
    _stir(network, gain=0.7 if kind == "teacher" else 3)  # beyond that rounding errors grow from layer to layer
    shape = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(config).items()}
    spec = ModelSpec(
        name=f"random-{kind}",
        method={"student": "assembly", "teacher": "assembly"}.get(kind, kind),  # type: ignore[arg-type]
        parts=tuple(f"part{k}" for k in range(NUM_PARTS)),
        input_hw=(SIZE, SIZE),
        network={"kind": kind, **shape, **more},
    )
    return to_onnx(fuse_batch_norms(network.eval()), spec)


def with_network(bundle: Bundle, **changes: object) -> Bundle:
    """The bundle with another description of its network; None takes an entry out."""
    network = {name: value for name, value in {**bundle.spec.network, **changes}.items() if value is not None}
    return dataclasses.replace(bundle, spec=msgspec.structs.replace(bundle.spec, network=network))


@torch.no_grad()
def _stir(network: nn.Module, gain: float) -> None:
    """Norms as after training, not those that change nothing, and heads that are not at zero."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(std=0.1)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            module.weight.mul_(gain)
        elif isinstance(module, ResNet50):
            module.mean.copy_(torch.tensor([101, 102, 103]))
            module.std.copy_(torch.tensor([51, 52, 53]))
