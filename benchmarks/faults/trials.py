"""The trials; each returns its outcome as a row of the table."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import onnx

from benchmarks.faults.harm import peak_mb
from benchmarks.live import resident_mb
from streamparts.bundle.load import check_model
from streamparts.errors import ModelError, VideoError
from streamparts.runtime.stats import Progress
from streamparts.runtime.stream import run
from streamparts.sources.network import open_address
from streamparts.tracksfile.reading import read_tracks
from tests import servers, test_damage, test_large, test_onnx_scan
from tests.made_tracks import awkward_tracks, even_tracks
from tests.media import numbered_video, write_video
from tests.tiny_model import write_tiny_model

SILENT_SECONDS = 300
"""A process without output for this long is hung, even if it uses no processor time."""
PAIR_FRAMES = 60
HUGE_SIDE = 7990
"""Pixels: an image of that side is just below the limit of 64 million."""
SOAK_LOOKS = 60
UNITS = ("MB", "handles", "threads")
FILMS = {
    "a.mp4": "libx264",
    "a.mkv": "libx264",
    "a.avi": "mpeg4",
    "a.ts": "libx264",
    "a.webm": "libvpx",
    "a.mov": "mjpeg",
}


def videos(folder: Path, count: int) -> str:
    for name, codec in FILMS.items():
        options = {"bf": "2", "g": "8"} if codec in ("libx264", "mpeg4") else {}
        pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        numbered_video(folder / name, 24, 48, 64, codec=codec, options=options, pix_fmt=pix_fmt)
    write_video(
        folder / "a.gif", [np.full((48, 64, 3), 9 * n, np.uint8) for n in range(9)], codec="gif", pix_fmt="rgb8"
    )
    return _said(tried(_harm("videos", folder), count))


def tracks(folder: Path, count: int) -> str:
    even_tracks(folder / "even.jsonl", 12, masks=True)
    awkward_tracks(folder / "awkward.jsonl", masks=True)
    return _said(tried(_harm("tracks", folder), count))


def models(folder: Path, count: int) -> str:
    write_tiny_model(folder / "tiny.onnx", (16, 16))
    return _said(tried(_harm("models", folder), count))


def hostile(folder: Path, count: int) -> str:
    """Each kind once, whatever `count` is."""
    kinds = [*test_onnx_scan.REFUSED, *test_onnx_scan.TOO_MUCH]
    refused = 0
    for change in kinds:
        model: onnx.ModelProto = test_onnx_scan.sound()
        change(model)
        with suppress(ModelError):
            check_model(model.SerializeToString())
            continue
        refused += 1
    return f"{refused} of {len(kinds)} kinds refused, at most {peak_mb()} MB"


def huge(folder: Path, count: int) -> str:
    """`count` GIFs of 296 bytes, each of twelve images of 63.8 million pixels, tracked by one run."""
    (folder / "out").mkdir()
    words = [sys.executable, "-m", "benchmarks.faults.peak", "--no-overlay", "--out-dir", str(folder / "out")]
    names = [str(test_large.gif(folder / f"{number}.gif", HUGE_SIDE)) for number in range(count)]
    model = write_tiny_model(folder / "tiny.onnx")
    done = subprocess.run([*words, "--model", str(model), *names], capture_output=True, text=True)
    num_frames = sum(len(list(read_tracks(path).frames())) for path in (folder / "out").glob("*.jsonl"))
    return f"exit {done.returncode}, {num_frames} frames, {done.stdout.split()[-1]} MB at most"


def pairs(folder: Path, count: int) -> str:
    """Every second pair uses `force`: then the second process may replace the output of the first."""
    film = numbered_video(folder / "film.mp4", PAIR_FRAMES, 48, 64)
    model, came = write_tiny_model(folder / "tiny.onnx"), Counter[str]()
    context = multiprocessing.get_context("forkserver")  # this process may have threads, which a fork would break
    context.set_forkserver_preload([__name__])
    for number in range(count):
        out, ends, start = folder / f"{number}.jsonl", context.SimpleQueue(), context.Barrier(2)
        two = [context.Process(target=_run_once, args=(film, model, out, number % 2 == 1, start, ends)) for _ in "ab"]
        for process in two:
            process.start()
        for process in two:
            process.join()
        told = sorted(ends.get() for _ in two if not ends.empty())
        whole = [frame.frame for frame in read_tracks(out).frames()] == list(range(PAIR_FRAMES))
        came[" and ".join(told) + (", the file whole" if whole else ", THE FILE LOST")] += 1
    return ", ".join(f"{times} x {what}" for what, times in sorted(came.items()))


def _run_once(film: Path, model: Path, out: Path, force: bool, start: Barrier, ends: SimpleQueue[str]) -> None:
    start.wait()
    try:
        run(film, model, tracks=out, force=force, backend="onnxruntime", threads=1)
        ends.put("one written")
    except VideoError as error:
        ends.put("one refused" if "another run" in str(error) or "exists already" in str(error) else str(error))
    except BaseException as error:
        ends.put(repr(error))


def kills(folder: Path, count: int) -> str:
    """A camera whose server is stopped `count` times during the run, and restarted."""
    units = servers.access_units(range(20))
    gaps, segments, back = 0, set[int](), 0
    last = (-1, -1.0)
    with servers.serving(*[servers.rtsp(units)] * (count + 1)) as server:
        address = f"rtsp://127.0.0.1:{server.port}/x"
        with open_address(address, idle_seconds=5, max_retries=1) as source, suppress(VideoError):
            for frame in source:
                gaps += frame.gap is not None
                segments.add(frame.segment)
                back += frame.segment == last[0] and frame.pts_seconds <= last[1]
                last = (frame.segment, frame.pts_seconds)
    return f"{server.num_connections - 1} kills: {gaps} gaps, {len(segments)} segments, {back} times that go back"


def loss(folder: Path, count: int) -> str:
    """Frames of an RTSP stream of which 1 and 10 % of the packets are lost, compared with the sent ones."""
    sound, said = test_damage.sound_pictures(count), []
    for share in (0.01, 0.1):
        for udp in (False, True):
            seen, _ = test_damage.lossy_run(udp, test_damage.losing(share, 1, 0), count)
            wrong = [number not in sound or not np.array_equal(image, sound[number]) for number, _, image in seen]
            marked = [is_marked for _, is_marked, _ in seen]
            missed = sum(bad and not sign for bad, sign in zip(wrong, marked, strict=True))
            in_vain = sum(sign and not bad for bad, sign in zip(wrong, marked, strict=True))
            said.append(
                f"{100 * share:g} % over {'UDP' if udp else 'TCP'}: {len(seen)} frames given, {sum(wrong)} damaged, "
                f"{missed} of them not marked, {sum(marked)} marked, {in_vain} wrongly"
            )
    return "; ".join(said)


def soak(folder: Path, count: int) -> str:
    """A live source of ten frames per second, with tracks and overlay, for `count` seconds; sixty looks at the process.
    The slow pace leaves the machine to others; faults of memory grow with frames and with time alike."""
    stop, seen = threading.Event(), list[tuple[float, int, int]]()
    timer = threading.Timer(count, stop.set)

    def look(now: Progress) -> None:
        if now.stats.seconds >= count * (1 + len(seen)) / SOAK_LOOKS:
            seen.append(_state())

    timer.start()
    summary = run(
        "test://?live=1&size=640x360&fps=10",
        write_tiny_model(folder / "tiny.onnx"),
        tracks=folder / "t.jsonl",
        overlay=folder / "o.mp4",
        masks=True,
        stop=stop,
        progress=look,
    )
    seen = seen or [_state()]
    early, late = seen[len(seen) // 10], seen[-1]
    texts = [f"{mb:.1f} MB, {handles} handles, {threads} threads" for mb, handles, threads in (early, late)]
    most = ", ".join(f"{max(values):.0f} {unit}" for values, unit in zip(zip(*seen, strict=True), UNITS, strict=True))
    return f"{summary.num_frames} frames; after a tenth {texts[0]}; at the end {texts[1]}; at most {most}"


def _state() -> tuple[float, int, int]:
    handles = Path("/proc/self/fd")
    return resident_mb() or 0.0, len(list(handles.iterdir())) if handles.exists() else 0, threading.active_count()


def _harm(kind: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.faults.harm", kind, str(folder)]


def tried(words: Sequence[str], count: int) -> Counter[str]:
    """Outcomes of numbers 0 to `count`, from a command that takes the first and the last number and prints outcomes as
    harm.py does. If it dies, it is restarted after the number at which it died."""
    came, first = Counter[str](), 0
    while first < count:
        with subprocess.Popen([*words, str(first), str(count)], stdout=subprocess.PIPE, text=True) as process:
            last = _read(process, came)
        if process.returncode and last is None:
            raise RuntimeError(f"{' '.join(words)} ends with {process.returncode} before its first file")
        if process.returncode:
            came["hang" if process.returncode in (-signal.SIGPROF, -signal.SIGKILL) else "crash"] += 1
        first = count if not process.returncode or last is None else last + 1
    return came


def _read(process: subprocess.Popen[str], came: Counter[str]) -> int | None:
    """The number that was started last."""
    last: int | None = None
    watchdog = threading.Timer(0, lambda: None)
    assert process.stdout is not None
    for line in process.stdout:
        watchdog.cancel()
        watchdog = threading.Timer(SILENT_SECONDS, process.kill)
        watchdog.daemon = True
        watchdog.start()
        number, _, what = line.strip().partition(" ")
        if number == "peak":
            came["peak MB"] = max(came["peak MB"], int(what))
            continue
        last = int(number)
        if what in ("read", "refused"):
            came[what] += 1
        elif what:
            came["bad"] += 1
            print(line.strip(), file=sys.stderr)
    watchdog.cancel()
    return last


def _said(came: Counter[str]) -> str:
    named = {
        "read": "read", "refused": "refused in one line", "crash": "crashes", "hang": "hangs", "bad": "other errors"
    }  # fmt: skip
    return ", ".join(f"{came[key]} {name}" for key, name in named.items()) + f"; {came['peak MB']} MB at most"


Trial = Callable[[Path, int], str]
TRIALS: dict[str, tuple[str, int, Trial]] = {
    "pairs": ("two runs on one output", 100, pairs),
    "kills": ("a camera's server killed", 50, kills),
    "loss": ("frames of a stream that loses packets", 600, loss),
    "videos": ("damaged videos", 15_000, videos),
    "tracks": ("damaged tracks files", 1_500, tracks),
    "models": ("damaged models", 2_000, models),
    "hostile": ("hostile models", 1, hostile),
    "huge": ("files of 296 bytes with images of 63.8 million pixels", 4, huge),
    "soak": ("seconds of a live source, tracks and overlay", 3_600, soak),
}
"""Trial, its default count, and its function."""


def carried_out(name: str, count: int) -> tuple[str, str]:
    """(trial, outcome)."""
    what, _, trial = TRIALS[name]
    with tempfile.TemporaryDirectory(prefix=f"faults-{os.getpid()}-") as folder:
        return what, trial(Path(folder), count)
