"""Measures the speed of a model on every backend: `streamparts bench`."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.backends.choice import BACKENDS, missing, open_backend
from streamparts.backends.loading import load_model
from streamparts.backends.measuring import noise
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, Frame
from streamparts.errors import StreampartsError, VideoError
from streamparts.machine import installed_versions, missing_package, num_threads, processor_name, usable_cores

SCHEMA = "streamparts.bench/1"
FRAME_HW = (720, 1280)
"""Size of the synthetic frame."""
MOST_FRAMES = 60
"""Number of frames of a video, kept in memory."""
WARM_UP_RUNS = 3
FEWEST_RUNS = 5
"""Minimum runs of each measurement."""
PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "tensorrt", "tensorrt-rtx")


@dataclass(frozen=True, slots=True)
class Times:
    """Quantiles in milliseconds."""

    p50: float
    p95: float
    p99: float

    @staticmethod
    def of(seconds: Sequence[float]) -> Times:
        return Times(*(float(round(1e3 * x, 3)) for x in np.quantile(seconds, (0.5, 0.95, 0.99))))


@dataclass(frozen=True, slots=True)
class Row:
    """One backend with one batch size."""

    backend: str
    batch: int
    network_ms: Times
    """Time of a network run on `batch` images."""
    network_cpu_ms: float
    """Mean processor time of the same over all threads, which depends least on other load."""
    frame_ms: Times | None
    """Time of a frame from decoded image to tracks, including scaling; for a batch, the time per frame. None without
    PyAV."""
    fps: float | None
    """Frame rate of that path."""
    num_runs: int
    """Number of runs behind the quantiles."""


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Results, environment, and failures."""

    model: dict[str, str]
    """Name, sha256, precision and input size."""
    machine: dict[str, str | int | float]
    versions: dict[str, str]
    frames: str
    """Frames used."""
    rows: list[Row] = field(default_factory=list)
    not_timed: dict[str, str] = field(default_factory=dict)
    """Reasons, by backend, for incomplete or missing results."""

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)}, indent=2)

    def to_text(self) -> str:
        """A table for people."""
        lines = [
            ", ".join([self.model["name"], self.model["input"], self.model["precision"], self.frames]),
            ", ".join(f"{key} {value}" for key, value in self.machine.items()),
            ", ".join(f"{key} {value}" for key, value in self.versions.items()),
            "",
            f"{'':<27}{'network, ms a run':>32}{'scaling to tracks, ms a frame':>34}",
            f"{'backend':<22}{'batch':>5}"
            + f"{'p50':>10}{'p95':>8}{'p99':>8}{'cpu':>8}{'p50':>13}{'p95':>8}{'p99':>8}{'fps':>8}",
        ]
        lines += [_table_line(row) for row in self.rows]
        lines += [f"{name:<22}{reason}" for name, reason in self.not_timed.items()]
        return "\n".join(lines)


def _table_line(row: Row) -> str:
    network, frame = row.network_ms, row.frame_ms
    start = (
        f"{row.backend:<22}{row.batch:>5}{network.p50:>10.2f}{network.p95:>8.2f}{network.p99:>8.2f}"
        f"{row.network_cpu_ms:>8.2f}"
    )
    if frame is None:
        return f"{start}{'-':>13}"
    return f"{start}{frame.p50:>13.2f}{frame.p95:>8.2f}{frame.p99:>8.2f}{row.fps:>8.1f}"


def bench(
    model: str | Path | Bundle,
    *,
    backends: Sequence[str] | None = None,
    batches: Sequence[int] = (1, 2, 4, 8),
    seconds: float = 2.0,
    threads: int | None = None,
    video: str | Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> BenchReport:
    """Time a model on several backends, with several batch sizes.

    Args:
        model: path or name of a model, or a bundle.
        backends: names of the backends; None is all that can run the model.
        batches: batch sizes.
        seconds: half the time that each measurement takes.
        threads: threads of the CPU backends.
        video: a video whose first frames are used; None is a synthetic frame of 1280x720.
        progress: receives a line before each measurement.

    A failing backend adds a line to `not_timed` and does not stop the others. Raises ModelError and VideoError for an
    invalid model or video.
    """
    bundle = model if isinstance(model, Bundle) else load_model(model)
    no_video = missing_package("av", "")
    if video and no_video:
        raise VideoError(f"{video}: cannot be read, because PyAV is not installed; pip install av")
    frames = [] if no_video else _video_frames(video) if video else [drawn_frame()]
    versions = {"Python": platform.python_version(), **installed_versions(PACKAGES)}
    report = BenchReport(_model(bundle), _machine(threads), versions, _what(frames, video))
    for name in backends or [name for name in BACKENDS if name != "torch"]:  # torch resolves to one of torch-...
        try:
            if reason := missing(name, bundle):
                raise StreampartsError(reason)
            backend = open_backend(bundle, name, threads)
            for batch in batches:
                progress(f"{backend.name}, batch {batch}")
                report.rows.append(time_backend(bundle, backend, frames, batch, seconds))
        except Exception as error:  # of any kind, because the other backends must still be timed
            kind = "" if isinstance(error, StreampartsError) else f"unexpected {type(error).__name__}: "
            report.not_timed[name] = kind + " ".join(str(error).split())
    return report


def time_backend(bundle: Bundle, backend: Backend, frames: Sequence[Frame], batch: int, seconds: float) -> Row:
    """Time the network alone and the whole path of a frame, in turns, so that other load affects both alike. Without
    PyAV, of which `frames` are made, the network alone, on noise."""
    images, whole = noise(bundle, batch), None
    if frames:
        images, whole = _whole_path(bundle, backend, [frames[i % len(frames)] for i in range(batch)])
    for _ in range(WARM_UP_RUNS):
        backend.run(images)
        if whole:
            whole()
    network_seconds, whole_seconds = list[float](), list[float]()
    cpu_seconds = 0.0
    deadline = time.perf_counter() + 2 * seconds
    while time.perf_counter() < deadline or len(network_seconds) < FEWEST_RUNS:
        cpu_start = time.process_time()
        network_seconds.append(_seconds(lambda: backend.run(images)))
        cpu_seconds += time.process_time() - cpu_start
        if whole:
            whole_seconds.append(_seconds(whole))
    return Row(
        backend=backend.name,
        batch=batch,
        network_ms=Times.of(network_seconds),
        network_cpu_ms=round(1e3 * cpu_seconds / len(network_seconds), 3),
        frame_ms=Times.of([x / batch for x in whole_seconds]) if whole_seconds else None,
        fps=round(batch * len(whole_seconds) / sum(whole_seconds), 1) if whole_seconds else None,
        num_runs=len(network_seconds),
    )


def _whole_path(bundle: Bundle, backend: Backend, frames: list[Frame]) -> tuple[ByteArray, Callable[[], None]]:
    """The network's input for `frames`, and a function that takes them from decoded images to tracks."""
    from streamparts.runtime.pipeline import part_tracker
    from streamparts.tracking.segment import PartSegmenter

    segmenter = PartSegmenter(bundle, backend, reuses=False)
    tracker = part_tracker(bundle.spec)

    def whole() -> None:
        prepared = [segmenter.prepare(frame) for frame in frames]
        parts = segmenter.infer_batch(prepared) if len(frames) > 1 else [segmenter.infer(prepared[0])]
        for item, found in zip(prepared, parts, strict=True):
            tracker.update(item.frame, item.letterbox, found)

    return np.stack([segmenter.prepare(frame).image for frame in frames]), whole


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def drawn_frame() -> Frame:
    """A frame as a decoder returns it: 1280x720 yuv420p, discs of many colours over a gradient."""
    height, width = FRAME_HW
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8)
    for k in range(10):
        image[(x - 200 - 90 * k) ** 2 + (y - 150 - 45 * k) ** 2 < 70**2] = (25 * k, 255 - 25 * k, 60 * k % 256)
    from av import VideoFrame

    picture = VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")
    return Frame(0, 0, Fraction(1, 30), picture, 0, height, width, time.perf_counter())


def _video_frames(video: str | Path) -> list[Frame]:
    from streamparts.sources import open_source

    with open_source(video) as source:
        frames = list(islice(source, MOST_FRAMES))
    if not frames:
        raise VideoError(f"{video}: has no frames")
    return frames


def _what(frames: Sequence[Frame], video: str | Path | None) -> str:
    if not frames:
        return "noise, since PyAV is not installed: the network only"
    kind = f"of {Path(video).name}" if video else "drawn"
    return f"{len(frames)} frame{'s' * (len(frames) > 1)} of {frames[0].width}x{frames[0].height} {kind}"


def _model(bundle: Bundle) -> dict[str, str]:
    spec = bundle.spec
    size = f"{spec.input_hw[1]}x{spec.input_hw[0]}"
    return {"name": spec.name, "sha256": bundle.sha256, "precision": spec.precision, "input": size}


def _machine(threads: int | None) -> dict[str, str | int | float]:
    """Includes the machine's load before the first measurement: figures from a busy machine mean little."""
    machine: dict[str, str | int | float] = {"processor": processor_name(), "cores": usable_cores()}
    machine["threads"] = num_threads(threads)
    if hasattr(os, "getloadavg"):
        machine["load"] = round(os.getloadavg()[0], 1)
    return machine
