"""Speed of a model on an NVIDIA GPU, on every library that can run it: python -m benchmarks.gpu --out gpu.json

Each backend is compared with ONNX Runtime before it is timed: engines in each precision, torch without graphs and with
them in each precision, ONNX Runtime's CUDA provider. A part that cannot run, or that differs by more than its precision
allows, reports the reason, and the others continue; if nothing was timed on a GPU, the exit code is 1. Latency is for
one image from host memory to results in host memory: upload, network, readout, download. Throughput is for full
batches, one after the other and with two in flight. benchmarks/device.py is the short form of this.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu_timing import GpuInput, Report, attempt, compared, latency, overlapped, throughput
from benchmarks.place import commit
from benchmarks.place import versions as installed
from benchmarks.without_msgspec import as_builtins
from streamparts.arrays import ByteArray
from streamparts.backends.choice import missing, open_backend
from streamparts.backends.loading import load_model
from streamparts.backends.tensorrt.backend import TensorRtBackend
from streamparts.backends.tensorrt.engines import engine_for, required_info
from streamparts.bundle.engine import BuildOptions
from streamparts.bundle.load import Bundle
from streamparts.bundle.spec import Precision
from streamparts.data import Backend, NetworkOutputs, Overlapping
from streamparts.errors import BackendError
from streamparts.parity.patterns import pattern_frames

PACKAGES = ("tensorrt", "tensorrt-rtx", "cuda-bindings", "torch", "onnxruntime", "onnxruntime-gpu", "numpy")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")
MOST_ON_A_CPU = 8
"""Largest batch that backends on the CPU are timed with: they are for comparison only."""
ON_GPU = ("torch-cuda", "torch-cuda-tf32", "torch-cuda-fp16", "torch-cuda-fp16-compiled", "onnxruntime-cuda")


def tensorrt_part(job: GpuInput, precision: Precision) -> Report:
    """Engines for single images and for each batch size, built, and compared when they are built, or from the cache."""
    calibration = None if precision == "fp32" else job.frames
    report: Report = {"frames_per_second": {}, "frames_per_second_overlapped": {}, "build_seconds": {}, "graphs": {}}
    for batch in sorted({1, *job.batches}):
        started = time.perf_counter()
        options = BuildOptions(max_batch=batch, opt_batch=batch)
        engine = engine_for(job.bundle, precision, options, calibration, job.made_up)
        report["build_seconds"][batch] = round(time.perf_counter() - started, 1)
        backend = TensorRtBackend(engine)
        try:
            if batch == 1:
                info = required_info(engine)
                report["engine"] = {"library": info.library, "version": info.library_version, "bytes": len(engine.data)}
                report["agreement"] = as_builtins(info.agreement)
                report["latency_ms"] = latency(backend, job)
            report["frames_per_second"][batch] = throughput(backend, job, batch)
            report["frames_per_second_overlapped"][batch] = overlapped(backend, job, batch)
            report["graphs"] |= backend.graphs
        finally:
            backend.close()
    return report


def backend_part(job: GpuInput, name: str) -> Report:
    """A backend by its name, for those that take batches of any size."""
    if reason := missing(name, job.bundle):
        raise BackendError(reason)
    started = time.perf_counter()
    backend: Backend = open_backend(job.bundle, name)
    report: Report = {"open_seconds": round(time.perf_counter() - started, 1)}
    report["agreement"] = compared(backend, job, "fp16" if "fp16" in name else "fp32")
    report["latency_ms"] = latency(backend, job)
    largest = max(job.batches) if name in ON_GPU else MOST_ON_A_CPU
    sizes = sorted({1, *(min(batch, largest) for batch in job.batches)})
    report["frames_per_second"] = {batch: throughput(backend, job, batch) for batch in sizes}
    if isinstance(backend, Overlapping):
        fitting = [batch for batch in sizes if batch <= backend.max_batch]
        report["frames_per_second_overlapped"] = {batch: overlapped(backend, job, batch) for batch in fitting}
        report["graphs"] = getattr(backend, "graphs", {})
    return report


class EagerTorch:
    """torch without graphs: every kernel launched by Python, copies from pageable memory."""

    name = "torch eager"

    def __init__(self, bundle: Bundle) -> None:
        import torch

        from streamparts.backends.torch_network import build_network

        if not torch.cuda.is_available():
            raise BackendError("torch finds no CUDA device")
        self._torch, self._network = torch, build_network(bundle).cuda()

    def run(self, images: ByteArray) -> NetworkOutputs:
        torch = self._torch
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            outputs = self._network(torch.from_numpy(images).cuda())
            arrays = [None if output is None else output.cpu().numpy() for output in outputs]
            return NetworkOutputs(*arrays)  # type: ignore[arg-type]


def eager_part(job: GpuInput) -> Report:
    backend = EagerTorch(job.bundle)
    report: Report = {"agreement": compared(backend, job, "fp32"), "latency_ms": latency(backend, job)}
    report["frames_per_second"] = {batch: throughput(backend, job, batch) for batch in sorted({1, *job.batches})}
    return report


def gpu_part() -> Report:
    from streamparts.backends.tensorrt.cuda import describe_gpu, load_cuda

    gpu = describe_gpu(load_cuda())
    return {"name": gpu.name, "compute_capability": gpu.compute_capability, "driver_cuda": gpu.driver_cuda}


def driver_part() -> Report:
    query = [
        "nvidia-smi",
        "--query-gpu=name,driver_version,memory.total,clocks.sm,power.limit",
        "--format=csv,noheader",
    ]
    result = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30)
    return {"nvidia_smi": result.stdout.strip().splitlines()}


def library_part() -> Report:
    """Return the version of TensorRT that would be used, or why none can."""
    from streamparts.backends.tensorrt.library import available, load_library

    return {"library": load_library().title, "problem": available()}


def versions() -> dict[str, str]:
    found = installed(PACKAGES)
    return {"python": platform.python_version(), **{name: found.get(name, "not installed") for name in PACKAGES}}


def chosen_frames(path: Path | None, bundle: Bundle, num_frames: int) -> ByteArray:
    if path is None:
        return pattern_frames(bundle.spec.input_hw, num_frames)
    from streamparts.parity.sample_frames import sample_frames  # needs PyAV, which a GPU machine may lack

    return sample_frames(path, bundle.spec.input_hw, num_frames).images


def measure(job: GpuInput, precisions: Sequence[Precision]) -> Report:
    parts: Report = {}
    attempt(parts, "gpu", gpu_part)
    attempt(parts, "driver", driver_part)
    attempt(parts, "tensorrt", library_part)
    for precision in precisions:
        attempt(parts, f"tensorrt {precision}", lambda precision=precision: tensorrt_part(job, precision))  # type: ignore[misc]
    attempt(parts, "torch eager", lambda: eager_part(job))
    for name in (*ON_GPU, "onnxruntime"):
        attempt(parts, name, lambda name=name: backend_part(job, name))  # type: ignore[misc]
    return parts


def timed_on_gpu(parts: Report) -> Report:
    """The parts that timed a backend on a GPU."""
    on_gpu = (*ON_GPU, "torch eager")
    return {
        name: part
        for name, part in parts.items()
        if (name in on_gpu or name.startswith("tensorrt ")) and "latency_ms" in part
    }


def bars(parts: Report) -> Report:
    """Compare the best parts with the targets for an H200; None if nothing ran."""
    on_gpu = list(timed_on_gpu(parts).values())
    latencies = [part["latency_ms"]["p50"] for part in on_gpu]
    rates = [rate for part in on_gpu for kind in part if kind.startswith("frames_per") for rate in part[kind].values()]
    return {
        "b1 latency p50 ms": min(latencies, default=None),
        "b1 latency p50 ms asked for": 0.3,
        "frames per second": max(rates, default=None),
        "frames per second asked for": 100_000,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="model name or .onnx file (default: the package's)")
    parser.add_argument("--frames", type=Path, help="video or folder for the runs and the int8 calibration")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 64, 256], help="batch sizes in addition to 1")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each measurement")
    parser.add_argument("--num-frames", type=int, default=64, help="number of different frames")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args(argv)
    bundle = load_model(args.model)
    frames = chosen_frames(args.frames, bundle, args.num_frames)
    job = GpuInput(bundle, frames, not args.frames, tuple(args.batches), args.seconds)
    parts = measure(job, args.precisions)
    report = {
        "model": bundle.spec.name,
        "model_sha256": bundle.sha256,
        "commit": commit(),
        "command": sys.argv[1:] if argv is None else list(argv),
        "machine": {"system": platform.platform(), "processor": platform.machine()},
        "versions": versions(),
        "frames": "patterns" if job.made_up else str(args.frames.name),
        "parts": parts,
        "bars": bars(parts),
    }
    if args.out:
        args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(f"wrote {args.out}")
    could_not = [name for name, part in parts.items() if "failed" in part]
    print(f"{len(parts) - len(could_not)} parts ran, {len(could_not)} could not: {', '.join(could_not) or 'none'}")
    if not timed_on_gpu(parts):
        print("benchmarks.gpu: error: nothing was timed on a GPU", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
