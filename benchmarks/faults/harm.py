"""Read damaged files in a separate process: python -m benchmarks.faults.harm KIND FOLDER FIRST LAST

FOLDER contains intact files; number n is one of them, damaged with the seed n. For each, a line has its number and the
outcome: "read", "refused" in one line, or the error. If the process dies, or needs HANG_SECONDS of processor time for
one file, its last line has that file's number.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamparts.errors import StreampartsError
from streamparts.formats import convert
from streamparts.sources import open_source
from streamparts.sources.rescale import Rescaler
from tests import damage

HANG_SECONDS = 20
MOST_FRAMES = 10_000
"""Limit for a file that had a few dozen frames: more indicate an endless loop."""
KINDS = ("flip", "cut", "insert", "zero", "swap", "remove")


def spoilt(sound: bytes, seed: int) -> bytes:
    """Damage the file by one of KINDS in turn; half of the damage is in the first thousand bytes, where headers are."""
    draw = np.random.default_rng(seed)
    data, reach = bytearray(sound), len(sound) if draw.random() < 0.5 else min(1000, len(sound))
    at, other, length = int(draw.integers(reach)), int(draw.integers(len(sound))), int(draw.integers(1, 64))
    match KINDS[seed % len(KINDS)]:
        case "flip":
            for place in draw.integers(0, reach, int(draw.integers(1, 9))):
                data[place] ^= 1 << int(draw.integers(8))
        case "cut":
            del data[other:]
        case "insert":
            data[at:at] = draw.bytes(length)
        case "zero":
            data[at : at + length] = bytes(len(data[at : at + length]))
        case "swap":
            data[at : at + length], data[other : other + length] = (
                data[other : other + length], data[at : at + length],
            )  # fmt: skip
        case "remove":
            del data[at : at + length]
    return bytes(data)


def video(path: Path) -> str:
    rescaler, number = Rescaler(), 0
    with open_source(path) as source:
        for number, frame in enumerate(source):
            rescaler.rgb(frame, (32, 32))
            if number > MOST_FRAMES:
                return "bad: endless"
    return "read"


def tracks(path: Path) -> str:
    convert(path, path.with_suffix(".csv"), force=True)
    return "read"


def model(path: Path) -> str:
    found = damage.outcome(path, np.zeros((16, 16, 3), np.uint8))
    return "read" if found == "runs" else found


READERS: dict[str, tuple[Callable[[bytes, int], bytes], Callable[[Path], str]]] = {
    "videos": (spoilt, video),
    "tracks": (spoilt, tracks),
    "models": (damage.damaged, model),
}


def outcome(read: Callable[[Path], str], path: Path) -> str:
    try:
        return read(path)
    except StreampartsError as error:
        one_line = str(error).isprintable() and len(str(error)) < 2000
        return "refused" if one_line else f"bad: not one line: {str(error)!r}"
    except BaseException as error:
        return f"bad: {type(error).__name__}: {error!r}"


def main() -> None:
    kind, folder, first, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    harm, read = READERS[kind]
    samples = [(path, path.read_bytes()) for path in sorted(folder.iterdir()) if path.is_file()]
    victims = folder / "victims"
    victims.mkdir(exist_ok=True)
    for seed in range(first, last):
        path, sound = samples[seed // len(KINDS) % len(samples)]
        victim = victims / path.name
        print(seed, end=" ", flush=True)
        victim.write_bytes(harm(sound, seed))
        signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)  # SIGPROF, when it comes, ends the process
        print(outcome(read, victim).replace("\n", " "), flush=True)
    print("peak", peak_mb(), flush=True)


def peak_mb() -> int:
    """Peak memory of this process alone: getrusage starts with the value of its parent."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1024


if __name__ == "__main__":
    main()
