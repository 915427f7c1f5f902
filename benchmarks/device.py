"""All checks and timings of the GPU path, in one run of at most 330 seconds: python -m benchmarks.device --out OUT

Each part is timed, caught, and written to OUT/device.json at once, so that a run that is cut off keeps what it has; one
that crashes, hangs or loses the device costs only itself. `--parts` runs some of them, for a second try.
`--rehearse` runs every part on a CPU, small, to find what would fail there for other reasons than the GPU. It needs
torch, numpy, onnx, onnxruntime and opencv; PyAV, decord, msgspec, lightning-fabric and tyro may be missing. If nothing
was timed on a GPU, the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.device_decoding import decoding_part
from benchmarks.device_training import training_part
from benchmarks.gpu_timing import GpuInput, Report, compared, latency, overlapped, throughput
from benchmarks.guarded import Part, run_guarded
from benchmarks.known_kernel import copy_on_gpu, copy_on_host, known_results, known_slots, launch_on_gpu
from benchmarks.place import commit
from benchmarks.place import versions as installed
from streamparts.backends.choice import missing, open_backend
from streamparts.backends.loading import load_model
from streamparts.backends.overlap import NUM_SLOTS, InFlight
from streamparts.data import Backend, Overlapping
from streamparts.errors import BackendError
from streamparts.parity.patterns import pattern_frames

BUDGET_SECONDS = 330.0
"""The whole run; a part is left out if its own limit no longer fits."""
PATIENCE = 2.0
"""A part is stopped at this multiple of its limit; not in a rehearsal, on a processor of unknown speed."""
BATCHES = (1, 8, 64, 256)
PACKAGES = (
    "torch",
    "triton",
    "onnxruntime",
    "cuda-bindings",
    "tensorrt",
    "PyNvVideoCodec",
    "torchcodec",
    "msgspec",
    "av",
)
VARIANTS = ("torch-cuda", "torch-cuda-tf32", "torch-cuda-fp16", "torch-cuda-fp16-compiled")
MOST_KERNELS = 25
"""Lines of the list of kernels."""


@dataclass(frozen=True)
class DeviceSettings:
    """Input of the parts."""

    job: GpuInput
    rehearse: bool
    folder: Path


def probe_part(settings: DeviceSettings) -> Report:
    """Describe the machine, and measure the rates that bound everything else."""
    import torch

    found: Report = {"versions": installed(PACKAGES), "python": platform.python_version()}
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"]
    if not torch.cuda.is_available():
        if settings.rehearse:
            return {**found, "rehearsed": True}
        raise BackendError("torch finds no CUDA device")
    try:
        found["nvidia_smi"] = subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:  # a container may lack it
        found["nvidia_smi"] = f"not here: {error}"
    found["capability"] = list(torch.cuda.get_device_capability())
    size = 1 << 28
    host, device = torch.empty(size, dtype=torch.uint8, pin_memory=True), torch.empty(size, dtype=torch.uint8).cuda()
    other = torch.empty_like(device)
    found["gb_per_second"] = {
        "up": size / _device_seconds(lambda: device.copy_(host, non_blocking=True)) / 1e9,
        "down": size / _device_seconds(lambda: host.copy_(device, non_blocking=True)) / 1e9,
        "on the device": 2 * size / _device_seconds(lambda: other.copy_(device)) / 1e9,
    }
    small = torch.zeros(1, device="cuda")
    found["launch_us"] = 1e6 * _device_seconds(lambda: [small.add_(1) for _ in range(1000)]) / 1000
    return found


def _device_seconds(work: Callable[[], object]) -> float:
    """Seconds of work on the device, the best of five."""
    import torch

    times = []
    for _ in range(5):
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times)


def plumbing_part(settings: DeviceSettings) -> Report:
    """TensorRT's slots, copies and graphs around a kernel with known results."""
    side, largest = 32, 64
    with ExitStack() as stack:
        if settings.rehearse:
            from tests.fake_cuda import FakeCuda

            fake = FakeCuda()
            slots = known_slots(
                fake, stack, lambda stream, work: fake.enqueue(stream, ("kernel",), work), copy_on_host, side, largest
            )
        else:
            from streamparts.backends.tensorrt.cuda import load_cuda

            slots = known_slots(load_cuda(), stack, launch_on_gpu, copy_on_gpu, side, largest)
        wrong = _wrong_results(slots, side, 50 if settings.rehearse else 1000)
        report: Report = {"graphs": slots.graphs, "wrong": wrong}
        slots.clear()
    if wrong or not all(report["graphs"].values()):
        raise BackendError(f"not as it should be: {report}")
    return report


def _wrong_results(slots: InFlight, side: int, rounds: int) -> int:
    """Batches of changing sizes through two slots; returns the number with other results than the kernel's."""
    rng = np.random.default_rng(0)
    sizes = (1, 3, 8, 2, 64, 1, 17)
    waiting, wrong = [], 0
    for turn in range(rounds):
        images = rng.integers(0, 256, (sizes[turn % len(sizes)], side, side, 3), dtype=np.uint8)
        slots.submit(images)
        waiting.append(known_results(images))
        if len(waiting) == NUM_SLOTS or turn == rounds - 1:
            while waiting and (len(waiting) == NUM_SLOTS or turn == rounds - 1):
                wanted, got = waiting.pop(0), slots.collect()
                wrong += not all(np.array_equal(getattr(got, name), getattr(wanted, name)) for name in got._fields[:3])
    return wrong


def variant_part(settings: DeviceSettings, name: str) -> Report:
    """One backend: compared with ONNX Runtime, then timed in every batch size, one by one and two in flight."""
    started = time.perf_counter()
    backend = _opened(settings, name)
    report: Report = {"open_seconds": round(time.perf_counter() - started, 1)}
    report["agreement"] = compared(backend, settings.job, "fp16" if "fp16" in name else "fp32")
    report["latency_ms"] = latency(backend, settings.job)
    sizes = settings.job.batches
    report["frames_per_second"] = {batch: throughput(backend, settings.job, batch) for batch in sizes}
    if isinstance(backend, Overlapping):
        report["frames_per_second_overlapped"] = {batch: overlapped(backend, settings.job, batch) for batch in sizes}
        report["graphs"] = getattr(backend, "graphs", {})
    return report


def _opened(settings: DeviceSettings, name: str) -> Backend:
    """The backend; in a rehearsal the same on the host's stream, and not compiled."""
    bundle = settings.job.bundle
    if settings.rehearse and name in VARIANTS:
        from streamparts.backends.torch_cuda import TorchCudaBackend
        from tests.host_stream import HostStream

        precision = name.removeprefix("torch-cuda").removeprefix("-")
        precision = precision if precision in ("fp16", "tf32") else "fp32"
        return TorchCudaBackend(bundle, precision, new_stream=HostStream)  # type: ignore[arg-type]
    if reason := missing(name, bundle):
        raise BackendError(reason)
    return open_backend(bundle, name)


def kernels_part(settings: DeviceSettings) -> Report:
    """Kernels of one pass without a graph, by their time, in two batch sizes and both precisions."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from streamparts.backends.torch_cuda import prepared

    device = torch.device("cpu" if settings.rehearse else "cuda")
    activity = ProfilerActivity.CPU if settings.rehearse else ProfilerActivity.CUDA
    report: Report = {}
    for precision in ("fp32",) if settings.rehearse else ("fp32", "fp16"):
        network = prepared(settings.job.bundle, precision, compiled=False).to(device)  # type: ignore[arg-type]
        for batch in (1, max(settings.job.batches)):
            images = torch.from_numpy(settings.job.images(batch)).to(device)
            with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
                for _ in range(3):
                    network(images)
                with profile(activities=[activity]) as found:
                    network(images)
                    if not settings.rehearse:
                        torch.cuda.synchronize()
            time_of = "self_cpu_time_total" if settings.rehearse else "self_device_time_total"
            rows = sorted(found.key_averages(), key=lambda row: -getattr(row, time_of))
            report[f"{precision} b{batch}"] = [
                [row.key[:70], row.count, round(getattr(row, time_of), 1)] for row in rows[:MOST_KERNELS]
            ]
    return report


def parts_of(settings: DeviceSettings) -> list[Part]:
    """The parts, the most important first."""

    def opened() -> Backend:
        return _opened(settings, VARIANTS[2])

    listed: list[Part] = [
        ("probe", 10, lambda: probe_part(settings)),
        ("plumbing", 10, lambda: plumbing_part(settings)),
    ]
    listed += [(name, 30, lambda name=name: variant_part(settings, name)) for name in VARIANTS[:3]]  # type: ignore[misc]
    return [
        *listed,
        ("training", 60, lambda: training_part(settings.rehearse, settings.folder)),
        ("kernels", 15, lambda: kernels_part(settings)),
        ("decoding", 20, lambda: decoding_part(settings.job.bundle, settings.rehearse, opened)),
        (VARIANTS[3], 75, lambda: variant_part(settings, VARIANTS[3])),
        ("training-fused", 60, lambda: training_part(settings.rehearse, settings.folder, "fused")),
        ("onnxruntime-cuda", 30, lambda: variant_part(settings, "onnxruntime-cuda")),
    ]


def run_parts(settings: DeviceSettings, out: Path, budget: float, only: Sequence[str] = ()) -> Report:
    """Run the parts that fit into the budget, or `only` some, and write the report after each. Raises ValueError for an
    unknown name."""
    chosen = [part for part in parts_of(settings) if not only or part[0] in only]
    if unknown := sorted(set(only) - {name for name, _, _ in chosen}):
        raise ValueError(f"no part is called {', '.join(unknown)}")
    started = time.perf_counter()
    parts: Report = {}
    whole: Report = {"commit": commit(), "rehearsed": settings.rehearse, "model": settings.job.bundle.sha256}
    out.mkdir(parents=True, exist_ok=True)

    def keep(name: str, report: Report) -> None:
        parts[name] = report
        written = whole | {"seconds": round(time.perf_counter() - started, 1), "parts": parts}
        (out / "device.json").write_text(json.dumps(written, indent=1, default=str) + "\n", encoding="utf-8")

    run_guarded(chosen, budget, keep, None if settings.rehearse else PATIENCE)
    return parts


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="model name or .onnx file (default: the package's)")
    parser.add_argument("--frames", type=Path, help=".npy of (F, H, W, 3) uint8 frames at the model's size")
    parser.add_argument("--out", type=Path, required=True, help="folder for device.json")
    parser.add_argument("--budget", type=float, default=BUDGET_SECONDS, help="seconds in all (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", default=[], metavar="NAME", help="only these, as named in device.json")
    parser.add_argument("--rehearse", action="store_true", help="run every part on a CPU, small")
    args = parser.parse_args(argv)
    bundle = load_model(args.model)
    frames = np.load(args.frames, allow_pickle=False) if args.frames else pattern_frames(bundle.spec.input_hw, 64)
    if args.frames and frames.shape[1:] != (*bundle.spec.input_hw, 3):
        print(f"benchmarks.device: error: {args.frames}: {frames.shape}, not frames of this model", file=sys.stderr)
        return 1
    batches, seconds = ((1, 2), 0.01) if args.rehearse else (BATCHES, 1.0)
    job = GpuInput(bundle, frames[:8] if args.rehearse else frames, args.frames is None, batches, seconds)
    with tempfile.TemporaryDirectory() as folder:
        try:
            parts = run_parts(DeviceSettings(job, args.rehearse, Path(folder)), args.out, args.budget, args.parts)
        except ValueError as error:
            parser.error(str(error))
    bad = [name for name, part in parts.items() if "failed" in part or "left out" in part]
    print(f"{args.out / 'device.json'}: {len(parts) - len(bad)} parts ran, not: {', '.join(bad) or 'none'}")
    if not args.rehearse and not any("latency_ms" in part for part in parts.values()):
        print("benchmarks.device: error: nothing was timed on a GPU", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
