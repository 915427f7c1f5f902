"""Print where a camera sees the parts, and the latency of each result: python examples/webcam.py [SOURCE] [MODEL]

SOURCE is webcam (the default), webcam:1, rtsp://..., a file, or test:// without a camera; Ctrl-C ends it. To see the
image instead: streamparts run webcam --show
"""

import contextlib
import sys
import time

import streamparts


def main(source: str = "webcam", model: str | None = None) -> None:
    with contextlib.closing(streamparts.track(source, model, smoothing=streamparts.Smoothing())) as results:
        for tracks in results:  # for a camera, always the newest frame
            age = 1000 * (time.perf_counter() - tracks.frame.decoded_at)
            places = zip(tracks.names, tracks.centers, tracks.visible, strict=True)
            seen = ", ".join(f"{name} {x:.0f} {y:.0f}" for name, (x, y), visible in places if visible)
            missed = f", {tracks.frame.dropped} frames missed" if tracks.frame.dropped else ""
            print(f"{tracks.pts_seconds:8.3f} s  {age:4.0f} ms old{missed}: {seen or 'nothing'}", flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
    except streamparts.StreampartsError as error:
        sys.exit(f"webcam: {error}")
