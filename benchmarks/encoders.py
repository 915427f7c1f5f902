"""Compare the size of overlays at the quality of the default encoder: python -m benchmarks.encoders [CLIP] [--model X]

The overlay's frames are drawn once. First come the presets as shipped, with luma PSNR and SSIM to the drawn frames.
Each row of SETTINGS encodes them at several crf; the size is interpolated at the PSNR, and at the SSIM, of the default.
Frames delayed by a setting are lost if the process is killed.
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
from typing import NamedTuple

import av
import cv2
import numpy as np
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext

import streamparts
from benchmarks.markdown import table
from benchmarks.place import commit, machine
from streamparts.arrays import ByteArray, FloatArray
from streamparts.machine import ordinary_threads
from streamparts.sinks.overlay.canvas import yuv_canvas
from streamparts.sinks.overlay.drawing import Painter
from streamparts.sinks.overlay.encoders import AUTO, AV1, AV1_SLOW, SMALL, choose_encoder
from streamparts.sinks.overlay.style import DEFAULT_STYLE
from streamparts.sources.rescale import Rescaler, plane_arrays

CLIP = Path(__file__).parents[1] / "examples" / "puppet.mp4"
CRFS = {"libx264": (16, 19, 22, 25), "libx265": (15, 19, 23), "libsvtav1": (24, 28, 32, 37)}
"""Their range covers the quality of the default; where it does not, the row says "at least", or nothing."""
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
    "AV1, preset 2, as for screens": {"codec": "libsvtav1", "preset": "2", "g": "120", "svtav1-params": "scm=1"},
    "AV1, preset 2, tuned for SSIM": {"codec": "libsvtav1", "preset": "2", "g": "120", "svtav1-params": "tune=2"},
}
PRESETS = (AUTO, SMALL, AV1, AV1_SLOW)
FIXED = {"libx264": {"tune": "zerolatency", "forced-idr": "1"}}
"""Options of all rows, for encoding without delay; a row may override them."""


def drawn(clip: Path, model: str, count: int) -> list[VideoFrame]:
    rescaler, painter, pictures = Rescaler(), Painter(DEFAULT_STYLE), list[VideoFrame]()
    for tracks in islice(streamparts.track(clip, model), count):
        picture = rescaler.yuv(tracks.frame)
        painter.paint(yuv_canvas(picture, 0), tracks)
        pictures.append(picture)
    return pictures


class Encoded(NamedTuple):
    num_bytes: int
    psnr: float
    """dB, of the luma's mean squared error over all images."""
    ssim: float
    """dB: -10 log10(1 - mean SSIM of the luma)."""
    ms: float
    """Milliseconds of one core per image."""


def ssim_of(one: ByteArray, other: ByteArray) -> float:
    """Mean structural similarity of (H, W) images (Wang et al. 2004: Gaussian of 1.5 pixels, K = .01 and .03)."""
    a, b = one.astype(np.float32), other.astype(np.float32)

    def blurred(image: FloatArray) -> FloatArray:
        return np.asarray(cv2.GaussianBlur(image, (11, 11), 1.5), np.float32)

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    shared = blurred(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    upper = (2 * mean_a * mean_b + c1) * (2 * shared + c2)
    return float((upper / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def encoded(pictures: Sequence[VideoFrame], options: dict[str, str]) -> Encoded:
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
    lumas = [(plane_arrays(one)[0], plane_arrays(other)[0]) for one, other in zip(pictures, images, strict=True)]
    error = np.mean([np.square(one.astype(np.float32) - other).mean() for one, other in lumas])
    alike = np.mean([ssim_of(one, other) for one, other in lumas])
    psnr, ssim = float(10 * np.log10(255**2 / error)), float(-10 * np.log10(1 - alike))
    return Encoded(sum(packet.size for packet in packets), psnr, ssim, 1e3 * spent / len(pictures))


def shipped(name: str) -> dict[str, str]:
    """Options of a preset of --encoder."""
    encoder = choose_encoder(name)
    return {"codec": encoder.name, "g": "120" if name in (AV1, AV1_SLOW) else "30"} | encoder.options


def times_smaller(default: Encoded, at: Sequence[Encoded], measure: str) -> str:
    """How many times smaller than the default, at its quality by `measure`; beyond the tried crf, a bound."""
    wanted = getattr(default, measure)
    pairs = sorted((getattr(each, measure), each.num_bytes) for each in at)
    qualities, sizes = np.array(pairs).T
    ratio = default.num_bytes / float(np.exp(np.interp(wanted, qualities, np.log(sizes))))
    if wanted > qualities[-1]:
        return "-"
    return f"{'at least ' if wanted < qualities[0] else ''}{ratio:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="?", default=CLIP)
    parser.add_argument("--model", default="puppet-human")
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--presets", nargs="*", choices=PRESETS, default=list(PRESETS), help="presets to compare")
    parser.add_argument("--only", nargs="*", choices=SETTINGS, default=list(SETTINGS), metavar="SETTINGS")
    args = parser.parse_args()
    os.environ.setdefault("SVT_LOG", "1")
    pictures = drawn(args.clip, args.model, args.frames)
    default = encoded(pictures, shipped(AUTO))
    rows = []
    for name in dict.fromkeys([AUTO, *args.presets]):
        one = default if name == AUTO else encoded(pictures, shipped(name))
        ratio = f"{default.num_bytes / one.num_bytes:.2f}"
        rows.append(
            (name, f"{one.num_bytes / 1e3:.0f} kB", ratio, f"{one.psnr:.1f}", f"{one.ssim:.1f}", f"{one.ms:.1f} ms")
        )
    print(f"{args.clip.name}, {len(pictures)} frames\n")
    print(
        table(("--encoder", "size", "times smaller", "PSNR dB", "SSIM dB", "one core, a picture"), rows),
        "\n",
        flush=True,
    )
    rows = []
    for name in args.only:
        options = SETTINGS[name]
        at = [encoded(pictures, options | {"crf": str(crf)}) for crf in CRFS[options.get("codec", "libx264")]]
        ms = float(np.mean([each.ms for each in at]))
        rows.append((name, *(times_smaller(default, at, measure) for measure in ("psnr", "ssim")), f"{ms:.1f} ms"))
    heads = ("settings", "times smaller at the same PSNR", "at the same SSIM", "one core, a picture")
    print(table(heads, rows))
    print(f"\nCommit {commit()}; {', '.join(f'{key} {value}' for key, value in machine().items())}.")


if __name__ == "__main__":
    main()
