"""Parses a model's bytes into a graph that can be edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamparts.errors import MissingExtraError

if TYPE_CHECKING:
    from onnx import ModelProto


def parse_onnx(onnx: bytes) -> ModelProto:
    """Raises MissingExtraError without the `onnx` package."""
    try:
        from onnx import load_model_from_string
    except ImportError as error:
        raise MissingExtraError(
            "building engines needs the onnx package; pip install onnx, or 'streamparts[trt]'"
        ) from error
    return load_model_from_string(onnx)
