"""Makes an engine from a model: precision in the graph, plan, comparison with ONNX Runtime. It writes no files."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from streamparts.arrays import ByteArray
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.backends.tensorrt.backend import TensorRtBackend
from streamparts.backends.tensorrt.cache import EngineCache
from streamparts.backends.tensorrt.info import Machine, cuda_runtime_version
from streamparts.backends.tensorrt.library import Library, load_library
from streamparts.backends.tensorrt.plan import build_plan, for_parser, rtx_targets
from streamparts.backends.tolerances import MADE_UP_TOLERANCES, TOLERANCES, comparison_frames
from streamparts.bundle.agreement import Agreement
from streamparts.bundle.engine import BuildOptions, EngineInfo
from streamparts.bundle.load import Bundle
from streamparts.bundle.spec import Precision
from streamparts.data import Backend
from streamparts.errors import ModelError
from streamparts.parity.agreement import compare, in_each
from streamparts.parity.labels_picture import labels_png

_log = logging.getLogger(__name__)


class Disagreement(ModelError):
    """Raised if the engine's results differ from the model's."""

    def __init__(self, message: str, agreement: Agreement, worst: int, picture: bytes) -> None:
        """`worst` is the index of the frame that differs most, `picture` its PNG with both labels."""
        super().__init__(message)
        self.agreement, self.worst, self.picture = agreement, worst, picture


@dataclass(frozen=True, slots=True)
class Request:
    """Settings of a build."""

    bundle: Bundle
    """An .onnx model."""
    precision: Precision
    options: BuildOptions
    calibration: ByteArray | None = None
    """(F, H, W, 3) frames to calibrate int8; needed unless the model is already in int8."""
    frames: ByteArray | None = None
    """(F, H, W, 3) frames to compare on; None uses the calibration frames, or else patterns."""
    made_up: bool = False
    """True if these frames are generated."""

    def test_frames(self) -> tuple[ByteArray, bool]:
        """Return frames to compare on, including a black and a white one, and whether they are generated."""
        real = self.calibration if self.frames is None else self.frames
        frames, generated = comparison_frames(self.bundle.spec.input_hw, real)
        return frames, generated or self.made_up

    def batches(self) -> tuple[int, ...]:
        """Yield single frames, all batch sizes up to three, full batches, and one that is too large and is split."""
        largest = self.options.max_batch
        return tuple(sorted({1, min(2, largest), min(3, largest), largest, largest + 1}))


def make_engine(request: Request, machine: Machine | None, cache: EngineCache | None = None) -> Bundle:
    """Build an engine and compare it: the engine itself if `machine` is given and can run it, otherwise its graph on
    the CPU.

    `machine` None needs TensorRT for RTX and explicit targets. `cache` keeps kernel timings between builds. Raises
    ModelError if nothing can be built, or if the results differ from the model's.
    """
    library = machine.library if machine else load_library()
    bundle, options = request.bundle, request.options
    if machine is None and not (library.is_rtx and options.targets):
        raise ModelError(
            f"{bundle.path}: there is no GPU here; name the targets, which TensorRT for RTX can build for without "
            "one: --target "
            f"{' '.join(rtx_targets(library)) if library.is_rtx else 'sm80, with streamparts[trt-rtx]'}"
        )
    graph = convert(request)
    plan = _plan(library, graph, options, machine, cache)
    info = EngineInfo(
        library="tensorrt_rtx" if library.is_rtx else "tensorrt",
        library_version=library.version,
        cuda_version=cuda_runtime_version(),
        gpu=machine.gpu.name if machine else "",
        compute_capability=machine.gpu.compute_capability if machine else "",
        precision=request.precision,
        onnx_sha256=bundle.sha256,
        network_sha256=bundle.network_sha256,
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        options=options,
        verified=False,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=graph.spec,
    )
    engine = replace(graph, data=plan, sha256=info.plan_sha256, engine=info)
    if machine is not None and runs_here(options, machine):
        info = msgspec.structs.replace(info, verified=True, agreement=verify(request, engine))
    else:
        info = msgspec.structs.replace(info, agreement=check_graph(request, graph))
    return replace(engine, engine=info)


def runs_here(options: BuildOptions, machine: Machine) -> bool:
    """True if an engine for explicit targets also fits this GPU."""
    return not options.targets or f"sm{machine.gpu.compute_capability.replace('.', '')}" in options.targets


def convert(request: Request) -> Bundle:
    """Return the model with its graph in the requested precision. Raises ModelError."""
    bundle, precision = request.bundle, request.precision
    if bundle.engine is not None:
        raise ModelError(f"{bundle.path}: is already an engine; give the .onnx file that it was built from")
    if precision == bundle.spec.precision:
        return bundle
    if bundle.spec.precision != "fp32":
        raise ModelError(f"{bundle.path}: is in {bundle.spec.precision}; give the model in fp32 to build {precision}")
    if precision == "int8" and request.calibration is None:
        raise ModelError(
            f"{bundle.path}: int8 needs frames similar to those of the application; give --calibrate VIDEO|FOLDER"
        )
    if precision == "int8" and load_library().is_rtx:
        _log.warning("%s: TensorRT for RTX has int8 for weights only; fp16 is likely to be faster", bundle.path.name)
    from streamparts.graph.precision import convert as convert_graph  # type: ignore[import,unused-ignore]

    data = convert_graph(bundle.data, precision, request.calibration, target="tensorrt")
    return replace(bundle, data=data, spec=msgspec.structs.replace(bundle.spec, precision=precision))


def verify(request: Request, engine: Bundle) -> Agreement:
    """Compare an engine with ONNX Runtime in fp32, on this GPU. Raises ModelError if they differ."""
    backend = TensorRtBackend(engine)
    try:
        return _compare(request, backend, "the engine")
    finally:
        backend.close()


def check_graph(request: Request, graph: Bundle) -> Agreement | None:
    """Compare the graph given to the parser with the model, both on the CPU; None if it cannot run there."""
    try:
        backend = OnnxRuntimeBackend(replace(graph, data=for_parser(graph.data)))
    except ModelError as error:
        _log.warning("the %s graph cannot run on this CPU and was not compared (%s)", request.precision, error)
        return None
    return _compare(request, backend, f"the {request.precision} graph")


def _compare(request: Request, backend: Backend, what: str) -> Agreement:
    bundle = request.bundle
    frames, made_up = request.test_frames()
    tolerance = (MADE_UP_TOLERANCES if made_up else TOLERANCES)[request.precision]
    batches = in_each(len(frames), request.batches())
    comparison = compare(OnnxRuntimeBackend(bundle).run, backend.run, frames, bundle.spec, batches)
    agreement = comparison.agreement()
    if (problem := agreement.problem(tolerance)) is not None:
        worst = comparison.worst(tolerance)
        raise Disagreement(
            f"{bundle.path}: {what} differs from the model: {problem}; nothing was written",
            agreement,
            worst,
            labels_png(frames[worst], comparison.reference[worst], comparison.candidate[worst]),
        )
    return agreement


def _plan(
    library: Library, graph: Bundle, options: BuildOptions, machine: Machine | None, cache: EngineCache | None
) -> bytes:
    if cache is None or machine is None or library.is_rtx:
        return build_plan(library, graph.data, graph.spec, options)[0]
    timings = cache.timing_path(f"{library.name} {library.version}", machine.gpu.name)
    plan, grown = build_plan(library, graph.data, graph.spec, options, cache.read(timings) or b"")
    cache.write(timings, grown)
    return plan
