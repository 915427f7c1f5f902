"""Loads what a run folder has to export: the trained network, its shape, and its training clips."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamparts.bundle.spec import Method, NetworkValue
from streamparts.errors import ModelError
from streamparts.models.assembly import AssemblyConfig
from streamparts.models.checkpoint import read_metadata
from streamparts.models.readout import Exported, ExportedScops, ExportedSegmenter, ExportedStudent, ExportedTeacher
from streamparts.models.run_files import CONFIG, NAMES, PARTS, SCOPS, SEGMENTER, STUDENT, TEACHER
from streamparts.models.scops import Scops
from streamparts.models.segmenters import load_segmenter
from streamparts.models.student import Student
from streamparts.models.trained import load_scops, load_student, load_teacher, read_groups
from streamparts.texts import read_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Trained:
    """Content of a run folder for export."""

    network: Exported
    """(B, S, S, 3) uint8 RGB -> Readout."""
    method: Method
    num_parts: int
    image_size: int
    """S in pixels."""
    shape: Mapping[str, NetworkValue]
    """ModelSpec.network."""


def load_trained(run: Path, teacher: bool = False, evidence: bool = True) -> Trained:
    """Load the trained network of a run folder: scops.safetensors or segmenter.safetensors, or else a student or, with
    `teacher`, an Assembly teacher. Raises ModelError if there is none."""
    if teacher:
        return trained_teacher(run, evidence)
    if (run / SCOPS).exists():
        scops = scops_of(run)
        network, shape = ExportedScops(scops, evidence).eval(), network_shape("scops", scops.config)
        return Trained(network, "scops", scops.config.num_parts, scops.config.image_size, shape)
    if (run / SEGMENTER).exists():
        return trained_segmenter(run, evidence)
    student = student_of(run)
    config = student.config
    exported = ExportedStudent(student, evidence).eval()
    return Trained(exported, method_of(run), config.num_parts, config.image_size, network_shape("student", config))


def trained_segmenter(run: Path, evidence: bool = True) -> Trained:
    """Load the trained network of a method in train/baselines. Raises ModelError without one."""
    checkpoint = run / SEGMENTER
    require_finished(run, checkpoint, "steps")
    method, segmenter = load_segmenter(checkpoint)
    config = segmenter.config
    shape = network_shape(method, config)
    network = ExportedSegmenter(segmenter, evidence).eval()
    return Trained(network, method, config.num_parts, config.image_size, shape)  # type: ignore[arg-type]


def method_of(run: Path) -> Method:
    """Return the training method of a run folder's student, from the run's config.json: train.supervised learns from
    `images`, and an adapted student keeps the method of the model it started from."""
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    adapted: Method | None = config.get("method")
    return adapted or ("supervised" if "images" in config else "assembly")


def trained_teacher(run: Path, evidence: bool = True) -> Trained:
    """Load the trained teacher of a run folder, with its slots joined to the parts of parts.json. Raises ModelError
    without one."""
    checkpoint = run / TEACHER
    require_finished(run, checkpoint, "steps")
    teacher = load_teacher(checkpoint)
    groups, gate = read_groups(checkpoint)
    config = teacher.config
    try:
        groups.require_slots(config.num_parts)
    except ValueError as error:
        raise ModelError(f"{run / PARTS}: {error}") from error
    form = "fast" if isinstance(config, AssemblyConfig) else "paper"
    shape = network_shape("teacher", config, form=form, gate=gate, groups=groups.to_json())  # type: ignore[arg-type]
    network = ExportedTeacher(teacher, groups, gate, evidence).eval()
    return Trained(network, "assembly", groups.num_parts, config.image_size, shape)


def network_shape(kind: str, config: DataclassInstance, **more: NetworkValue) -> dict[str, NetworkValue]:
    """Return ModelSpec.network: the kind of network and the fields of its configuration, with tuples as lists."""
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}
    return {"kind": kind, **fields, **more}


def student_of(run: Path) -> Student:
    """Load the trained student of a run folder. Raises ModelError without one."""
    checkpoint = run / STUDENT
    require_finished(run, checkpoint, "student_steps")
    return load_student(checkpoint)


def scops_of(run: Path) -> Scops:
    """Load the trained SCOPS network of a run folder. Raises ModelError without one."""
    checkpoint = run / SCOPS
    require_finished(run, checkpoint, "steps")
    return load_scops(checkpoint)


def require_finished(run: Path, checkpoint: Path, steps: str) -> None:
    """Raise ModelError unless the checkpoint has as many steps as `steps` in the run's config.json, if that exists,
    requires."""
    step, _ = read_metadata(checkpoint)
    wanted = json.loads((run / CONFIG).read_text(encoding="utf-8")).get(steps, step)
    if step < wanted:
        raise ModelError(f"{run} stopped at step {step} of {wanted}; finish it with --resume first")


def given_names(flag: str, run: Path) -> tuple[str, ...]:
    """Return the comma-separated names of --parts, or else those in the run's names.txt, if any."""
    if flag:
        return tuple(name.strip() for name in flag.split(","))
    path = run / NAMES
    lines = read_text(path).splitlines() if path.exists() else []
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def part_names(given: tuple[str, ...], num_parts: int) -> tuple[str, ...]:
    """Return the given names, or part0, part1, ... Raises ModelError if their number is wrong."""
    names = given or tuple(f"part{k}" for k in range(num_parts))
    if len(names) != num_parts:
        raise ModelError(f"--parts or names.txt has {len(names)} names, but the network has {num_parts} parts")
    return names


def training_clips(run: Path) -> Path:
    """Return the folder of clips that a run was trained on. Raises ModelError if it no longer exists."""
    try:
        config = json.loads((run / CONFIG).read_text(encoding="utf-8"))
        clips = Path(config["images"] if "images" in config else config["clips"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{run} is not the folder of a training run (no readable config.json)") from error
    if not clips.exists():
        raise ModelError(
            f"{clips}, the training clips of {run}, no longer exist; name a video or a folder with --frames"
        )
    return clips
