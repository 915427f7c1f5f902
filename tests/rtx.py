"""TensorRT for RTX, which builds engines without a GPU: models that it refuses to parse or build, TensorRT would
refuse, too."""

from __future__ import annotations

import pytest

TARGETS = ("SM80", "SM120")
"""Targets: Ampere and Blackwell."""


def build_engine(data: bytes, target: str, input_hw: tuple[int, int]) -> int:
    """Bytes of the engine that is built for `target`; the test skips where TensorRT for RTX is not installed. An engine
    is not run: that needs a GPU."""
    trt = pytest.importorskip("tensorrt_rtx", reason="engines are not built: tensorrt-rtx is not installed")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(data)
    assert parsed, [str(parser.get_error(index)) for index in range(parser.num_errors)]
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, target), 0)
    profile.set_shape("image", (1, *input_hw, 3), (1, *input_hw, 3), (8, *input_hw, 3))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None, f"no engine for {target}"
    return int(plan.nbytes)
