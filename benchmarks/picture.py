"""Draws the pictures of README and docs/bundled.md from bundled models and example clips.

examples:
  python -m benchmarks.picture docs/overlay.jpg
  python -m benchmarks.picture docs/bundled.jpg --rows dog=examples/dog.mp4 arm=examples/arm.mp4 --tile 200
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

import streamparts
from streamparts.arrays import ByteArray
from streamparts.sinks.overlay.canvas import rgb_canvas
from streamparts.sinks.overlay.drawing import draw_tracks
from streamparts.sources.rescale import Rescaler


def sheet(video: str, model: str | None, columns: int, rows: int, tile: int) -> ByteArray:
    """(rows * tile, columns * tile, 3) RGB: frames spread over the video, drawn as in the overlay."""
    with streamparts.open_source(video) as source:
        every = max(1, (source.num_frames or 1) // (columns * rows))
    rescaler, tiles = Rescaler(), list[ByteArray]()
    for tracks in streamparts.track(video, model=model):
        if tracks.index % every == 0 and len(tiles) < columns * rows:
            picture = rescaler.rgb(tracks.frame).copy()
            draw_tracks(rgb_canvas(picture), tracks)
            tiles.append(np.asarray(cv2.resize(picture, (tile, tile), interpolation=cv2.INTER_AREA), np.uint8))
    return np.concatenate([np.concatenate(tiles[r * columns : (r + 1) * columns], axis=1) for r in range(rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--video", default="examples/people.mp4")
    parser.add_argument("--model", default=None, help="default: the bundled model")
    parser.add_argument("--rows", nargs="+", metavar="MODEL=VIDEO", help="a row of five frames of each, instead")
    parser.add_argument("--tile", type=int, default=240)
    args = parser.parse_args()
    if args.rows:
        pairs = [row.partition("=")[::2] for row in args.rows]
        picture = np.concatenate([sheet(video, model, columns=5, rows=1, tile=args.tile) for model, video in pairs])
    else:
        picture = sheet(args.video, args.model, columns=4, rows=2, tile=args.tile)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_bytes(cv2.imencode(args.out.suffix, picture[..., ::-1])[1].tobytes())


if __name__ == "__main__":
    main()
