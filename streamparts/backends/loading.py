"""Opens any model: .onnx files with streamparts.bundle, engines with streamparts.backends.tensorrt."""

from __future__ import annotations

from pathlib import Path

from streamparts.bundle.load import DEFAULT_MODEL, Bundle, find_model, load_onnx


def load_model(name_or_path: str | Path | None = None, trust_engine: bool = False) -> Bundle:
    """Read and check a model: a path to an .onnx file or an .engine, or the name of a model of the package.

    An engine is machine code: it must have been built here by this user, or `trust_engine`; see engines.load_engine.

    None loads the default model. Raises ModelError, which states what was found, for anything but a valid model file.
    """
    path = find_model(name_or_path or DEFAULT_MODEL)
    if path.suffix == ".engine":
        from streamparts.backends.tensorrt.engines import load_engine

        return load_engine(path, trust_engine)
    return load_onnx(path)
