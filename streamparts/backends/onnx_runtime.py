"""ONNX Runtime on the CPU: the backend that runs everywhere."""

from __future__ import annotations

import onnxruntime

from streamparts.bundle import Bundle
from streamparts.data import ByteArray, FloatArray
from streamparts.errors import ModelError

OUTPUTS = ["labels", "affines", "scores"]


class OnnxRuntimeBackend:
    """One optimised session of a bundle's network."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        """`threads` compute one frame together; 0 takes all cores. Raises ModelError if the model cannot run."""
        if threads < 0:
            raise ValueError(f"threads must be 0 or more, got {threads}")
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
        self._name = bundle.path.name

    def run(self, images: ByteArray) -> tuple[ByteArray, FloatArray, FloatArray]:
        """See Backend.run. Raises ModelError when the network itself fails."""
        try:
            labels, affines, scores = self._session.run(OUTPUTS, {"image": images})
        except Exception as error:
            raise ModelError(f"{self._name} failed on a {images.shape} image: {_one_line(error)}") from error
        return labels, affines, scores


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
