"""ONNX Runtime on the CPU: the backend that runs everywhere."""

from __future__ import annotations

import os

import onnxruntime

from streamparts.backends import Outputs
from streamparts.bundle import Bundle
from streamparts.data import ByteArray
from streamparts.errors import ModelError


class OnnxRuntimeBackend:
    """One optimised session of a bundle's network."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """`threads` compute one frame together; None takes half of the cores: decoding and encoding need some.

        Raises ModelError if the model cannot run.
        """
        threads = max(1, (os.cpu_count() or 1) // 2) if threads is None else threads
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Idle threads would otherwise spin on the cores that decode and encode.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(bundle.data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common base but this
            raise ModelError(f"{bundle.path}: {_one_line(error)}") from error
        given = {tensor.name for tensor in self._session.get_outputs()}
        self._outputs = [output for output in Outputs._fields if output in given]
        self._model = bundle.path.name

    def run(self, images: ByteArray) -> Outputs:
        """See Backend.run. Raises ModelError when the network itself fails."""
        try:
            return Outputs(*self._session.run(self._outputs, {"image": images}))
        except Exception as error:
            raise ModelError(f"{self._model} failed on a {images.shape} image: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
