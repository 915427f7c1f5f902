"""Versions of streamparts and its dependencies, and available optional packages."""

from __future__ import annotations

import importlib
import importlib.metadata as metadata
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

from streamparts import __version__
from streamparts.doctor.finding import Finding, absent

NOT_FOR_USERS = ("dev", "docs")
"""Extras for developing streamparts itself."""
_CLASHES = (
    ("onnxruntime", "onnxruntime-gpu"),
    ("onnxruntime", "onnxruntime-directml"),
    ("onnxruntime", "onnxruntime-openvino"),
    ("opencv-python", "opencv-python-headless"),
    ("opencv-contrib-python", "opencv-python-headless"),
    ("opencv-contrib-python-headless", "opencv-python-headless"),
)
"""Distributions that write the same files: the last one installed works, or neither."""


def versions() -> Iterator[Finding]:
    """A Probe: loads Python, this package and each required package, and reports their versions."""
    yield Finding("streamparts", f"{__version__} in {Path(__file__).parents[1]}")
    yield Finding("Python", f"{platform.python_version()} ({sys.executable})")
    for requirement in requirements():
        yield _core(requirement)
    for one, other in _CLASHES:
        if installed(one) and installed(other):
            text = f"is installed beside {other}, and both write the same files; uninstall both, install one"
            yield Finding(one, text, "warning")


def clashes() -> Iterator[str]:
    """One line for each pair of installed distributions that write the same files, with a remedy. Nothing is loaded."""
    for one, other in _CLASHES:
        if installed(one) and installed(other):
            yield (
                f"{one} and {other} are both installed and write the same files, which may break {one}'s windows; "
                f"pip uninstall {one} {other}, then install one of them"
            )


def extras() -> Iterator[Finding]:
    """A Probe: available optional packages, by extra. Nothing is loaded."""
    for extra in metadata.metadata("streamparts").get_all("Provides-Extra") or ():
        if extra in NOT_FOR_USERS:
            continue
        wanted = requirements(extra)
        lacking = [item.name for item in wanted if installed(item.name) is None]
        wrong = [reason for item in wanted if item.name not in lacking and (reason := problem(item))]
        if not wanted:
            yield absent(extra, "not available for this system")
        elif lacking or wrong:
            text = [f"without {', '.join(lacking)}"] if lacking else []
            yield absent(extra, "; ".join([*text, *wrong, f"pip install 'streamparts[{extra}]'"]))
        else:
            yield Finding(extra, ", ".join(f"{item.name} {installed(item.name)}" for item in wanted))


def requirements(extra: str = "") -> list[Requirement]:
    """Requirements of an extra on this system, or of streamparts itself for "", from its metadata."""
    every = [Requirement(text) for text in metadata.requires("streamparts") or ()]
    core = [item for item in every if item.marker is None or item.marker.evaluate({"extra": ""})]
    if not extra:
        return core
    return [item for item in every if item.marker and item.marker.evaluate({"extra": extra}) and item not in core]


def unsuitable() -> Iterator[str]:
    """One line, with a remedy, for each installed package of a version that streamparts itself does not take."""
    for requirement in requirements():
        if installed(requirement.name) is not None and (reason := problem(requirement)):
            yield f"{reason}; pip install '{requirement}'"


def installed(distribution: str) -> str | None:
    """Installed version; None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def problem(requirement: Requirement) -> str | None:
    """Return why the installed version is unsuitable, in a few words; None if it is suitable."""
    version = installed(requirement.name)
    if version is None:
        return f"without {requirement.name}"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} is {version}, but {requirement.specifier} is required"
    return None


def _core(requirement: Requirement) -> Finding:
    """Versions are not checked if a distribution with another name, such as onnxruntime-gpu, provides the module."""
    name = requirement.name
    label, module, describe = _DESCRIBED.get(name, (name, name, None))
    try:
        loaded = importlib.import_module(module)
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        return Finding(label, f"cannot be loaded ({words}); pip install '{requirement}'", "failed")
    if installed(name) is not None and (reason := problem(requirement)):
        return Finding(label, f"{reason}; pip install '{requirement}'", "failed")
    return Finding(label, describe(loaded) if describe else installed(name) or "")


def _pyav(av: object) -> str:
    text = f"{getattr(av, '__version__', '')} with FFmpeg {getattr(av, 'ffmpeg_version_info', 'of unknown version')}"
    return text.strip()


def _onnxruntime(ort: object) -> str:
    onnxruntime = ort.onnxruntime  # type: ignore[attr-defined]
    providers = onnxruntime.get_available_providers()
    names = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
    return f"{getattr(onnxruntime, '__version__', '')} with {names}"


def _opencv(cv2: object) -> str:
    return str(getattr(cv2, "__version__", ""))


_DESCRIBED: dict[str, tuple[str, str, Callable[[object], str] | None]] = {
    "av": ("PyAV", "av", _pyav),
    "onnxruntime": ("ONNX Runtime", "streamparts.bundle.ort", _onnxruntime),
    "opencv-python-headless": ("OpenCV", "cv2", _opencv),
}
"""Label, module and description by distribution, where they differ from the distribution's name and version."""
