"""Compare the size of overlays at the quality of the default encoder: python -m benchmarks.encoders [CLIP] [--model X]

The overlay's frames are drawn once. Each row of SETTINGS encodes them at several crf; the size is interpolated at the
luma PSNR of the default. Frames delayed by a setting are lost if the process is killed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext

import streamparts
from benchmarks.markdown import table
from benchmarks.place import commit, machine
from streamparts.machine import ordinary_threads
from streamparts.sinks.overlay.canvas import yuv_canvas
from streamparts.sinks.overlay.drawing import Painter
from streamparts.sinks.overlay.encoders import SMALL_ENCODER, SOFTWARE_ENCODER
from streamparts.sinks.overlay.style import DEFAULT_STYLE
from streamparts.sources.rescale import Rescaler, plane_arrays

CLIP = Path(__file__).parents[1] / "examples" / "puppet.mp4"
CRFS = {"libx264": (16, 19, 22, 25), "libx265": (15, 19, 23), "libsvtav1": (24, 28, 32, 36)}
"""Their range covers the quality of the default."""
DECODERS = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "libdav1d"}
SETTINGS: dict[str, dict[str, str]] = {
    "ultrafast, the default": {"preset": "ultrafast"},
    "superfast": {"preset": "superfast"},
    "veryfast": {"preset": "veryfast"},
    "veryfast, a key frame in 4 s": {"preset": "veryfast", "g": "120"},
    "veryfast, no psy": {"preset": "veryfast", "psy": "0"},
    "veryfast, trellis, 3 references": {"preset": "veryfast", "trellis": "1", "refs": "3"},
    "faster": {"preset": "faster"},
    "fast": {"preset": "fast"},
    "medium": {"preset": "medium"},
    "veryfast, 10 frames held back": {"preset": "veryfast", "tune": "", "x264-params": "bframes=0:rc-lookahead=10"},
    "veryfast, 10 held back, B-frames": {"preset": "veryfast", "tune": "", "x264-params": "bframes=2:rc-lookahead=10"},
    "slow, a second held back, a key frame in 4 s": {"preset": "slow", "tune": "", "g": "120"},
    "HEVC, fast": {"codec": "libx265", "preset": "fast"},
    "HEVC, medium, a key frame in 4 s": {"codec": "libx265", "preset": "medium", "g": "120"},
    "AV1, preset 8": {"codec": "libsvtav1", "preset": "8"},
    "AV1, preset 6, a key frame in 4 s": {"codec": "libsvtav1", "preset": "6", "g": "120"},
    "AV1, preset 5, a key frame in 4 s": {"codec": "libsvtav1", "preset": "5", "g": "120"},
    "AV1, preset 4, a key frame in 4 s": {"codec": "libsvtav1", "preset": "4", "g": "120"},
    "AV1, preset 2, a key frame in 4 s": {"codec": "libsvtav1", "preset": "2", "g": "120"},
}
FIXED = {"libx264": {"tune": "zerolatency", "forced-idr": "1"}}
"""Options of all rows, for encoding without delay; a row may override them."""


def drawn(clip: Path, model: str, count: int) -> list[VideoFrame]:
    rescaler, painter, pictures = Rescaler(), Painter(DEFAULT_STYLE), list[VideoFrame]()
    for tracks in islice(streamparts.track(clip, model), count):
        picture = rescaler.yuv(tracks.frame)
        painter.paint(yuv_canvas(picture, 0), tracks)
        pictures.append(picture)
    return pictures


def encoded(pictures: Sequence[VideoFrame], options: dict[str, str]) -> tuple[int, float, float]:
    """(bytes, PSNR in dB, milliseconds of one core per image)."""
    name = options.get("codec", "libx264")
    options = {key: value for key, value in (FIXED.get(name, {}) | options).items() if value and key != "codec"}
    if name == "libx265":  # FFmpeg's own option would be ignored
        options = {"preset": options["preset"], "x265-params": f"crf={options.get('crf', '28')}:log-level=none"} | {
            key: value for key, value in options.items() if key == "g"
        }
    codec = av.CodecContext.create(name, "w")
    assert isinstance(codec, VideoCodecContext)
    codec.height, codec.width, codec.pix_fmt = pictures[0].height, pictures[0].width, "yuv420p"
    codec.time_base, codec.gop_size, codec.thread_count = Fraction(1, 30), int(options.get("g", "30")), 1
    codec.options = options
    packets, start = [], time.process_time()
    for number, picture in enumerate(pictures):
        picture.pts, picture.time_base = number, Fraction(1, 30)
        with nullcontext() if number else ordinary_threads():
            packets += codec.encode(picture)
    packets += codec.encode(None)
    spent = time.process_time() - start
    decoder = av.CodecContext.create(DECODERS[name], "r")
    assert isinstance(decoder, VideoCodecContext)
    images = [image for packet in [*packets, None] for image in decoder.decode(packet)]
    errors = [
        np.square(plane_arrays(one)[0].astype(np.float32) - plane_arrays(other)[0]).mean()
        for one, other in zip(pictures, images, strict=True)
    ]
    psnr = float(10 * np.log10(255**2 / np.mean(errors)))
    return sum(packet.size for packet in packets), psnr, 1e3 * spent / len(pictures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="?", default=CLIP)
    parser.add_argument("--model", default="puppet-human")
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--only", nargs="*", choices=SETTINGS, default=list(SETTINGS), metavar="SETTINGS")
    args = parser.parse_args()
    os.environ.setdefault("SVT_LOG", "1")
    pictures = drawn(args.clip, args.model, args.frames)
    size, quality, ms = encoded(pictures, SOFTWARE_ENCODER.options)
    small = encoded(pictures, SMALL_ENCODER.options)
    for name, (num_bytes, psnr, spent) in (("auto", (size, quality, ms)), ("small", small)):
        print(
            f"{args.clip.name}, {len(pictures)} frames, {name}: {num_bytes / 1e3:.0f} kB, {psnr:.1f} dB, {spent:.1f} ms"
        )
    print()
    rows = []
    for name in args.only:
        options = SETTINGS[name]
        crfs = CRFS[options.get("codec", "libx264")]
        at = [encoded(pictures, options | {"crf": str(crf)}) for crf in crfs]
        sizes, qualities, times = (np.array(values) for values in zip(*at, strict=True))
        order = np.argsort(qualities)
        same = float(np.exp(np.interp(quality, qualities[order], np.log(sizes[order]))))
        crf = float(np.interp(quality, qualities[order], np.array(crfs)[order]))
        rows.append((name, f"{crf:.1f}", f"{same / 1e3:.0f} kB", f"{size / same:.2f}", f"{times.mean():.1f} ms"))
    print(table(("settings", "crf of the same quality", "size", "times smaller", "one core, a picture"), rows))
    print(f"\nCommit {commit()}; {', '.join(f'{key} {value}' for key, value in machine().items())}.")


if __name__ == "__main__":
    main()
