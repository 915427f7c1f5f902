"""Flags of `streamparts run` for sources and for the run itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamparts.cli.types import count, jsonl, moment, place, rate

if TYPE_CHECKING:
    from streamparts.runtime.options import Network, Tracking
    from streamparts.sources.reading import Reading
    from streamparts.tracking.smoothing import Smoothing


RUN_EXAMPLES = """examples:
  streamparts run dance.mp4
      writes dance.overlay.mp4 and dance.tracks.jsonl into the current folder
  streamparts run dance.mp4 --model my.onnx --tracks out/dance.jsonl --masks
      writes only the tracks, with a mask for every part
  streamparts run rtsp://user:password@camera/stream --max-fps 15
      tracks a camera, and reconnects if it is lost; the password is never displayed
  streamparts run test:// --model puppet-human --start 2 --end 0:05
      a moving test pattern: needs no camera
  streamparts run left.mp4 right.mp4 --out-dir out --stats
      tracks both in parallel with one model, and prints statistics on stderr every second
  streamparts run 'corpus/**/*.mp4' --out-dir out --workers 8 --no-overlay
      a corpus: several processes, a manifest; run again, it continues and adds new videos (docs/corpus.md)
  streamparts run webcam --send udp://127.0.0.1:9000 --send ws://127.0.0.1:8765
      sends every frame's tracks to other programs, and writes no files

docs/sources.md describes every kind of source, docs/messages.md the messages.
"""
SOURCE_HELP = (
    "video file, folder of images or frame_%%04d.png, webcam, webcam:1, screen, rtsp:// or other address, - for "
    "standard input, or test://"
)


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Flags for reading a source; see `reading_of`."""
    flags = parser.add_argument_group("source")
    flags.add_argument("--start", metavar="TIME", type=moment, help="start time: seconds or hh:mm:ss of the video")
    flags.add_argument(
        "--end", metavar="TIME", type=moment, help="end time, exclusive; for live sources, time since the start"
    )
    flags.add_argument("--every", metavar="N", type=count, default=1, help="track only every N-th frame (default: 1)")
    flags.add_argument(
        "--fps",
        metavar="FPS",
        type=rate,
        help="frame rate of images and of raw video, which have no timestamps (default: 25, or the header's)",
    )
    flags.add_argument(
        "--idle",
        metavar="SECONDS",
        type=rate,
        help="live only: lost after this many seconds without a frame (default: 5)",
    )
    flags.add_argument(
        "--damaged",
        choices=("keep", "drop"),
        default="keep",
        help="damaged frames: keep marks them and hides their parts, drop leaves them out (default: keep)",
    )
    flags.add_argument(
        "--hwaccel",
        metavar="NAME",
        choices=("none", "auto", "cuda", "vaapi", "qsv", "videotoolbox", "gpu"),
        default="none",
        help="hardware decoder for files: auto, cuda, vaapi, qsv, videotoolbox; or gpu, whose frames stay on the "
        "NVIDIA GPU; software if it fails (default: none)",
    )
    flags.add_argument(
        "--login",
        metavar="VARIABLE|@FILE",
        help="user:password for addresses without, from an environment variable or a file, because other users can "
        "see a program's arguments",
    )
    flags.add_argument(
        "--insecure",
        action="store_true",
        help="do not verify certificates of https, rtsps and the like: for self-signed cameras",
    )
    flags.add_argument(
        "--max-pixels", metavar="N", type=count, help="refuse images with more pixels (default: 64000000)"
    )
    flags.add_argument(
        "--max-retries", metavar="N", type=int, help="live only: reconnection attempts in a row (default: unlimited)"
    )


def add_runtime_flags(run: argparse.ArgumentParser) -> None:
    """Flags for the runtime."""
    run.add_argument("--out-dir", metavar="DIR", type=place, help="folder for outputs without a name (default: .)")
    run.add_argument(
        "--policy",
        choices=("all", "latest"),
        help="if frames arrive faster than they are tracked: all waits, latest drops all but the newest (default: "
        "all for files, latest for live sources)",
    )
    run.add_argument("--max-fps", metavar="FPS", type=rate, help="track at most this many frames per second")
    run.add_argument(
        "--stats",
        metavar="FILE.jsonl",
        nargs="?",
        const="-",
        type=jsonl,
        help="write a JSON line of latencies, rates and drops every second, by default to stderr",
    )


def reading_of(args: argparse.Namespace, one_source: bool) -> Reading:
    """Options of `add_source_flags` for reading a source; --fps must fit if there is just one."""
    from streamparts.sources.base import MAX_PIXELS
    from streamparts.sources.reading import Reading

    return Reading(
        start=args.start,
        end=args.end,
        every=args.every,
        damaged=args.damaged,
        fps=args.fps,
        fps_for_all=one_source,
        idle_seconds=None if args.idle is None else float(args.idle),
        max_retries=args.max_retries,
        hwaccel=args.hwaccel,
        insecure=args.insecure,
        max_pixels=args.max_pixels or MAX_PIXELS,
        login=args.login,
    )


def tracking_of(args: argparse.Namespace) -> Tracking:
    """The options that determine the tracks."""
    from streamparts.runtime.options import Tracking

    return Tracking(
        policy=args.policy,
        max_fps=None if args.max_fps is None else float(args.max_fps),
        smoothing=smoothing_of(args),
        skeleton=args.skeleton if isinstance(args.skeleton, Path) else None,
        roi=args.roi,
        subjects=args.subjects,
    )


def smoothing_of(args: argparse.Namespace) -> Smoothing | None:
    """The filter of the poses, if any."""
    from streamparts.tracking.sides import MEMORY_SECONDS
    from streamparts.tracking.smoothing import Smoothing

    if args.steady_sides:
        return Smoothing(side_seconds=MEMORY_SECONDS)
    return Smoothing() if args.smooth else None


def network_of(args: argparse.Namespace) -> Network:
    """The model, and how it is run."""
    from streamparts.runtime.options import Network

    return Network(args.model, args.backend, args.threads, args.trust_engine)
