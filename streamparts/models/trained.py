"""Loads the trained networks of a run folder from their checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

from streamparts.errors import ModelError
from streamparts.models.assembly import Assembly, AssemblyConfig, PartNetwork
from streamparts.models.assembly_paper import PaperAssembly, PaperAssemblyConfig
from streamparts.models.checkpoint import load_weights, read_config, read_metadata
from streamparts.models.groups import PartGroups
from streamparts.models.run_files import CONFIG, PARTS
from streamparts.models.scops import Scops, ScopsConfig
from streamparts.models.student import Student, StudentConfig


def build_teacher(config: AssemblyConfig | PaperAssemblyConfig) -> PartNetwork:
    """Build the network with the given configuration."""
    return PaperAssembly(config) if isinstance(config, PaperAssemblyConfig) else Assembly(config)


def read_teacher_config(checkpoint: Path) -> AssemblyConfig | PaperAssemblyConfig:
    """Read the configuration of the teacher in a checkpoint. Raises ModelError."""
    if "decoder_width" in read_metadata(checkpoint)[1]:
        return read_config(checkpoint, AssemblyConfig)
    return read_config(checkpoint, PaperAssemblyConfig)


def load_teacher(checkpoint: Path) -> PartNetwork:
    """Load the teacher in a checkpoint, in eval mode. Raises ModelError."""
    return load_weights(checkpoint, build_teacher(read_teacher_config(checkpoint))).eval()


def read_groups(checkpoint: Path) -> tuple[PartGroups, float]:
    """Read the assignment of slots to parts, and the gate, from the files beside a teacher's checkpoint. Raises
    ModelError."""
    try:
        groups = PartGroups.from_json((checkpoint.parent / PARTS).read_text(encoding="utf-8"))
        return groups, float(json.loads((checkpoint.parent / CONFIG).read_text(encoding="utf-8"))["gate"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{checkpoint}: the {PARTS} and {CONFIG} of its run are missing beside it ({error})"
        ) from error


def load_student(checkpoint: Path) -> Student:
    """Load the student in a checkpoint, in eval mode. Raises ModelError."""
    return load_weights(checkpoint, Student(read_config(checkpoint, StudentConfig))).eval()


def load_scops(checkpoint: Path) -> Scops:
    """Load the SCOPS network in a checkpoint, in eval mode. Raises ModelError."""
    return load_weights(checkpoint, Scops(read_config(checkpoint, ScopsConfig))).eval()
