"""Loads the teacher of an Assembly run, either form of the network, from its checkpoint."""

from __future__ import annotations

from pathlib import Path

from streamparts.models.assembly import Assembly, AssemblyConfig, PartNetwork
from streamparts.models.assembly_paper import PaperAssembly, PaperAssemblyConfig
from streamparts.models.checkpoint import load_weights, read_config, read_metadata


def build_teacher(config: AssemblyConfig | PaperAssemblyConfig) -> PartNetwork:
    """Build the network with the shape `config`."""
    return PaperAssembly(config) if isinstance(config, PaperAssemblyConfig) else Assembly(config)


def read_teacher_config(checkpoint: Path) -> AssemblyConfig | PaperAssemblyConfig:
    """Read the shape of the teacher in a checkpoint. Raises ModelError."""
    if "decoder_width" in read_metadata(checkpoint)[1]:
        return read_config(checkpoint, AssemblyConfig)
    return read_config(checkpoint, PaperAssemblyConfig)


def load_teacher(checkpoint: Path) -> PartNetwork:
    """The teacher in a checkpoint, in eval mode. Raises ModelError."""
    return load_weights(checkpoint, build_teacher(read_teacher_config(checkpoint))).eval()
