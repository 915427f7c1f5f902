"""The same clip with streamparts, with a plain loop, and with other programs: python -m benchmarks.neighbours

Each reads the video, writes its results as JSON lines and, in the second mode, a video with the results drawn in. Timed
from opening the clip to closing the outputs, without loading libraries and models. All run in separate processes, in
turns, with their own default threads. MediaPipe is installed into a separate environment, .venv-neighbours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.inputs import puppet_clip
from benchmarks.place import ROOT, python_with_pip

MEDIAPIPE = "mediapipe==0.10.21"
"""The last release whose wheels contain the models of its pose solution."""
ENVIRONMENT = ROOT / ".venv-neighbours"
DOES = {
    "streamparts": "10 parts, each with mask, affine pose and score; every frame's own time; H.264",
    "plain loop": "the same network, centres of parts only; no tracker; frames by number; MPEG-4 part 2",
    "supervision's sinks": "the plain loop's network; its results as Detections, with masks of the frame's size, to a "
    "JSON sink; masks and centres drawn by its annotators; MPEG-4 part 2",
    "decoding and encoding alone": "FFmpeg's libraries in a loop, with the overlay's encoder, without results: a "
    "limit for every program",
    MEDIAPIPE.replace("==", " "): "33 landmarks of one person, found once and then followed; people only, learned from "
    "labels; MPEG-4 part 2",
}
NOT_TIMED = {
    "mediapipe 0.10.35, 1.2.3": "the wheels hold no pose model; it is a download of its own, not possible here",
    "rtmlib 0.0.16": "the wheel holds no weights; they are downloaded at first use, not possible here",
    "DeepLabCut-Live, SLEAP": "run networks that their users train on labels of their own; the packages bring none",
}
"""Checked on 2026-11-28."""
LONGEST_RUN_SECONDS = 600
SOLO = "streamparts-alone"
"""First word of the command line that runs this project's part in a process."""


def measure(clips: dict[str, Path], num_frames: int, repeats: int) -> dict[str, object]:
    """Medians over the runs, by clip, name and mode. A puppet clip of `num_frames` precedes `clips`."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        clip = puppet_clip(scratch / "puppet.mp4", num_frames)
        commands, failed = participants()
        all_clips = {"puppets, 1280x720": clip, **clips}
        rows = [row for name, path in all_clips.items() for row in one_clip(name, path, commands, repeats, scratch)]
    return {"rows": rows, "does": DOES, "failed": failed, "not timed": NOT_TIMED}


def participants() -> tuple[dict[str, list[str]], dict[str, str]]:
    """Commands by name, to be followed by clip, results and drawn video; and reasons why others cannot run."""
    streamparts, plain, supervision, codec, mediapipe = DOES
    commands = {streamparts: solo(), plain: [sys.executable, "-m", "benchmarks.plain_loop"]}
    if find_spec("supervision"):
        commands[supervision] = [sys.executable, "-m", "benchmarks.neighbour_supervision"]
    commands[codec] = [sys.executable, "-m", "benchmarks.neighbour_codec"]
    try:
        python = environment()
    except RuntimeError as error:
        return commands, {mediapipe: str(error)}
    script = Path(__file__).with_name("neighbour_mediapipe.py")
    return {**commands, mediapipe: [str(python), str(script)]}, {}


def solo() -> list[str]:
    return [sys.executable, "-m", "benchmarks.neighbours", SOLO]


def environment() -> Path:
    """Python with MediaPipe, installed on the first call. Raises RuntimeError if that fails."""
    python, ready = ENVIRONMENT / "bin" / "python", ENVIRONMENT / MEDIAPIPE
    if not ready.exists():
        for words in (
            [sys.executable, "-m", "venv", "--clear", "--without-pip", str(ENVIRONMENT)],
            [python_with_pip(), "-m", "pip", "--python", str(python), "install", "--quiet", MEDIAPIPE],
        ):
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{MEDIAPIPE} cannot be installed: {_last_line(done.stderr)}")
        ready.touch()
    return python


def one_clip(
    clip_name: str, clip: Path, commands: dict[str, list[str]], repeats: int, scratch: Path
) -> list[dict[str, object]]:
    runs: dict[tuple[str, bool], list[dict[str, float]]] = {}
    for _ in range(repeats):
        for draw in (False, True):
            for name, command in commands.items():
                outputs = [str(scratch / "results.jsonl"), *([str(scratch / "drawn.mp4")] if draw else [])]
                runs.setdefault((name, draw), []).append(_run([*command, str(clip), *outputs]))
    rows: list[dict[str, Any]] = [
        {
            "clip": clip_name,
            "name": name,
            "mode": "results and drawn video" if draw else "results",
            "frames": found[0]["frames"],
            "frames with a subject": found[0]["found"],
            "fps": round(median(run["frames"] / run["seconds"] for run in found), 1),
            "processor ms per frame": round(median(1e3 * run["processor seconds"] / run["frames"] for run in found), 2),
        }
        for (name, draw), found in runs.items()
    ]
    ours = {row["mode"]: row for row in rows if row["name"] == next(iter(commands))}
    return [row | _ratios(row, ours[row["mode"]]) for row in rows]


def _ratios(row: dict[str, Any], ours: dict[str, Any]) -> dict[str, float]:
    """Frame rate and processor time relative to those of the first program, streamparts."""
    return {f"{key}, ratio": round(row[key] / ours[key], 2) for key in ("fps", "processor ms per frame")}


def _run(command: Sequence[str]) -> dict[str, float]:
    """Return the last line of the output. Raises RuntimeError with the last lines of an error."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=LONGEST_RUN_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command[1:4]))}: {_last_line(done.stderr)}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def alone(clip: str, results: str, drawn: str | None = None) -> None:
    """Run streamparts in this process, timed like the others."""
    import streamparts
    from streamparts.backends.choice import choose_backend

    bundle, found = streamparts.load_model("puppet-human"), 0
    backend = choose_backend(bundle).backend
    began, cpu = time.perf_counter(), time.process_time()
    summary = streamparts.run(clip, bundle, backend=backend, tracks=results, overlay=drawn, force=True)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    for line in Path(results).read_bytes().splitlines()[1:]:
        found += any(part["visible"] for part in json.loads(line)["parts"])
    print(json.dumps({"frames": summary.num_frames, "found": found, "seconds": seconds, "processor seconds": cpu}))


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == [SOLO]:
        alone(*words[1:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, help="videos of people, in addition to the puppet clip")
    parser.add_argument("--num-frames", type=int, default=240, help="frames of the puppet clip")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args(words)
    print(json.dumps(measure({clip.name: clip for clip in args.clips}, args.num_frames, args.repeats), indent=2))


if __name__ == "__main__":
    main()
