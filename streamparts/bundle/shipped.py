"""The bundled models: those of this package, and those of the package `streamparts-models` where it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

ASSETS = Path(__file__).parents[1] / "assets"
MORE = "streamparts_models"
"""The module of the package `streamparts-models`, which holds only files."""
CHECKOUT = Path(__file__).parents[2] / "models" / MORE
"""The same in a checkout, where it need not be installed."""


def model_folders() -> list[Path]:
    """The folders of bundled models, this package's first."""
    found = find_spec(MORE)
    more = [Path(place) for place in (found.submodule_search_locations or ())] if found else [CHECKOUT]
    return [ASSETS, *(place for place in more if place.is_dir())]


def model_names() -> list[str]:
    """Names of the bundled models."""
    return sorted({path.stem for folder in model_folders() for path in folder.glob("*.onnx")})


def bundled_path(name: str) -> Path | None:
    """The file of the bundled model of that name, None if there is none."""
    paths = (folder / f"{name}.onnx" for folder in model_folders())
    return next((path for path in paths if path.exists()), None) if name in model_names() else None


def beside(name: str, suffix: str) -> Path | None:
    """The card (`.md`) or the picture (`.jpg`) of the bundled model of that name, None if there is none; a model in
    lower precision shares those of its fp32 form."""
    places = (folder / f"{stem}{suffix}" for stem in (name, name.rpartition("-")[0]) for folder in model_folders())
    return next((place for place in places if place.exists()), None) if bundled_path(name) else None


def is_bundled(path: Path) -> bool:
    """True for a file in a folder of bundled models."""
    return path.resolve().parent in [folder.resolve() for folder in model_folders()]
