"""Builds an engine file from a model file, for `streamparts build`; it is compared with the model before it is
written."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from streamparts.arrays import ByteArray
from streamparts.backends.tensorrt.cache import EngineCache, cache_folder, write_atomically
from streamparts.backends.tensorrt.cuda import load_cuda
from streamparts.backends.tensorrt.engines import required_info, save_engine
from streamparts.backends.tensorrt.info import sidecar_path, this_machine
from streamparts.backends.tensorrt.library import available, load_library
from streamparts.backends.tensorrt.make import Disagreement, Request, make_engine
from streamparts.backends.tensorrt.plan import require_options
from streamparts.bundle.agreement import Agreement
from streamparts.bundle.engine import BuildOptions, EngineInfo
from streamparts.bundle.load import Bundle, load_onnx
from streamparts.bundle.spec import Precision
from streamparts.errors import ModelError
from streamparts.parity.sample_frames import sample_frames


class BuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the --report file."""

    model: str
    """File name of the .onnx model."""
    engine: EngineInfo | None
    """None if the engine differed from the model and was not written."""
    num_bytes: int
    """Precision of the engine."""
    seconds: float
    """Duration of conversion, build and comparison."""
    frames: str
    """Frames of the comparison."""
    agreement: Agreement | None
    """Agreement with the model in its own precision, run by ONNX Runtime."""
    outcome: str
    """Summary in one line."""


@dataclass(frozen=True, slots=True)
class Built:
    """An engine file that was written."""

    path: Path
    bundle: Bundle
    seconds: float
    outcome: str
    """Verified and unverified properties, in one line."""


def build(
    model: str | Path,
    output: str | Path,
    *,
    precision: Precision | None = None,
    calibrate: str | Path | None = None,
    frames: str | Path | None = None,
    num_frames: int = 64,
    options: BuildOptions | None = None,
    report: str | Path | None = None,
    force: bool = False,
) -> Built:
    """Build an engine of a model, compare it on real frames, and write it beside its description.

    Args:
        precision: None keeps the model's own. int8 calibrates on `num_frames` frames of `calibrate`, a video or folder.
        frames: video or folder for the comparison; by default the calibration frames, or generated patterns.
        report: JSON file for the result of the comparison.
        force: replace existing files.

    Raises ModelError or VideoError with a one-line message, MissingExtraError for missing packages; then no engine is
    written. An engine refused because it differs from the model leaves the report, and an image of the worst frame,
    x.worst.png beside x.engine.
    """
    output, options = Path(output), options or BuildOptions()
    report = None if report is None else Path(report)
    if Path(model).suffix == ".engine":
        raise ModelError(f"{model}: is already an engine; give the .onnx file that it was built from")
    _check_outputs(output, report, force)
    bundle = load_onnx(model)
    load_cuda()
    require_options(load_library(), options)
    machine = this_machine(bundle.path.name) if available() is None else None
    request = Request(
        bundle,
        precision or bundle.spec.precision,
        options,
        _frames(calibrate, bundle, num_frames),
        _frames(frames, bundle, num_frames),
    )
    ran_on = str(frames or calibrate or "generated patterns: give --frames VIDEO|FOLDER for a meaningful comparison")
    started = time.perf_counter()
    try:
        engine = make_engine(request, machine, EngineCache(cache_folder()))
    except Disagreement as error:
        if report is not None:
            seconds = time.perf_counter() - started
            _write_report(report, bundle, None, 0, seconds, ran_on, error.agreement, str(error))
        picture = output.with_suffix(".worst.png")
        write_atomically(picture, error.picture)
        raise ModelError(f"{error}; {picture} shows the worst frame, {error.worst}") from error
    seconds = time.perf_counter() - started
    outcome = describe_outcome(required_info(engine), ran_on)
    save_engine(engine, output)
    if report is not None:
        info = required_info(engine)
        _write_report(report, bundle, info, len(engine.data), seconds, ran_on, info.agreement, outcome)
    return Built(output, engine, seconds, outcome)


def describe_outcome(info: EngineInfo, ran_on: str) -> str:
    """Describe in one line what was verified and what was not."""
    beside = "" if info.precision == "fp32" else f"{info.precision} compared with fp32: "
    said = info.agreement.describe() if info.agreement else ""
    if info.verified:
        return f"{beside}{said} of {ran_on}"
    graph = f"; its graph on the CPU, {beside}{said} of {ran_on}" if said else ""
    return f"built, not executed: this machine has no target GPU{graph}"


def _check_outputs(output: Path, report: Path | None, force: bool) -> None:
    if output.suffix != ".engine":
        raise ModelError(f"{output}: the engine's name must end in .engine")
    for path in (output, sidecar_path(output), *([report] if report else [])):
        if not path.absolute().parent.is_dir():
            raise ModelError(f"{path}: the folder {path.parent} does not exist; create it first")
        if path.is_dir():
            raise ModelError(f"{path}: is a folder; give the name of a file in it")
        if path.exists() and not force:
            raise ModelError(f"{path}: exists already; use --force (in Python: force=True) to replace it")
        if not os.access(path.absolute().parent, os.W_OK):
            raise ModelError(f"{path}: no permission to write there; choose another folder")


def _frames(path: str | Path | None, bundle: Bundle, num_frames: int) -> ByteArray | None:
    return None if path is None else sample_frames(Path(path), bundle.spec.input_hw, num_frames).images


def _write_report(
    path: Path,
    bundle: Bundle,
    info: EngineInfo | None,
    num_bytes: int,
    seconds: float,
    frames: str,
    agreement: Agreement | None,
    outcome: str,
) -> None:
    report = BuildReport(
        model=bundle.path.name,
        engine=info,
        num_bytes=num_bytes,
        seconds=seconds,
        frames=frames,
        agreement=agreement,
        outcome=outcome,
    )
    write_atomically(path, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
