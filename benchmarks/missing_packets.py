"""Leave single packets out of films, and count the frames that are wrong and not marked as damaged:
python -m benchmarks.missing_packets [CLIP ...] [--frames 50] [--every 5]

Each clip is encoded once per row, and read once per packet that is left out: every fifth one after the second, without
the keyframe and the last ten. A frame is wrong if its luma differs from that of the intact film. The last column is
also right for the intact film.
"""

from __future__ import annotations

import argparse
import os
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from av import VideoFrame
from av.packet import Packet
from av.video.stream import VideoStream

from benchmarks.markdown import table
from benchmarks.place import commit, machine
from streamparts.arrays import ByteArray
from streamparts.data import Frame
from streamparts.sources.files import FileSource
from streamparts.sources.rescale import plane_arrays
from tests.test_damage import without_packets

CLIPS = [Path(__file__).parents[1] / "examples" / name for name in ("people.mp4", "puppet.mp4")]
KINDS: dict[str, tuple[str, str, dict[str, str]]] = {
    "VP9, realtime, crf 32": (".webm", "libvpx-vp9", {"crf": "32", "b": "0", "deadline": "realtime", "cpu-used": "6"}),
    "VP9, hidden frames, crf 36": (
        ".webm",
        "libvpx-vp9",
        {"crf": "36", "b": "0", "deadline": "good", "cpu-used": "5", "lag-in-frames": "16"},
    ),
    "AV1, hidden frames": (".mkv", "libsvtav1", {"crf": "35", "preset": "10"}),
    "AV1, in order": (".mkv", "libsvtav1", {"crf": "35", "preset": "10", "svtav1-params": "pred-struct=1"}),
    "MPEG-4": (".avi", "mpeg4", {"bf": "0", "qscale": "5"}),
    "MPEG-4, B-frames": (".mp4", "mpeg4", {"bf": "2", "qscale": "5"}),
}


def film(path: Path, clip: Path, kind: str, count: int) -> list[int]:
    """Encode the clip's first frames. Returns the packets' sizes."""
    _, codec, options = KINDS[kind]
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=30, options=options)
        assert isinstance(stream, VideoStream)
        stream.codec_context.gop_size = 10 * count
        packets: list[Packet[VideoStream]] = []
        for number, image in enumerate(islice(source.decode(video=0), count)):
            if number == 0:
                stream.width, stream.height, stream.pix_fmt = image.width & ~1, image.height & ~1, "yuv420p"
            image = image.reformat(stream.width, stream.height, "yuv420p")
            image.pts, image.time_base = number, Fraction(1, 30)
            packets += stream.encode(image)
        packets += stream.encode(None)
        target.mux(packets)
    return [packet.size for packet in packets]


def read(path: Path) -> list[tuple[int, bool, ByteArray]]:
    """Time in 1/30 s, whether marked, and luma of each frame."""
    with FileSource(path) as source:
        return [(round(30 * frame.pts_seconds), frame.damaged, luma(frame)) for frame in source]


def luma(frame: Frame) -> ByteArray:
    assert isinstance(frame.image, VideoFrame)
    return np.array(plane_arrays(frame.image)[0])


def trials(folder: Path, clip: Path, kind: str, count: int, every: int) -> list[str]:
    """The row of the table."""
    whole, lacking = folder / f"film{KINDS[kind][0]}", folder / f"lacking{KINDS[kind][0]}"
    sizes = film(whole, clip, kind, count)
    intact = read(whole)
    lumas = {time: image for time, _, image in intact}
    num_harmful, num_missed, num_frames, num_in_vain = 0, 0, 0, sum(marked for _, marked, _ in intact)
    left_out = range(2, count - 10, every)
    for number in left_out:
        without_packets(whole, lacking, {number})
        seen = read(lacking)
        wrong = [marked for time, marked, image in seen if time not in lumas or not np.array_equal(image, lumas[time])]
        num_harmful += bool(wrong)
        num_missed += not all(wrong)
        num_frames += wrong.count(False)
        num_in_vain += sum(marked for _, marked, _ in seen) - sum(wrong)
    return [
        f"{clip.name}, {kind}", f"{np.median(sizes):.0f} B", str(len(left_out)), str(num_harmful), str(num_missed),
        str(num_frames), str(num_in_vain),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="*", default=CLIPS, metavar="CLIP")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=KINDS, default=list(KINDS), metavar="KIND")
    args = parser.parse_args()
    os.environ.setdefault("SVT_LOG", "1")
    rows = []
    for clip in args.clips:
        for kind in args.only:
            with TemporaryDirectory() as folder:
                rows.append(trials(Path(folder), clip, kind, args.frames, args.every))
            print(" | ".join(rows[-1]), flush=True)
    heads = ("film", "median packet", "losses", "that harm", "not found", "wrong unmarked frames", "marked in vain")
    print("\n" + table(heads, rows))
    print(f"\nCommit {commit()}; {', '.join(f'{key} {value}' for key, value in machine().items())}.")


if __name__ == "__main__":
    main()
