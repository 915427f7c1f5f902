"""Resources of a run: backends, GPU, cameras, decoders, encoders, the engine cache, a display."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from streamparts.doctor.finding import Finding, State, absent
from streamparts.errors import ModelError, StreampartsError

_DEVICES, _CAMERA_NAMES = Path("/dev"), Path("/sys/class/video4linux")
_GPU_FIELDS = ("name", "driver_version", "memory.total", "compute_cap")


def backends() -> Iterator[Finding]:
    """A Probe: each backend, in the order in which "auto" prefers them."""
    from streamparts.backends.choice import BACKENDS, missing

    for name in BACKENDS:
        reason = missing(name)
        yield Finding(name) if reason is None else absent(name, reason)


def gpu() -> Iterator[Finding]:
    """A Probe: GPUs reported by the NVIDIA driver, and other devices that can decode or encode video."""
    from streamparts.machine import missing_gpu

    reason = missing_gpu()
    yield absent("NVIDIA", reason) if reason else Finding("NVIDIA", _nvidia_cards())
    nodes = sorted(str(path) for path in (_DEVICES / "dri").glob("renderD*"))
    if nodes:
        shut = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
        text = ", ".join(nodes)
        if shut:
            yield Finding(
                "render nodes", f"{text}; no permission for {', '.join(shut)}: join the group render", "warning"
            )
        else:
            yield Finding("render nodes", text)


def _nvidia_cards() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "found by the driver; nvidia-smi, which shows its name, is not installed"
    query = [program, f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"found by the driver; nvidia-smi does not answer ({type(error).__name__})"
    cards = []
    for line in done.stdout.splitlines():
        name, driver, memory, capability = ([part.strip() for part in line.split(",")] + [""] * 4)[:4]
        cards.append(f"{name}, {memory}, compute capability {capability}, driver {driver}")
    return "; ".join(cards) or "found by the driver; nvidia-smi lists none"


def cameras() -> Iterator[Finding]:
    """A Probe. On Linux no camera is opened, so one that is busy or hangs is listed like any other."""
    if sys.platform.startswith("linux"):
        found = linux_cameras(_DEVICES, _CAMERA_NAMES)
    else:
        found = _listed_cameras("avfoundation" if sys.platform == "darwin" else "dshow")
    yield from found or [absent("none", "no camera found; in a container, pass it in, such as /dev/video0")]


def linux_cameras(devices: Path, names: Path) -> list[Finding]:
    """The capture devices in `devices`, with their names from `names`."""
    found = []
    for path in sorted(devices.glob("video*"), key=lambda path: (len(path.name), path.name)):
        about = names / path.name
        if _line(about / "index") not in ("", "0"):  # a camera's other nodes supply metadata, not images
            continue
        name = _line(about / "name") or "camera"
        if os.access(path, os.R_OK | os.W_OK):
            found.append(Finding(str(path), name))
        else:
            found.append(Finding(str(path), f"{name}; no permission: add the user to the group video", "warning"))
    return found


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _listed_cameras(device_format: str) -> list[Finding]:
    import av

    try:
        devices = av.enumerate_input_devices(device_format)
    except (AttributeError, av.FFmpegError, ValueError, OSError) as error:  # PyAV has it since version 17
        return [Finding("list", f"this FFmpeg cannot list cameras ({type(error).__name__})", "warning")]
    seen = [device.description for device in devices if device.media_types != ["audio"]]
    return [Finding(f"webcam:{number}", name) for number, name in enumerate(seen)]


def decoders() -> Iterator[Finding]:
    """A Probe: each kind of --hwaccel."""
    from streamparts.machine import missing_gpu
    from streamparts.sources import hwdecode
    from streamparts.sources.gpu_decoders import missing_decoder

    for kind in hwdecode.KINDS:
        reason = hwdecode.probe(kind)
        if reason and kind == "cuda":
            reason = missing_gpu() or reason  # FFmpeg reports a missing driver as a lack of permission
        yield Finding(kind) if reason is None else absent(kind, reason.removeprefix(f"{kind}: "))
    reason = missing_decoder()
    yield Finding("gpu") if reason is None else absent("gpu", reason)


def encoders() -> Iterator[Finding]:
    """A Probe: each value of --encoder. libx264 is in every PyAV wheel."""
    from streamparts.sinks.overlay import encoders as known

    for name in (known.SOFTWARE, *known.HARDWARE):
        reason = known.encoder_problem(name)
        state: State = "failed" if name == known.SOFTWARE else "absent"
        yield Finding(name) if reason is None else Finding(name, reason, state)


def engine_cache() -> Iterator[Finding]:
    """A Probe: the folder of built TensorRT engines, and whether it is usable."""
    from streamparts.backends.tensorrt.cache import EngineCache, cache_folder

    folder = cache_folder()
    try:
        EngineCache(folder).read(folder / "nothing")
    except ModelError as error:
        yield Finding("folder", str(error), "warning")
        return
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        text = f"{folder}: {existing} is not writable; set XDG_CACHE_HOME to a writable folder"
        yield Finding("folder", text, "warning")
        return
    held = len(list(folder.glob("*.engine"))) if folder.exists() else 0
    yield Finding("folder", f"{folder} is writable; engines in it: {held}", data={"engines": held})


def preview() -> Iterator[Finding]:
    """A Probe: requirements of `--show` and of the source `screen`."""
    from streamparts.sinks.preview.window import window_problem
    from streamparts.sources.devices import find_device

    reason = window_problem()
    yield Finding("window") if reason is None else absent("window", reason)
    yield Finding("page", "--show page works in any browser on this machine")
    try:
        find_device("screen", sys.platform, os.environ)
    except StreampartsError as error:
        yield absent("screen", str(error).removeprefix("screen: "))
    else:
        yield Finding("screen", "available as source")
