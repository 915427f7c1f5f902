"""Damages model files and loads them in a separate process: python -m tests.damage FILE FIRST LAST

If that process crashes, its last line has the seed. Anything except a working model or one line of ModelError is
reported as "bad".
"""

from __future__ import annotations

import resource
import sys
import time
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import helper

from streamparts.arrays import ByteArray
from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.load import METADATA_KEY
from streamparts.data import Frame
from streamparts.errors import ModelError
from streamparts.tracking.segment import PartSegmenter

MEMORY = 2 * 2**30
"""Address space that loading and running a damaged model may use in addition to the libraries, in bytes."""
KINDS = ("flip", "truncate", "insert", "zero", "swap", "splice", "describe", "metadata")
NONSENSE: tuple[object, ...] = (
    None, -1, 0, 2**63, 1e308, "", "\x1b[2J", "a/b", "x" * 100_000, [], {}, [[[[]]]], "nan", [0, 0], [10**9, 10**9],
    ["a", "a"], ["\u202e"], {"a": 1e999}, {"a" * 500: 1},
)  # fmt: skip


def damaged(sound: bytes, seed: int) -> bytes:
    """One of KINDS of damage, by turns."""
    draw = np.random.default_rng(seed)
    data = bytearray(sound)
    one, other = sorted(int(x) for x in draw.integers(0, len(data), 2))
    length = int(draw.integers(1, 64))
    match KINDS[seed % len(KINDS)]:
        case "flip":
            for _ in range(int(draw.integers(1, 9))):
                data[int(draw.integers(len(data)))] ^= 1 << int(draw.integers(8))
        case "truncate":
            del data[one:]
        case "insert":
            data[one:one] = draw.bytes(length)
        case "zero":
            data[one : one + length] = bytes(len(data[one : one + length]))
        case "swap":
            data[one : one + length], data[other : other + length] = (
                data[other : other + length], data[one : one + length],
            )  # fmt: skip
        case "splice":
            del data[one : one + length]
        case "describe":
            return described(sound, draw)
        case "metadata":
            at = sound.index(b'{"schema"') + int(draw.integers(400))
            data[at] = int(draw.integers(256))
    return bytes(data)


def described(sound: bytes, draw: np.random.Generator) -> bytes:
    """The model with nonsense in one field of its description."""
    model = onnx.load_model_from_string(sound)
    (entry,) = model.metadata_props
    spec = msgspec.json.decode(entry.value)
    spec[str(draw.choice([*spec, "surprise"]))] = NONSENSE[int(draw.integers(len(NONSENSE)))]
    helper.set_model_props(model, {METADATA_KEY: msgspec.json.encode(spec).decode()})
    return bytes(model.SerializeToString())


def outcome(path: Path, image: ByteArray) -> str:
    """ "runs", "refused", or what went wrong."""
    try:
        bundle = load_model(path)
        assert bundle.spec == msgspec.json.decode(bundle.spec.to_json(), type=type(bundle.spec))
        frame = Frame(0, 0, Fraction(1, 30), image, 0, *image.shape[:2], time.perf_counter())
        PartSegmenter(bundle, OnnxRuntimeBackend(bundle, threads=1))(frame)
    except ModelError as error:
        one_line = str(error).isprintable() and len(str(error)) < 1000
        return "refused" if one_line else f"bad: not one short line: {str(error)!r}"
    except BaseException as error:
        return f"bad: {type(error).__name__}: {error!r}"
    return "runs"


def main() -> None:
    path, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    sound = path.read_bytes()
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    victim = path.with_name("damaged.onnx")
    assert outcome(path, image) == "runs"
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for seed in range(first, last):
        print(seed, end=" ", flush=True)
        victim.write_bytes(damaged(sound, seed))
        print(outcome(victim, image), flush=True)


if __name__ == "__main__":
    main()
