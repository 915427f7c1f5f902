"""Renders the figures of a section as Markdown. Nothing is measured or rounded up here: every value is in the JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.markdown import bullets, percent, table

Figures = dict[str, Any]
MODES = ("with overlay", "tracks only")


def runtime(found: Figures) -> str:
    """Whole runs, against decoding alone and the network alone; then the stages."""
    whole, stages = list[list[object]](), list[list[object]]()
    for name, row in found["rows"].items():
        times = row["stages alone, ms (wall, cpu)"]
        alone: dict[str, float | None] = {stage: wall for stage, (wall, _) in times.items()}
        modes = [mode for mode in MODES if mode in row]
        inside = row[modes[0]]["stages in the run, ms"]
        for mode in modes:
            run = row[mode]
            shares = [percent(run["fps"] * times[stage][0] / 1e3) for stage in ("decode", "infer")]
            ages = [run[f"age p{quantile} ms"] for quantile in (50, 95, 99)]
            share = percent(run["share of the slowest stage in the run"])
            whole.append([name, mode, row["backend"], run["fps"], *ages, *shares, share])
        if modes == ["tracks only"]:
            alone |= {"draw": None, "encode": None}
        stages.append([name, *alone.values(), "; ".join(f"{stage} {ms}" for stage, ms in inside.items())])
    return "\n\n".join([
        f"`streamparts run` on an H.264 clip of {found['frames']} frames at 30 frames/s, median of {found['repeats']} "
        "runs. Latency: from the decoder's output of a frame until the last sink has written its result. Of decoding "
        "alone, of the network alone: the run's frame rate relative to the stage alone, timed in turns with the run "
        "and with the same threads. At work: the share of the time in which the slowest stage is running.",
        table(
            ["size, model", "outputs", "engine", "fps", "latency p50 ms", "p95", "p99", "of decoding alone",
             "of the network alone", "slowest stage at work"],
            whole,
        ),
        "![runtime](pictures/runtime.svg)",
        "Milliseconds per frame in each stage, alone and within the run (with overlay if measured):",
        table(["size, model", "decode", "prepare", "infer", "draw", "encode", "in the run"], stages),
    ])  # fmt: skip


def engines(found: Figures) -> str:
    rows = [
        [
            row["model"], row["backend"], row["batch"],
            *(row["network_ms"][quantile] for quantile in ("p50", "p95", "p99")), row["network_cpu_ms"],
            *(row["frame_ms"][quantile] for quantile in ("p50", "p95", "p99")), row["fps"],
        ]
        for row in found["rows"]
    ]  # fmt: skip
    columns = ["model", "engine", "batch", "network p50 ms", "p95", "p99", "processor ms"]
    text = (
        f"Threads of each engine: {found['threads']}. Network: one run on the whole batch. Scaling to tracks: the "
        "time per frame from decoded image to tracks. Measured as `streamparts bench` does."
    )
    missing = [bullets(found["not timed"])] if found["not timed"] else []
    return "\n\n".join([text, table([*columns, "scaling to tracks p50 ms", "p95", "p99", "fps"], rows), *missing])


def scaling(found: Figures) -> str:
    captions = {
        "frames": "Longer clips, 640x360, overlay and tracks:",
        "sizes": "Larger images:",
        "parts": "More parts, small student untrained, 1280x720, tracks only:",
        "sources": "More 1280x720 videos in parallel, one model, tracks only:",
    }
    pieces = []
    for name, caption in captions.items():
        rows = found[name]
        pieces += [
            caption,
            table(list(rows[0]), [list(row.values()) for row in rows]),
            f"![{name}](pictures/{name}.svg)",
        ]
    return "\n\n".join(pieces)


def accuracy(found: Figures) -> str:
    rows = [
        ["foreground IoU", found["foreground_iou"]],
        ["part IoU, mean", found["part_iou"]],
        ["centre error, mean, share of the side", found["center_error"]],
        ["centre error, median", found["center_error_median"]],
        ["part IoU of each part", found["part_iou_each"]],
    ]
    text = f"The shipped model on {found['frames']} frames of {found['clips']} held-out puppet clips."
    return "\n\n".join([text, table(["", "figure"], rows)])


def real(found: Figures) -> str:
    """Rows of benchmarks.real."""
    from benchmarks.real.tables import tables

    text = (
        "The shipped models on real clips (../shared/data, not part of this repository). The puppets' model, which was "
        "trained on no real video, is the lower bound. Each row names its ground truth: drawn by people, or another "
        "detector's output. More, and trainings: `python -m benchmarks.real --help`."
    )
    return "\n\n".join([text, tables(found["rows"], found["missing"])])


def memory(found: Figures) -> str:
    values = found["memory MB after frames"]
    text = (
        f"Images of 64x64, a network that returns immediately, tracks with `--smooth` to a file: {found['frames']} "
        f"frames at {found['frames a second']} frames/s, {found['lines of tracks']} lines. A million frames take ten "
        "times as long: `python -m benchmarks.report --only memory --memory-frames 1000000`."
    )
    rows = [["resident memory, MB", *values.values()]]
    return "\n\n".join([text, table(["after frames", *values], rows), "![memory](pictures/memory.svg)"])


def startup(found: Figures) -> str:
    names = {
        "import seconds": "`import streamparts` in a new process, s",
        "loads torch": "of which loads torch",
        "environment MB": "environment of `make demo`, MB",
        "make demo seconds": "`make demo` in a new checkout, downloads included, s",
        "make demo again seconds": "`make demo` with an existing environment, s",
    }
    return table(["what", "figure"], [[names[key], value] for key, value in found.items()])


def neighbours(found: Figures) -> str:
    columns = ["clip", "name", "mode", "frames", "frames with a subject", "fps", "processor ms per frame"]
    pieces = [
        "Timed from opening the clip to closing the outputs, libraries and models loaded. They do different things:",
        bullets(found["does"]),
        "The shipped model knows puppets: on people its parts mean nothing, only the time counts. MediaPipe knows "
        "people: on puppets it often finds none, and then searches again in every frame.",
        table(columns, [[row[column] for column in columns] for row in found["rows"]]),
        "![neighbours](pictures/neighbours.svg)",
    ]
    missing = {**{name: f"failed: {reason}" for name, reason in found["failed"].items()}, **found["not timed"]}
    return "\n\n".join([*pieces, "Not timed:", bullets(missing)])


def live(found: Figures) -> str:
    (first, slow) = found.values()
    rows = [[key, first[key], slow[key]] for key in first]
    return "\n\n".join([
        "A source paced like a camera at 30 frames/s, 1280x720. The network only sleeps, so the figures are those of "
        "the runtime.",
        table(["", *found], rows),
    ])  # fmt: skip


def counter(found: Figures) -> str:
    text = "A clip with the frame number burnt into each frame: frames lost, duplicated, shifted or given a wrong time."
    return "\n\n".join([text, table(list(found), [list(found.values())])])


def corpus(found: Figures) -> str:
    text = (
        "Tiny videos, one worker: the cost of a corpus run beyond a plain loop over them in one warm process, without "
        "the worker's start. With Ray: `python -m benchmarks.corpus`"
    )
    return "\n\n".join([text, table(["", "figure"], found.items())])


def messages(found: Figures) -> str:
    rows = [[name, cost["us to send"], cost["us of the run"]] for name, cost in found.items()]
    text = "A frame of ten parts, no receivers. Processor time in microseconds: of the sending thread, and of the run."
    return "\n\n".join([text, table(["protocol", "to send, us", "of the run, us"], rows)])


def smoothing(found: Figures) -> str:
    pieces = [
        f"Simulated tracks with known truth, {found['seeds']} seeds; errors of centres, RMS in pixels of "
        "a 256 px frame. Cost: "
        + ", ".join(f"{cost} us per part and frame {what}" for what, cost in found["us a part and frame"].items())
        + "."
    ]
    for rate, rows in found["tables"].items():
        columns = list(next(iter(rows.values())))
        pieces.append(table([rate, *columns], [[name, *values.values()] for name, values in rows.items()]))
    return "\n\n".join(pieces)


def skeleton(found: Figures) -> str:
    clips = f"{found['clips']} unseen puppet clips of {found['frames']} frames"
    text = f"Found in predicted tracks of {clips}, compared with the puppets' true skeletons."
    rows = [[name, value] for name, value in found.items() if name not in ("clips", "frames")]
    return "\n\n".join([text, table(["", "figure"], rows)])


def learning(found: Figures) -> str:
    """benchmarks/learning.json."""
    pieces = [found["about"]]
    for each in found["tables"]:
        pieces += [f"### {each['title']}", f"{each['said']} `{each['command']}`", table(each["columns"], each["rows"])]
    return "\n\n".join(pieces)


def gpu(found: Figures) -> str:
    """Figures written by `benchmarks.gpu --out`."""
    parts = found["parts"]
    rows = [
        [
            name,
            f"{part['latency_ms']['p50']:.3f}" if "latency_ms" in part else None,
            *(_rates(part.get(key, {})) for key in ("frames_per_second", "frames_per_second_overlapped")),
        ]
        for name, part in parts.items()
        if "frames_per_second" in part
    ]
    named = parts.get("driver", {}).get("nvidia_smi") or [parts.get("gpu", {}).get("name", "no GPU")]
    could_not = {name: f"could not: {part['failed']}" for name, part in parts.items() if "failed" in part}
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return "\n\n".join([
        f"{'; '.join(named)}. Model {found['model']}, frames: {found['frames']}; commit {found['commit']}; {versions}. "
        f"`python -m benchmarks.gpu {' '.join(found['command'])}`",
        table(["", "b1 p50 ms, host to host", "frames/s", "frames/s, two batches in flight"], rows),
        *([bullets(could_not)] if could_not else []),
    ])  # fmt: skip


def _rates(by_batch: dict[str, float]) -> str | None:
    return ", ".join(f"{rate:.0f} in batches of {batch}" for batch, rate in by_batch.items()) or None


TABLES: dict[str, tuple[str, Callable[[Figures], str]]] = {
    "runtime": ("Whole runs, by size and model", runtime),
    "engines": ("CPU engines side by side", engines),
    "scaling": ("Scaling", scaling),
    "accuracy": ("Accuracy of the shipped model", accuracy),
    "real": ("On real video", real),
    "learning": ("Training results", learning),
    "memory": ("Memory over many frames", memory),
    "startup": ("Startup", startup),
    "neighbours": ("Other programs on the same clip", neighbours),
    "live": ("Live sources", live),
    "counter": ("No frame lost, duplicated or shifted", counter),
    "corpus": ("Many videos", corpus),
    "messages": ("Live messages", messages),
    "smoothing": ("Smoothing", smoothing),
    "skeleton": ("Skeletons", skeleton),
    "gpu": ("On a GPU", gpu),
}
"""Title and table of each section, in the report's order."""
