"""Speed of a model on an NVIDIA GPU, on every library that can run it: python -m benchmarks.gpu --out gpu.json

Engines are built, compared with ONNX Runtime and timed in each precision; also torch, eager and with CUDA graphs, and
ONNX Runtime's GPU providers. A part that cannot run reports the reason, and the others continue. Latency is for one
image from host memory to results in host memory: upload, network, readout, download. Throughput is for full batches;
for engines, with two in flight.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.place import commit
from benchmarks.place import versions as installed
from streamparts.arrays import ByteArray
from streamparts.backends.loading import load_model
from streamparts.backends.tensorrt.backend import TensorRtBackend
from streamparts.backends.tensorrt.engines import engine_for, required_info
from streamparts.bundle.engine import BuildOptions
from streamparts.bundle.load import Bundle
from streamparts.bundle.spec import Precision
from streamparts.data import Backend
from streamparts.parity.patterns import pattern_frames

PACKAGES = ("tensorrt", "tensorrt-rtx", "cuda-bindings", "torch", "onnxruntime", "onnxruntime-gpu", "numpy")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")
WARM_UP = 10
"""Warm-up runs before timing."""
MIN_RUNS = 5
Report = dict[str, Any]


@dataclass(frozen=True)
class GpuInput:
    """Input of the measurements."""

    bundle: Bundle
    frames: ByteArray
    """(F, H, W, 3) frames to run; also used to calibrate int8."""
    made_up: bool
    """True if these are synthetic patterns."""
    batches: tuple[int, ...]
    seconds: float
    """Seconds per measurement."""

    def images(self, batch: int) -> ByteArray:
        return np.resize(self.frames, (batch, *self.frames.shape[1:]))


def attempt(parts: Report, name: str, work: Callable[[], Report]) -> None:
    """Store the result of a part in the report, or the reason for its failure."""
    started = time.perf_counter()
    try:
        parts[name] = work()
    except Exception as error:  # a part must not take the others with it, whatever it is
        parts[name] = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}
    parts[name]["seconds"] = round(time.perf_counter() - started, 1)
    print(f"{name}: {summary(parts[name])}", flush=True)


def summary(part: Report) -> str:
    if "failed" in part:
        return f"could not: {part['failed']}"
    words = [f"b1 p50 {part['latency_ms']['p50']:.3f} ms"] if "latency_ms" in part else []
    words += [f"b{batch} {rate:.0f} frames/s" for batch, rate in part.get("frames_per_second", {}).items()]
    return ", ".join(words) or json.dumps(part)


def latency(backend: Backend, job: GpuInput) -> dict[str, float]:
    """Milliseconds from image to results, one at a time."""
    image = job.images(1)
    times = [1e3 * value for value in timed(lambda: backend.run(image), job.seconds)]
    low, middle, high = np.quantile(times, [0.05, 0.5, 0.95])
    return {"p05": low, "p50": middle, "p95": high, "mean": statistics.fmean(times), "runs": len(times)}


def timed(work: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each run after the warm-up, for about `seconds` in total."""
    for _ in range(WARM_UP):
        work()
    times: list[float] = []
    while len(times) < MIN_RUNS or sum(times) < seconds:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return times


def throughput(backend: Backend, job: GpuInput, batch: int) -> float:
    """Frames per second in batches of this size, one after the other."""
    images = job.images(batch)
    return batch / statistics.fmean(timed(lambda: backend.run(images), job.seconds))


def overlapped(backend: TensorRtBackend, job: GpuInput, batch: int) -> float:
    """The same with the next batch being uploaded while one is computed."""
    images = job.images(batch)
    backend.submit(images)

    def step() -> None:
        backend.submit(images)
        backend.collect()

    times = timed(step, job.seconds)
    backend.collect()
    return batch / statistics.fmean(times)


def tensorrt_part(job: GpuInput, precision: Precision) -> Report:
    """Engines for single images and for each batch size, built or from the cache."""
    calibration = None if precision == "fp32" else job.frames
    report: Report = {"frames_per_second": {}, "frames_per_second_overlapped": {}, "build_seconds": {}}
    for batch in sorted({1, *job.batches}):
        started = time.perf_counter()
        engine = engine_for(job.bundle, precision, BuildOptions(max_batch=batch, opt_batch=batch), calibration)
        report["build_seconds"][batch] = round(time.perf_counter() - started, 1)
        backend = TensorRtBackend(engine)
        try:
            if batch == 1:
                info = required_info(engine)
                report["engine"] = {"library": info.library, "version": info.library_version, "bytes": len(engine.data)}
                report["agreement"] = msgspec.to_builtins(info.agreement)
                report["latency_ms"] = latency(backend, job)
            report["frames_per_second"][batch] = throughput(backend, job, batch)
            report["frames_per_second_overlapped"][batch] = overlapped(backend, job, batch)
        finally:
            backend.close()
    return report


def backend_part(job: GpuInput, name: str) -> Report:
    """A backend by its name, for those that take batches of any size."""
    from streamparts.backends.choice import open_backend  # type: ignore[import,unused-ignore]

    backend: Backend = open_backend(job.bundle, name)
    rates = {batch: throughput(backend, job, batch) for batch in sorted({1, *job.batches})}
    return {"latency_ms": latency(backend, job), "frames_per_second": rates}


def eager_part(job: GpuInput) -> Report:
    """torch without graphs: every kernel launched by Python, copies from pageable memory."""
    import torch

    from streamparts.backends.torch_backend import build_network  # type: ignore[import,unused-ignore]

    if not torch.cuda.is_available():
        raise RuntimeError("torch finds no CUDA device")
    network = build_network(job.bundle).cuda()

    def run(images: ByteArray) -> None:
        with torch.inference_mode():
            for output in network(torch.from_numpy(images).cuda()):
                if output is not None:
                    output.cpu()

    one = job.images(1)
    times = [1e3 * value for value in timed(lambda: run(one), job.seconds)]
    rates = {}
    for batch in sorted({1, *job.batches}):
        images = job.images(batch)
        rates[batch] = batch / statistics.fmean(timed(lambda images=images: run(images), job.seconds))  # type: ignore[misc]
    return {"latency_ms": {"p50": statistics.median(times), "runs": len(times)}, "frames_per_second": rates}


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
    names = {"torch-cuda": "torch CUDA graphs"}
    for name in ("torch-cuda", "onnxruntime-cuda", "onnxruntime-tensorrt", "onnxruntime"):
        attempt(parts, names.get(name, name), lambda name=name: backend_part(job, name))  # type: ignore[misc]
    return parts


def bars(parts: Report) -> Report:
    """Compare the best parts with the targets for an H200; None if nothing ran."""
    on_gpu = [part for name, part in parts.items() if name.startswith(("tensorrt ", "torch ")) and "failed" not in part]
    latencies = [part["latency_ms"]["p50"] for part in on_gpu]
    rates = [rate for part in on_gpu for kind in part if kind.startswith("frames_per") for rate in part[kind].values()]
    return {
        "b1 latency p50 ms": min(latencies, default=None),
        "b1 latency p50 ms asked for": 0.5,
        "frames per second": max(rates, default=None),
        "frames per second asked for": 30_000,
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
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
