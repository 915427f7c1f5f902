"""Write one table for a folder of videos: the speed of each part, and how long it moved.

    python examples/animal_lab.py VIDEOS [--model mouse.onnx] [-o table.csv]

Tracks go to VIDEOS/tracks; a second run continues where the first one was interrupted. pip install
'streamparts[formats]'
"""

import argparse
from pathlib import Path

import pandas as pd

import streamparts
from streamparts.sources import expand_sources


def behaviour(poses: pd.DataFrame, moving: float) -> pd.DataFrame:
    """Return a row per part, from the columns of streamparts.to_pandas. Speeds are in pixels per second; a part moves
    if it is faster than `moving`, in shorter sides of the frame per second. Only intervals between frames that both
    show it count."""
    of_one = poses.sort_values("frame").groupby(["segment", "part"])
    steps = poses.assign(seconds=of_one["pts_seconds"].diff(), way=of_one["x"].diff() ** 2 + of_one["y"].diff() ** 2)
    steps = steps.assign(way=steps["way"] ** 0.5).dropna(subset=["way", "seconds"])
    steps["speed"] = steps["way"] / steps["seconds"]
    fast = steps["speed"] > moving * steps[["height", "width"]].min(axis=1)
    by_part = steps.assign(moving=steps["seconds"].where(fast, 0)).groupby("name", sort=False)
    return pd.DataFrame(
        {
            "seconds_seen": by_part["seconds"].sum(),
            "seconds_moving": by_part["moving"].sum(),
            "mean_speed": by_part["way"].sum() / by_part["seconds"].sum(),
            "top_speed": by_part["speed"].quantile(0.95),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, help="a folder")
    parser.add_argument("--model", help="of your animal (docs/train.md); without it, that of people")
    parser.add_argument("--moving", type=float, default=0.05, help="shorter sides of the picture per second; 0.05")
    parser.add_argument("-o", "--output", type=Path, default=Path("table.csv"))
    args = parser.parse_args()
    folder = args.videos / "tracks"
    folder.mkdir(exist_ok=True)
    tables = {}
    for video in map(Path, expand_sources([str(args.videos)])):
        tracks = folder / f"{video.stem}.jsonl"
        streamparts.run(video, args.model, tracks=tracks, resume=True, smoothing=streamparts.Smoothing())
        tables[video.name] = behaviour(streamparts.to_pandas(tracks), args.moving)
    table = pd.concat(tables, names=["video"]).round(3)
    table.to_csv(args.output)
    print(table.to_string())


if __name__ == "__main__":
    main()
