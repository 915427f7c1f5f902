"""The OpenVINO backend for CPUs: the fastest for int8 models, and on Intel also for others."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.backends.checks import one_line, require_images
from streamparts.bundle.load import Bundle
from streamparts.data import NetworkOutputs
from streamparts.errors import MissingExtraError, ModelError
from streamparts.machine import missing_package, num_threads

if TYPE_CHECKING:
    import openvino


@cache
def _core() -> openvino.Core:
    """Return the single core of this process.

    Its CPU plugin gives the thread that loads it a signal stack, and frees that stack in whichever thread drops the
    last model: the next signal to the first thread then kills the process. So the core is never dropped.
    """
    import openvino

    return openvino.Core()


def _load_without_reports() -> None:
    """Import OpenVINO without telemetry: the package that sends it is hidden during the import. If the program has
    loaded either before, nothing changes. Raises ImportError."""
    name = "openvino_telemetry"
    hidden = name not in sys.modules
    if hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import openvino  # noqa: F401
    finally:
        if hidden:
            del sys.modules[name]


class OpenVinoBackend:
    """A compiled model with its own threads."""

    name = "openvino"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """`threads` compute one frame together; None takes half of the cores.

        Raises MissingExtraError without the package, ModelError if the model cannot run.
        """
        try:
            _load_without_reports()
        except ImportError as error:
            reason = missing_package("openvino", "openvino") or str(error)
            raise MissingExtraError(f"openvino cannot be used: {reason}") from error
        self._bundle = bundle
        options: dict[str, object] = {
            "INFERENCE_NUM_THREADS": num_threads(threads),
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # Threads pinned to the first cores would compete with those of other models.
            "ENABLE_CPU_PINNING": False,
        }
        if bundle.spec.precision in ("fp32", "int8"):
            # Otherwise processors with bfloat16 would use it. Quantised parts of the graph stay quantised.
            options["INFERENCE_PRECISION_HINT"] = "f32"
        try:
            core = _core()
            # From memory, so that what was verified is what runs.
            compiled = core.compile_model(core.read_model(bundle.data, b""), "CPU", options)
            self._request = compiled.create_infer_request()
        except Exception as error:  # openvino raises RuntimeError and others without a common base
            raise ModelError(f"{bundle.path}: openvino: {one_line(error)}") from error
        given = {port.get_any_name(): port for port in compiled.outputs}
        self._outputs = [given[name] for name in NetworkOutputs._fields if name in given]

    def run(self, images: ByteArray) -> NetworkOutputs:
        """See Backend.run."""
        images = require_images(images, self._bundle)
        try:
            self._request.infer({"image": images}, share_inputs=True, share_outputs=True)
        except Exception as error:
            raise ModelError(f"{self._bundle.path.name} failed on openvino: {one_line(error)}") from error
        return NetworkOutputs(*(np.array(self._request.get_tensor(port).data) for port in self._outputs))
