"""The GPU's decoder, for benchmarks/device.py: how fast each library is, and `run --hwaccel gpu` with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.gpu_timing import Report
from benchmarks.place import ROOT
from streamparts.bundle.load import Bundle
from streamparts.data import Backend


def decoding_part(bundle: Bundle, rehearse: bool, opened: Callable[[], Backend]) -> Report:
    """Frames per second of the GPU's decoder, by each library that is here, with frames that stay on the GPU; and of
    tracking them, by the backend that `opened` opens."""
    clip = ROOT / "examples" / "people.mp4"
    report: Report = {}
    for name, frames in (("torchcodec", _by_torchcodec), ("PyNvVideoCodec", _by_nvidia)):
        try:
            started, count = time.perf_counter(), sum(1 for _ in frames(clip))
            report[name] = {"frames": count, "frames_per_second": count / (time.perf_counter() - started)}
        except Exception as error:  # of any kind: one library must not hide the other
            report[name] = {"not here": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    try:
        report["run --hwaccel gpu"] = _tracked(bundle, rehearse, opened(), clip)
    except Exception as error:  # PyAV, for one, may be missing
        report["run --hwaccel gpu"] = {"not here": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    return report


def _tracked(bundle: Bundle, rehearse: bool, backend: Backend, clip: Path) -> Report:
    """Tracks of a file whose frames stay on the GPU, by a model without a followed subject, and how much the frames
    differ from software's."""
    import streamparts
    from streamparts.sources import open_source, trimmed
    from streamparts.sources.rescale import Rescaler

    end = 0.2 if rehearse else None
    with trimmed(open_source(clip, hwaccel="gpu"), end=end) as source:
        report: Report = {"description": source.description}
        started = time.perf_counter()
        count = sum(1 for _ in streamparts.track(source, bundle, backend=backend, roi="off"))
        report |= {"frames": count, "frames_per_second": count / (time.perf_counter() - started)}
    with trimmed(open_source(clip, hwaccel="gpu"), end=0.5) as one, open_source(clip) as other:
        pairs = [[Rescaler().rgb(frame).astype(int) for frame in frames] for frames in zip(one, other, strict=False)]
    differences = [np.abs(mine - theirs) for mine, theirs in pairs]
    return report | {"levels_off_mean": float(np.mean(differences)), "levels_off_most": int(np.max(differences))}


def _by_torchcodec(clip: Path) -> Iterator[object]:
    from torchcodec.decoders import VideoDecoder  # type: ignore[import-not-found, unused-ignore]

    yield from VideoDecoder(str(clip), device="cuda")


def _by_nvidia(clip: Path) -> Iterator[object]:
    import PyNvVideoCodec as nvidia  # type: ignore[import-not-found, unused-ignore]

    yield from nvidia.SimpleDecoder(str(clip), gpu_id=0, use_device_memory=True)
