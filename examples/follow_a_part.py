"""Print the positions of one part: python examples/follow_a_part.py VIDEO [PART]"""

import sys

import streamparts

video = sys.argv[1] if len(sys.argv) > 1 else "examples/people.mp4"
part = int(sys.argv[2]) if len(sys.argv) > 2 else 0
for tracks in streamparts.track(video):
    if tracks.visible[part]:
        x, y = tracks.centers[part]
        print(f"{tracks.pts_seconds:7.3f} s  {tracks.names[part]}  {x:7.1f} {y:7.1f}  score {tracks.scores[part]:.2f}")
