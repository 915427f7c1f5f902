"""`streamparts skeleton` of the command line: joints and a kinematic tree from a tracks file."""

from __future__ import annotations

import argparse
from pathlib import Path

SKELETON_EXAMPLES = """examples:
  streamparts skeleton dance.tracks.jsonl -o skeleton.json
      needs ten seconds of tracks or more, in which the parts move relative to each other
"""


def add_skeleton(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the others."""
    skeleton = commands.add_parser(
        "skeleton",
        help="find joints in tracks",
        description="Find joints between parts, and the tree they form, in the tracks of a moving subject, for run "
        "--skeleton.",
        epilog=SKELETON_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    skeleton.add_argument("tracks", metavar="TRACKS.jsonl", type=Path, help="tracks file written by run")
    skeleton.add_argument("-o", "--output", metavar="FILE.json", type=Path, required=True, help="skeleton to write")
    skeleton.add_argument("--force", action="store_true", help="replace an existing output")
    skeleton.add_argument("--debug", action="store_true", help="show a traceback on errors")
    skeleton.set_defaults(command=_skeleton)


def _skeleton(args: argparse.Namespace) -> int:
    from streamparts.files import check_outputs, write_whole
    from streamparts.tracksfile.skeleton import skeleton_of_tracks

    check_outputs([args.output], [args.tracks], args.force)
    skeleton = skeleton_of_tracks(args.tracks)
    write_whole(args.output, skeleton.to_json())
    names = skeleton.parts
    print(f"{len(skeleton.joints)} joints from {skeleton.num_frames} frames, outwards from {names[skeleton.root]}:")
    for joint in skeleton.joints:
        doubt = "" if joint.confidence >= 0.3 else "   uncertain"
        print(
            f"  {names[joint.parent]} - {names[joint.child]}: {joint.kind}, off by {100 * joint.residual:.1f} % of the "
            f"side, confidence {joint.confidence:.2f}{doubt}"
        )
    print(f"wrote {args.output}")
    return 0
