"""Check for dropped, duplicated or shifted frames: python -m benchmarks.counter [--num-frames 10000]

Each frame of a clip has its number burnt in as black and white blocks. The clip goes through `streamparts.run`. Then
the number in the frame of every result, the number of its line in the tracks, and the number in every frame of the
overlay must be 0, 1, 2 and so on, and the times those of the clip. The exit code reports the outcome. The network runs
as usual, but its result is not drawn, because that would cover the numbers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import streamparts
from streamparts.arrays import ByteArray
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.load import Bundle
from streamparts.data import NetworkOutputs, Tracks
from streamparts.sources.rescale import Rescaler

NUM_BITS = 16
HEIGHT, WIDTH = 96, 192
BLOCK = WIDTH // NUM_BITS
RATE = 30


def picture(number: int) -> ByteArray:
    """(HEIGHT, WIDTH, 3) RGB with `number` along the top, above a square that moves."""
    image = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    bits = [235 if number >> bit & 1 else 20 for bit in range(NUM_BITS)]
    image[:BLOCK] = np.repeat(bits, BLOCK)[None, :, None]
    x = number % (WIDTH - 30)
    image[50:80, x : x + 30] = (220, 40, 40)
    return image


def read_number(image: ByteArray) -> int:
    row = image[BLOCK // 2].mean(axis=-1)[BLOCK // 2 :: BLOCK]
    return sum(int(value > 128) << bit for bit, value in enumerate(row))


def write_clip(path: Path, num_frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})  # with B-frames
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(number), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def overlay_frames(path: Path) -> Iterator[tuple[int, float]]:
    """Number and time in seconds of every frame."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield read_number(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)), float(frame.time or 0)


def faults(found: list[tuple[int, float]], num_frames: int) -> int:
    """Number of deviations from 0, 1, 2... at their times, including missing and superfluous ones."""
    wrong = sum(number != place or abs(seconds - place / RATE) > 1e-5 for place, (number, seconds) in enumerate(found))
    return wrong + abs(len(found) - num_frames)


class Blind:
    """Runs the network and returns no parts."""

    name = "blind"

    def __init__(self, bundle: Bundle) -> None:
        self._inner = OnnxRuntimeBackend(bundle)

    def run(self, images: ByteArray) -> NetworkOutputs:
        outputs = self._inner.run(images)
        return outputs._replace(scores=np.zeros_like(outputs.scores))


def check(num_frames: int, model: str | None, folder: Path) -> dict[str, object]:
    clip, overlay, tracks = folder / "clip.mp4", folder / "overlay.mp4", folder / "tracks.jsonl"
    write_clip(clip, num_frames)
    rescaler = Rescaler()
    results: list[tuple[int, float]] = []

    def note(result: Tracks) -> None:
        results.append((read_number(rescaler.rgb(result.frame)), result.pts_seconds))

    bundle = streamparts.load_model(model)
    summary = streamparts.run(clip, bundle, backend=Blind(bundle), overlay=overlay, tracks=tracks, on_tracks=note)
    lines = [json.loads(line) for line in tracks.read_bytes().splitlines()[1:]]
    return {
        "frames": num_frames,
        "seconds": round(summary.seconds, 1),
        "faults in the results": faults(results, num_frames),
        "faults in the tracks file": faults([(line["frame"], line["pts_seconds"]) for line in lines], num_frames),
        "faults in the overlay": faults(list(overlay_frames(overlay)), num_frames),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="default: the bundled model")
    parser.add_argument("--num-frames", type=int, default=10_000, help=f"at most {2**NUM_BITS}")
    args = parser.parse_args()
    if not 0 < args.num_frames <= 2**NUM_BITS:
        parser.error(f"--num-frames must be between 1 and {2**NUM_BITS}")
    with tempfile.TemporaryDirectory() as folder:
        report = check(args.num_frames, args.model, Path(folder))
    print(json.dumps(report, indent=2))
    return int(any(value for key, value in report.items() if key.startswith("faults")))


if __name__ == "__main__":
    raise SystemExit(main())
