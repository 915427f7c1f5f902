"""Figures of a section -> Markdown. Nothing is measured or rounded up here: what a table says stands in the JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Figures = dict[str, Any]
MODES = ("with overlay", "tracks only")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    return ", ".join(map(_cell, value)) if isinstance(value, list | tuple) else str(value).replace("|", "\\|")


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def bullets(reasons: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {reason}" for name, reason in reasons.items())


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
        "runs. Age of result: from leaving the decoder to written by the last output. Of decoding alone, of the "
        "network alone: how much of their speed is left in the whole; they were timed in turns with it, with the "
        "threads that they have in it. At work: how much of the time the slowest stage is.",
        table(
            ["size, model", "outputs", "engine", "fps", "age p50 ms", "p95", "p99", "of decoding alone",
             "of the network alone", "slowest stage at work"],
            whole,
        ),
        "![runtime](pictures/runtime.svg)",
        "Milliseconds of a frame in each stage, alone and as it runs among the others (with overlay, if there is one):",
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
        f"Threads of each engine: {found['threads']}. Network: one run on the whole batch. Scaling to tracks: a "
        "frame's share of all that happens between its decoded picture and its tracks. As `streamparts bench` measures."
    )
    missing = [bullets(found["not timed"])] if found["not timed"] else []
    return "\n\n".join([text, table([*columns, "scaling to tracks p50 ms", "p95", "p99", "fps"], rows), *missing])


def scaling(found: Figures) -> str:
    captions = {
        "frames": "Longer clips, 640x360, overlay and tracks:",
        "sizes": "Larger pictures:",
        "parts": "More parts, small student untrained, 1280x720, tracks only:",
        "sources": "More videos of 1280x720 at once, one model, tracks only:",
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
    text = f"The shipped model on {found['frames']} frames of {found['clips']} puppet clips that no training saw."
    return "\n\n".join([text, table(["", "figure"], rows)])


def real(found: Figures) -> str:
    """Rows of benchmarks.real."""
    from benchmarks.real.tables import tables

    text = (
        "The models that ship, streamed over real clips (../shared/data; none of them is part of this repository); the "
        "puppets' model, which knows no real thing, stands for where one begins. Each row says what its truth is: "
        "drawn by people, or another detector's output. More, and trainings: `python -m benchmarks.real --help`."
    )
    return "\n\n".join([text, tables(found["rows"], found["missing"])])


def memory(found: Figures) -> str:
    values = found["memory MB after frames"]
    text = (
        f"Pictures of 64x64, a network that answers at once, tracks with `--smooth` to a file: {found['frames']} "
        f"frames at {found['frames a second']} frames/s, {found['lines of tracks']} lines. A million, which takes ten "
        "times as long: `python -m benchmarks.report --only memory --memory-frames 1000000`."
    )
    rows = [["resident memory, MB", *values.values()]]
    return "\n\n".join([text, table(["after frames", *values], rows), "![memory](pictures/memory.svg)"])


def startup(found: Figures) -> str:
    names = {
        "import seconds": "`import streamparts` in a new process, s",
        "loads torch": "which loads torch",
        "environment MB": "environment of `make demo`, MB",
        "make demo seconds": "`make demo` from nothing, downloads included, s",
        "make demo again seconds": "`make demo` with the environment there, s",
    }
    return table(["what", "figure"], [[names[key], value] for key, value in found.items()])


def neighbours(found: Figures) -> str:
    columns = ["clip", "name", "mode", "frames", "frames with a subject", "fps", "processor ms per frame"]
    pieces = [
        "From opening the clip to closing the outputs; libraries and models loaded before. They do not do the same:",
        bullets(found["does"]),
        "The shipped model knows puppets: on people its parts mean nothing, and only the time counts. MediaPipe knows "
        "people, so on puppets it often finds none, and looks for one anew in every such frame.",
        table(columns, [[row[column] for column in columns] for row in found["rows"]]),
        "![neighbours](pictures/neighbours.svg)",
    ]
    missing = {**{name: f"failed: {reason}" for name, reason in found["failed"].items()}, **found["not timed"]}
    return "\n\n".join([*pieces, "Not timed:", bullets(missing)])


def live(found: Figures) -> str:
    (first, slow) = found.values()
    rows = [[key, first[key], slow[key]] for key in first]
    return "\n\n".join([
        "A source paced like a camera at 30 frames/s, 1280x720; the network only sleeps, so that the figures are those "
        "of the runtime.",
        table(["", *found], rows),
    ])  # fmt: skip


def counter(found: Figures) -> str:
    text = "A clip with each frame's number burnt in: frames lost, doubled, shifted or given a wrong time."
    return "\n\n".join([text, table(list(found), [list(found.values())])])


def corpus(found: Figures) -> str:
    text = (
        "Tiny videos, one worker: what a corpus costs beyond a plain loop over them in one warm process, the start of "
        "the worker left out. With Ray too: `python -m benchmarks.corpus`"
    )
    return "\n\n".join([text, table(["", "figure"], found.items())])


def messages(found: Figures) -> str:
    rows = [[name, cost["us to send"], cost["us of the run"]] for name, cost in found.items()]
    text = "A frame of ten parts; nobody listens. Microseconds of the sending thread's processor time, and of the run."
    return "\n\n".join([text, table(["protocol", "to send, us", "of the run, us"], rows)])


def smoothing(found: Figures) -> str:
    pieces = [
        f"Simulated tracks with known truth, {found['seeds']} seeds; errors of centres, root mean squares in pixels of "
        "a frame of 256 px. Cost: "
        + ", ".join(f"{cost} us a part and frame {what}" for what, cost in found["us a part and frame"].items())
        + "."
    ]
    for rate, rows in found["tables"].items():
        columns = list(next(iter(rows.values())))
        pieces.append(table([rate, *columns], [[name, *values.values()] for name, values in rows.items()]))
    return "\n\n".join(pieces)


def skeleton(found: Figures) -> str:
    clips = f"{found['clips']} unseen puppet clips of {found['frames']} frames"
    text = f"Found in predicted tracks of {clips}, against the puppets' own."
    rows = [[name, value] for name, value in found.items() if name not in ("clips", "frames")]
    return "\n\n".join([text, table(["", "figure"], rows)])


def learning(found: Figures) -> str:
    """benchmarks/learning.json."""
    pieces = [found["about"]]
    for each in found["tables"]:
        pieces += [f"### {each['title']}", f"{each['said']} `{each['command']}`", table(each["columns"], each["rows"])]
    return "\n\n".join(pieces)


def gpu(found: Figures) -> str:
    """What benchmarks.gpu --out wrote."""
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
        table(["", "b1 p50 ms, host to host", "frames/s", "frames/s, two batches under way"], rows),
        *([bullets(could_not)] if could_not else []),
    ])  # fmt: skip


def _rates(by_batch: dict[str, float]) -> str | None:
    return ", ".join(f"{rate:.0f} in batches of {batch}" for batch, rate in by_batch.items()) or None


TABLES: dict[str, tuple[str, Callable[[Figures], str]]] = {
    "runtime": ("Whole runs, by size and model", runtime),
    "engines": ("CPU engines side by side", engines),
    "scaling": ("As the load grows", scaling),
    "accuracy": ("Accuracy of the shipped model", accuracy),
    "real": ("On real video", real),
    "learning": ("What trainings gave", learning),
    "memory": ("Memory over many frames", memory),
    "startup": ("To begin with", startup),
    "neighbours": ("The same clip by others", neighbours),
    "live": ("Live sources", live),
    "counter": ("No frame lost, doubled or shifted", counter),
    "corpus": ("Many videos", corpus),
    "messages": ("Live messages", messages),
    "smoothing": ("Smoothing", smoothing),
    "skeleton": ("Skeletons", skeleton),
    "gpu": ("On a GPU", gpu),
}
"""Title and table of each section, in the report's order."""
