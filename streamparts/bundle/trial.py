"""Runs a model once on a black image, within limits of memory and time, before anything else uses it.

Sizes of tensors may be computed, and a product of small tensors may be huge; only running shows it. Sizes never depend
on the image's values (see scan.py), so one image stands for all.
"""

from __future__ import annotations

import threading
import time
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from streamparts.bundle.spec import error_line
from streamparts.errors import ModelError
from streamparts.threads import DaemonThread

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MOST_MEMORY = 768 * 2**20
"""Bytes of a model's weights and tensors during one image. The bundled models fit in 20 MB, SCOPS' ResNet-50 at 512 x
512 pixels in 700."""
_TOO_LARGE = ("available memory of", "failed to allocate memory", "safeint", "integer overflow")
"""Words of ONNX Runtime's errors about tensors beyond the limit, and beyond any number."""
MOST_SECONDS = 15.0
"""Limit of one image, in seconds, of wall time and of processor time: a model is refused if it exceeds both, because a
busy machine stretches wall time, and other work in the process adds processor time."""
_LOOK_SECONDS = 0.1


def open_session(data: bytes) -> InferenceSession:
    """Open the ONNX file `data` as it is, without optimisation. Raises ModelError."""
    from streamparts.bundle.ort import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # its parser raises many kinds of exceptions
    if _limited():
        options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the only common base of onnxruntime's errors
        raise _refusal(error) or ModelError(
            f"not a usable ONNX model ({error_line(error)}); copy or export it again"
        ) from error


def try_out(session: InferenceSession, input_hw: tuple[int, int], seconds: float = MOST_SECONDS) -> None:
    """Run `session`, whose only input is `image` (N, h, w, 3) uint8, on one black image of `input_hw`.

    Raises ModelError if it fails, or needs more than MOST_MEMORY or `seconds`."""
    from streamparts.bundle.ort import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")  # returns the memory afterwards
    options.log_severity_level = 4
    done, late = threading.Event(), threading.Event()

    def watch() -> None:
        began = time.monotonic(), time.process_time()
        while not done.wait(min(_LOOK_SECONDS, seconds)):
            if min(time.monotonic() - began[0], time.process_time() - began[1]) > seconds:
                late.set()
                options.terminate = True

    watcher = DaemonThread("trial", watch)
    try:
        session.run(None, {"image": np.zeros((1, *input_hw, 3), np.uint8)}, options)
    except Exception as error:
        if late.is_set():
            raise ModelError(f"takes longer than {seconds:g} s for one image; export a smaller network") from error
        raise _refusal(error) or ModelError(f"does not run ({error_line(error)}); copy or export it again") from error
    finally:
        done.set()
        watcher.ends()


def _refusal(error: Exception) -> ModelError | None:
    """The ModelError if ONNX Runtime ran out of the memory that it may have."""
    if not any(sign in str(error).lower() for sign in _TOO_LARGE):
        return None
    return ModelError(
        f"needs more than {MOST_MEMORY >> 20} MB for one image, more than any model of streamparts; export it again"
    )


@cache
def _limited() -> bool:
    """Register the limited memory, once per process. False if another library has registered its own first."""
    from streamparts.bundle.ort import onnxruntime

    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    memory = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    as_requested, default = 1, -1
    sizes = {
        "max_mem": MOST_MEMORY,
        "arena_extend_strategy": as_requested,
        "initial_chunk_size_bytes": default,
        "max_dead_bytes_per_chunk": default,
    }
    try:
        onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(sizes))
    except Exception:
        return False
    return True
