"""Hold a robot's joint at an angle measured by a camera: python examples/robot_arm.py [SOURCE] [MODEL]

From each frame, the program computes the angle between two parts, and from the angle a speed for the joint's motor,
which it passes to `send`: replace that function with your robot's call (this one only prints). Angles are those in the
image, so the camera must look along the joint's axis. A part's own direction was learned by the model: find TARGET by
running the program once.
"""

import contextlib
import math
import sys
import time
from collections.abc import Callable

import streamparts
from streamparts.sources import Source

PARTS = ("left_upper_arm", "left_forearm")
TARGET = -40.0  # degrees, clockwise on the screen
GAIN, FASTEST = 2.0, 60.0  # degrees per second for each degree that is missing, and at most
LATENCY = 0.05  # seconds from capture to motion; poses are predicted so far ahead


def joint_angle(tracks: streamparts.Tracks, parts: tuple[str, str]) -> float | None:
    """Degrees in [-180, 180) from the direction of the first part to that of the second; None if one is hidden."""
    first, second = map(tracks.names.index, parts)
    if not (tracks.visible[first] and tracks.visible[second]):
        return None
    one, other = (math.atan2(tracks.affines[part, 1, 0], tracks.affines[part, 0, 0]) for part in (first, second))
    return wrapped(math.degrees(other - one))


def wrapped(degrees: float) -> float:
    return (degrees + 180) % 360 - 180


def hold(source: Source, send: Callable[[float], None], model: str | None = None) -> None:
    """Run until the source ends. The motor is stopped while the joint is hidden, and at the end."""
    smoothing = streamparts.Smoothing(predict_seconds=LATENCY)
    with contextlib.closing(streamparts.track(source, model, smoothing=smoothing)) as results:
        try:
            for tracks in results:
                angle = joint_angle(tracks, PARTS)
                speed = 0.0 if angle is None else max(-FASTEST, min(FASTEST, GAIN * wrapped(TARGET - angle)))
                send(speed)
                age = 1000 * (time.perf_counter() - tracks.frame.decoded_at)
                seen = "hidden" if angle is None else f"at {angle:.1f} degrees"
                print(f"{tracks.pts_seconds:8.3f} s  {seen}, speed {speed:.1f}, {age:.0f} ms after capture", flush=True)
        finally:
            send(0.0)


if __name__ == "__main__":
    word, *model = sys.argv[1:] or ["webcam"]
    try:  # a lost camera ends the loop: the last speed must not persist
        with streamparts.open_source(word, idle_seconds=0.5, max_retries=0) as camera:
            hold(camera, lambda speed: None, *model)
    except (KeyboardInterrupt, streamparts.StreampartsError) as error:
        sys.exit(f"robot_arm: {error or 'stopped'}")
