"""Accuracy of smoothed poses, on simulated tracks with known truth: python -m benchmarks.smoothing

Puppets alternately move for two to four seconds and rest for one. Measured poses have noise (1.5 px per axis on a frame
of 256 px, 5 degrees, 8 % of the scales), 2 % outliers of 25 px per axis, and parts are hidden for 0.1 to 0.4 s at a
time, during which the measurement is a guess 12 px off in each axis. Filters either do not get this guess, as in the
tracker, or get it with a low confidence. The skeleton is found in the measured tracks of the same clip.

Errors are of centres, RMS in pixels of that frame over all parts: when visible, at outliers, and when hidden. Jitter is
the mean step per frame at rest, for visible measurements that are no outliers; "all steps" is the RMS including
outliers and hidden parts. Lag is the delay at which smoothed and true tracks agree best.

Plain filters (benchmarks/plain_filters.py) are listed for comparison: they show how difficult these tracks are.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.plain_filters import one_euro, robust_kalman
from streamparts.tracking.pose_filter import PoseFilter
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.skeleton_finding import find_skeleton
from streamparts.tracking.smoothing import Smoothing
from train.drawing.puppet_figures import FIGURES
from train.drawing.puppet_motion import animate

SIDE = 256
PACE = 1.2
"""Speed factor of the puppets. Among 0.8, 1, 1.2, 1.4 and 1.7, the one at which the plain filters' errors are closest
to those reported for other tracks with this noise (sum of squared logarithms, seeds 100 to 111)."""
GUESS_CONFIDENCE = 0.1
"""Noise of a hidden part, chosen in the same way."""
BEST_DECAY_SECONDS = 0.15
"""Decay time of the velocity in `flown_on`: among 0, 0.04, 0.08, 0.15, 0.25 s the best at 60 fps, and near the best at
30."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Simulation:
    """F frames of K parts."""

    seconds: Array
    """(F,)"""
    truth: NDArray[np.float32]
    """(F, K, 2, 3) canonical -> pixels."""
    measured: NDArray[np.float32]
    """The same with noise and outliers."""
    seen: NDArray[np.bool_]
    """(F, K)"""
    outlier: NDArray[np.bool_]
    """(F, K)"""
    resting: NDArray[np.bool_]
    """(F,)"""


def simulate(seed: int, rate: float, length_seconds: float = 40.0, pace: float = PACE) -> Simulation:
    """A human puppet with pauses, and measurements of it as from a network."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(round(length_seconds * rate)) / rate
    played, resting = with_pauses(rng, seconds)
    frames = animate(FIGURES["human"], rng, pace * played, (SIDE, SIDE))
    truth = frames[:, :, :2, [0, 1, 2]].copy()
    lengths = np.array([bone.length for bone in FIGURES["human"].bones])
    truth[..., 2] += truth[..., 0] * (lengths / 2)[:, None]
    truth[..., :2] *= np.stack([lengths / 2, lengths / 4], -1)[:, None]
    num_frames, num_parts = truth.shape[:2]
    outlier = rng.random((num_frames, num_parts)) < 0.02
    seen = ~hidden(rng, num_frames, num_parts, rate)
    shift = rng.normal(0, 1.5, (num_frames, num_parts, 2))
    shift += np.where(outlier[..., None], rng.normal(0, 25, (num_frames, num_parts, 2)), 0)
    shift += np.where(seen[..., None], 0, rng.normal(0, 12, (num_frames, num_parts, 2)))
    turn = rng.normal(0, np.deg2rad(5), (num_frames, num_parts))
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    linear = rotation @ truth[..., :2] * np.exp(rng.normal(0, 0.08, (num_frames, num_parts, 1, 2)))
    measured = np.concatenate([linear, truth[..., 2:] + shift[..., None]], axis=-1)
    return Simulation(seconds, truth.astype(np.float32), measured.astype(np.float32), seen, outlier, resting)


def with_pauses(rng: Generator, seconds: Array) -> tuple[Array, NDArray[np.bool_]]:
    """(F,) times that advance for 2 to 4 s and stop for 1 s, alternately, with a quarter of a second in between; and
    when they stop."""
    pace, start = np.ones(len(seconds)), 0.0
    while start < seconds[-1]:
        stop = start + rng.uniform(2, 4)
        pace = np.minimum(pace, np.clip(np.maximum(stop - seconds, seconds - stop - 1.5) / 0.25, 0, 1))
        start = stop + 1.5
    played = np.concatenate([[0], np.cumsum(pace[:-1] * np.diff(seconds))])
    standing = pace == 0
    settled = standing & np.roll(standing, len(seconds) // round(4 * seconds[-1]))
    return played, settled


def hidden(rng: Generator, num_frames: int, num_parts: int, rate: float) -> NDArray[np.bool_]:
    """(F, K) about a twentieth of the time."""
    out = np.zeros((num_frames, num_parts), np.bool_)
    for part in range(num_parts):
        for start in rng.integers(round(rate), num_frames, round(num_frames / rate / 5)):
            out[start : start + round(rng.uniform(0.1, 0.4) * rate), part] = True
    return out


def smoothed(
    simulation: Simulation, smoothing: Smoothing, skeleton: Skeleton | None = None, told_guesses: bool = False
) -> tuple[NDArray[np.float32], float]:
    """Smoothed poses, and microseconds of processor time per part and frame."""
    num_parts = simulation.truth.shape[1]
    pose_filter = PoseFilter(num_parts, smoothing, skeleton)
    confidence = confidences(simulation).astype(np.float32)
    seen = np.ones_like(simulation.seen) if told_guesses else simulation.seen
    start, out = time.process_time(), []
    for row, seconds in enumerate(simulation.seconds):
        out.append(pose_filter.update(float(seconds), simulation.measured[row], confidence[row], seen[row], SIDE))
    return np.stack(out), 1e6 * (time.process_time() - start) / seen.size


def confidences(simulation: Simulation) -> Array:
    return np.where(simulation.seen, 1.0, GUESS_CONFIDENCE)


def plainly(simulation: Simulation, filtered: Callable[[Array, float], Array]) -> NDArray[np.float32]:
    """Poses whose centres a plain filter (centers, seconds per frame) smoothed."""
    poses = simulation.measured.copy()
    step = float(simulation.seconds[1] - simulation.seconds[0])
    poses[..., 2] = filtered(poses[..., 2].astype(np.float64), step)
    return poses


def plain_kalman(simulation: Simulation, told_guesses: bool) -> NDArray[np.float32]:
    confidence = confidences(simulation) if told_guesses else simulation.seen.astype(np.float64)
    return plainly(simulation, lambda centers, step: robust_kalman(centers, confidence, step))


def plain_one_euro(simulation: Simulation, cutoff_hz: float, gain: float) -> NDArray[np.float32]:
    return plainly(simulation, lambda centers, step: one_euro(centers, step, cutoff_hz, gain))


def plain_both(simulation: Simulation) -> NDArray[np.float32]:
    confidence = confidences(simulation)
    return plainly(simulation, lambda centers, step: one_euro(robust_kalman(centers, confidence, step), step, 2, 0.15))


def found_skeleton(simulation: Simulation) -> Skeleton:
    """The skeleton found in the measured tracks."""
    names = tuple(bone.name for bone in FIGURES["human"].bones)
    return find_skeleton(simulation.measured, simulation.seen.astype(np.float32), names, SIDE)


def flown_on(simulation: Simulation) -> NDArray[np.float32]:
    """The truth where parts are visible; hidden ones continue with their true last velocity, which decays: the limit
    for any prediction of this kind."""
    out, velocity = simulation.truth.copy(), np.zeros_like(simulation.truth[0, ..., 2])
    for row in range(2, len(out)):
        step = float(simulation.seconds[row] - simulation.seconds[row - 1])
        lost = ~simulation.seen[row]
        first = lost & simulation.seen[row - 1]
        velocity[first] = (simulation.truth[row - 1, first, :, 2] - simulation.truth[row - 2, first, :, 2]) / step
        out[row, lost, :, 2] = out[row - 1, lost, :, 2] + velocity[lost] * step
        velocity[lost] *= np.exp(-step / BEST_DECAY_SECONDS)
    return out


def figures(simulation: Simulation, poses: NDArray[np.float32]) -> dict[str, float]:
    """See the module's docstring."""
    centers, truth = poses[..., 2].astype(np.float64), simulation.truth[..., 2].astype(np.float64)
    squared = np.square(centers - truth).sum(-1)
    warm = (simulation.seconds > 1)[:, None]
    plain = simulation.seen & ~simulation.outlier & warm
    steps = np.hypot(*np.diff(centers, axis=0).transpose(2, 0, 1))
    resting = (simulation.resting[:, None] & warm)[1:]
    angles = np.arctan2(poses[..., 1, 0], poses[..., 0, 0]) - np.arctan2(
        simulation.truth[..., 1, 0], simulation.truth[..., 0, 0]
    )
    turned = (angles + np.pi) % (2 * np.pi) - np.pi
    return {
        "visible px": rms(squared[plain]),
        "with outliers px": rms(squared[simulation.seen & warm]),
        "at outliers px": rms(squared[simulation.outlier & simulation.seen & warm]),
        "hidden px": rms(squared[~simulation.seen & warm]),
        "jitter at rest px/frame": float(steps[resting & plain[1:]].mean()),
        "all steps px/frame": rms(np.square(steps[np.broadcast_to(resting, steps.shape)])),
        "lag ms": lag_ms(simulation.seconds, truth, centers, plain),
        "angle degrees": float(np.rad2deg(np.sqrt(np.mean(np.square(turned[simulation.seen & warm]))))),
    }


def rms(squared: Array) -> float:
    return float(np.sqrt(squared.mean()))


def lag_ms(seconds: Array, truth: Array, centers: Array, counted: NDArray[np.bool_]) -> float:
    """The delay of the truth, to within 1 ms, that fits the smoothed tracks best where `counted` (F, K)."""
    late = {}
    flat = truth.reshape(len(seconds), -1)
    for milliseconds in range(-30, 61):
        shifted = seconds - milliseconds / 1e3
        moved = np.stack([np.interp(shifted, seconds, column) for column in flat.T], axis=1)
        late[milliseconds] = float(np.square(moved.reshape(centers.shape) - centers)[counted].mean())
    return float(min(late, key=late.__getitem__))


def ours(
    simulation: Simulation, smoothing: Smoothing | None = None, told_guesses: bool = False, on_skeleton: bool = False
) -> NDArray[np.float32]:
    skeleton = found_skeleton(simulation) if on_skeleton else None
    return smoothed(simulation, smoothing or Smoothing(), skeleton, told_guesses)[0]


VARIANTS: dict[str, Callable[[Simulation], NDArray[np.float32]]] = {
    "none": lambda simulation: simulation.measured,
    "plain One-Euro 1.5/.02": functools.partial(plain_one_euro, cutoff_hz=1.5, gain=0.02),
    "plain One-Euro 1.5/.08": functools.partial(plain_one_euro, cutoff_hz=1.5, gain=0.08),
    "plain Kalman, with guesses": functools.partial(plain_kalman, told_guesses=True),
    "plain Kalman + One-Euro 2/.15, with guesses": plain_both,
    "plain Kalman": functools.partial(plain_kalman, told_guesses=False),
    "hidden parts extrapolated from the truth": flown_on,
    "ours, with guesses": functools.partial(ours, told_guesses=True),
    "ours, Kalman alone": functools.partial(ours, smoothing=Smoothing(cutoff_hz=(1e6, 1e6, 1e6))),
    "ours": ours,
    "ours, on the skeleton": functools.partial(ours, on_skeleton=True),
    "ours, on the skeleton, with guesses": functools.partial(ours, on_skeleton=True, told_guesses=True),
}


def table(rate: float, seeds: Sequence[int], pace: float = PACE) -> dict[str, dict[str, float]]:
    """Means over the seeds, by filter."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for seed in seeds:
        simulation = simulate(seed, rate, pace=pace)
        for name, variant in VARIANTS.items():
            rows[name].append(figures(simulation, variant(simulation)))
    return {
        name: {key: round(float(np.mean([row[key] for row in found])), 2) for key in found[0]}
        for name, found in rows.items()
    }


def cost_us() -> dict[str, float]:
    """Microseconds per part and frame."""
    simulation = simulate(0, 60.0)
    skeletons = {"alone": None, "on the skeleton": found_skeleton(simulation)}
    return {name: round(smoothed(simulation, Smoothing(), found)[1], 1) for name, found in skeletons.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--pace", type=float, default=PACE, help=f"playback speed of the puppets; default: {PACE}")
    args = parser.parse_args()
    for rate in (60.0, 30.0):
        for name, means in table(rate, args.seeds, args.pace).items():
            print(json.dumps({"fps": rate, "filter": name, **means}))
    for what, microseconds in cost_us().items():
        print(f"{microseconds} us a part and frame, {what}")


if __name__ == "__main__":
    main()
