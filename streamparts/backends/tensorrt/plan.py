"""Builds a TensorRT plan from a bundle's ONNX file. The precision is already in the graph: networks are strongly
typed."""

from __future__ import annotations

from typing import Any

from streamparts.backends.tensorrt.library import Library, new_builder
from streamparts.bundle.engine import BuildOptions
from streamparts.bundle.spec import ModelSpec
from streamparts.errors import ModelError
from streamparts.graph.byte_casts import cast_bytes_last
from streamparts.graph.running_best import compare_slots

MEBIBYTE = 1 << 20


def require_options(library: Library, options: BuildOptions) -> None:
    """Raise ModelError for options that this library does not support."""
    if library.is_rtx and (options.version_compatible or options.hardware_compatible):
        raise ModelError(
            f"{library.title} cannot build version-compatible or hardware-compatible engines; name the GPUs instead:"
            f" --target {' '.join(rtx_targets(library))}"
        )
    if not library.is_rtx and options.targets:
        raise ModelError(f"{library.title} builds for this GPU only: leave --target out, or give --hardware-compatible")
    if library.is_rtx and (unknown := [name for name in options.targets if name not in rtx_targets(library)]):
        raise ModelError(
            f"{library.title} does not support {' or '.join(unknown)}; its targets are "
            f"{', '.join(rtx_targets(library))}"
        )


def rtx_targets(library: Library) -> list[str]:
    """Compute capabilities that TensorRT for RTX can build for, such as "sm80"."""
    trt = library.module
    members = trt.ComputeCapability.__members__
    return sorted((name.lower() for name in members if name.startswith("SM")), key=lambda name: int(name[2:]))


def for_parser(onnx: bytes) -> bytes:
    """The graph as TensorRT computes it best: bytes only at the outputs, comparisons in the place of ArgMax."""
    return compare_slots(cast_bytes_last(onnx))


def build_plan(
    library: Library,
    onnx: bytes,
    spec: ModelSpec,
    options: BuildOptions,
    timing_cache: bytes = b"",
) -> tuple[bytes, bytes]:
    """Build the plan of an ONNX file. Returns it with the extended timing cache, empty if the library has none.

    Without a GPU, this needs TensorRT for RTX and explicit targets. Raises ModelError with the message of the parser or
    builder.
    """
    require_options(library, options)
    trt = library.module
    library.log.take()
    builder = new_builder(library)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, library.log)
    if not parser.parse(for_parser(onnx)):
        raise ModelError(f"{spec.name}: {library.title} cannot parse this graph: {_parser_errors(parser)}")
    config = builder.create_builder_config()
    _set_options(library, config, options)
    profile = builder.create_optimization_profile()
    profile.set_shape("image", *((batch, *spec.input_hw, 3) for batch in (1, options.opt_batch, options.max_batch)))
    if config.add_optimization_profile(profile) < 0:
        raise ModelError(f"{spec.name}: {library.title} refuses batches of {options} ({library.log.take()})")
    cache = None
    if not library.is_rtx:  # it has none, and would ask for a GPU
        cache = _attach_timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ModelError(f"{spec.name}: {library.title} cannot build an engine: {library.log.take()}")
    return bytes(plan), b"" if cache is None else bytes(cache.serialize())


def _network_flags(trt: Any) -> int:
    """Types are those of the graph. TensorRT 11 supports nothing else, and may remove the flag."""
    members = trt.NetworkDefinitionCreationFlag.__members__
    return 1 << int(members["STRONGLY_TYPED"]) if "STRONGLY_TYPED" in members else 0


def _parser_errors(parser: Any) -> str:
    """Return all errors of the parser in one line of at most 600 characters."""
    found = []
    for index in range(parser.num_errors):
        parser_error = parser.get_error(index)
        node = parser_error.node_name()
        where = f" (node {node}, {parser_error.node_operator()})" if node else ""
        found.append(" ".join(f"{parser_error.desc()}{where}".split()))
    return "; ".join(dict.fromkeys(found))[:600] or "no reason given"


def _set_options(library: Library, config: Any, options: BuildOptions) -> None:
    trt = library.module
    # fp32 means fp32: TensorFloat-32 has 10 bits of mantissa, like fp16, and is on by default.
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * MEBIBYTE)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if library.is_rtx:
        _rtx_require_user_allocation(trt, config)
        _rtx_set_targets(library, config, options.targets)


def _rtx_require_user_allocation(trt: Any, config: Any) -> None:
    """Without it, TensorRT for RTX allocates while it runs, and such a stream cannot be captured."""
    config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)


def _rtx_set_targets(library: Library, config: Any, targets: tuple[str, ...]) -> None:
    trt = library.module
    known = trt.ComputeCapability.__members__
    chosen = [known[name.upper()] for name in targets] or [trt.ComputeCapability.CURRENT]
    config.num_compute_capabilities = len(chosen)
    for index, capability in enumerate(chosen):
        if not config.set_compute_capability(capability, index):
            raise ModelError(f"{library.title} refuses the target {capability.name}: {library.log.take()}")


def _attach_timing_cache(config: Any, saved: bytes) -> Any:
    """Attach the cache that the build extends. TensorRT refuses one of another GPU or version, which is then
    replaced."""
    cache = config.create_timing_cache(saved)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache
