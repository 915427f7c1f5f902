"""Named sets of rendered people, each of which does one thing that puppets cannot; made once, in a cache folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator

from train.bodies.builds import Array
from train.bodies.camera import Camera, turned_towards
from train.bodies.cast import Act, People
from train.bodies.colours import any_colour
from train.bodies.figure import moved
from train.bodies.film import NEAREST, film
from train.bodies.mesh import load_bodies
from train.bodies.motion import draw_headings
from train.bodies.outfit import Cloth, Outfit, draw_outfit
from train.bodies.pose import FAMILIES, LEFT, RIGHT, arm_directions, draw_of_family, is_possible, set_arm
from train.bodies.scene import Photos
from train.bodies.walking import DrawPose, change, walk
from train.drawing.puppet_clips import PuppetTruth, load_truth, truth_file, write_clip, write_truth

NUM_BODIES = 24
UNSEEN, TRAINING = 7700, 7701
"""Seeds of bodies and clips of the test sets and of those that label-free trainers learn from; models were trained on
others."""
FPS = 30
UPRIGHT = ("standing", "walking", "lunging", "dancing")
USUAL_ARMS = ("hanging", "on hips", "overhead", "reaching", "spread", "guarding", "to the head")
TRIES = 8
"""Draws of a pose until a possible one is accepted, as in pose.draw_pose."""

Scene = Callable[[Generator, People, Array], tuple[list[Act], Camera]]
"""Takes times (F,); returns people's motions, and a camera's place and direction."""


@dataclass(frozen=True)
class BodySet:
    """A set of clips."""

    name: str
    about: str
    scene: Scene
    subjects: int = 1
    nearest: float = NEAREST
    """See film.film."""


@dataclass(frozen=True)
class Clips:
    """Rendered clips of a set."""

    videos: tuple[Path, ...]
    subjects: int

    def truths(self, video: Path) -> list[PuppetTruth]:
        """Return the truth of each subject of one of the videos."""
        return [load_truth(truth_file(video, subject)) for subject in range(self.subjects)]


def posing(families: Sequence[str], arms: Sequence[str]) -> DrawPose:
    """Draw poses of these families with these arms; see pose.FAMILIES and pose.ARMS."""

    def draw(rng: Generator, joints: Array) -> Array:
        for _ in range(TRIES):
            pose = draw_of_family(rng, joints, FAMILIES[str(rng.choice(list(families)))][0])
            for side in (LEFT, RIGHT):
                set_arm(pose, rng, joints, side, *arm_directions(rng, str(rng.choice(list(arms)))))
            if is_possible(joints, pose):
                break
        return pose

    return draw


def seen_from(rng: Generator, act: Act, around: float, away: float, lift: float = 6.0) -> Camera:
    """Look at the middle of a clip from `around` degrees to the left of its start's front, from `away` metres."""
    angle, up = np.radians(around - 90), np.radians(lift)
    outwards = np.array([np.cos(angle) * np.cos(up), np.sin(angle) * np.cos(up), np.sin(up)], np.float32)
    middle = np.asarray(act.shown(len(act.figures) // 2).mean(0), np.float32)
    return Camera(turned_towards(-outwards, rng.normal(0, 2)), middle + away * outwards)


def _one(
    rng: Generator, people: People, seconds: Array, draw: DrawPose, headings: Array, outfit: Outfit | None = None
) -> Act:
    """A person who changes between poses on the spot."""
    index = int(rng.integers(len(people.bodies)))
    steps = change(rng, people.bodies.joints[index], seconds, draw)
    return people.acted(rng, index, outfit or draw_outfit(rng), steps, headings, travels=False)


def turning(rng: Generator, people: People, seconds: Array) -> tuple[list[Act], Camera]:
    """Turn around by 60 to 130 degrees a second, from any direction."""
    headings = rng.uniform(-180, 180) + rng.choice([-1, 1]) * rng.uniform(60, 130) * seconds
    act = _one(rng, people, seconds, posing(UPRIGHT, USUAL_ARMS), headings)
    return [act], seen_from(rng, act, 0.0, rng.uniform(3, 7), rng.normal(4, 5))


def hiding_oneself(rng: Generator, people: People, seconds: Array) -> tuple[list[Act], Camera]:
    """Cross the arms, hold the hands behind or before the trunk, or sit, seen from the side."""
    arms = ("crossed", "in the lap", "guarding", "behind", "on hips")
    act = _one(rng, people, seconds, posing((*UPRIGHT, "sitting"), arms), draw_headings(rng, seconds, 8.0, 12.0))
    return [act], seen_from(rng, act, rng.choice([-90, 90]) + rng.normal(0, 20), rng.uniform(3, 7), rng.normal(4, 5))


def close_up(rng: Generator, people: People, seconds: Array) -> tuple[list[Act], Camera]:
    """Reach for, or step towards, a camera with a wide angle that is an arm's length away from the hands."""
    draw = posing(("standing", "lunging", "dancing", "walking"), ("reaching", "guarding", "spread"))
    act = _one(rng, people, seconds, draw, draw_headings(rng, seconds, 15.0, 20.0))
    return [act], seen_from(rng, act, rng.normal(0, 25), 0.8, rng.uniform(-15, 35))


def one_colour(rng: Generator, people: People, seconds: Array) -> tuple[list[Act], Camera]:
    """Wear one plain colour from the neck to the feet, with folds but no borders between parts."""
    colour, outfit = any_colour(rng), draw_outfit(rng)
    cloth = Cloth(colour, colour, "plain", 1.0, 0.0, float(rng.uniform(0.05, 0.2)))
    same = replace(
        outfit, top=cloth, bottom=cloth, shoes=colour, socks=colour, hat=colour, sleeves=2.1, trousers=2.1, skirt=0.0
    )
    act = _one(rng, people, seconds, posing(UPRIGHT, USUAL_ARMS), draw_headings(rng, seconds, 30.0, 15.0), same)
    return [act], seen_from(rng, act, rng.normal(0, 60), rng.uniform(3, 7), rng.normal(6, 8))


def crossing(rng: Generator, people: People, seconds: Array) -> tuple[list[Act], Camera]:
    """Walk past each other across the image, at the distance of a shoulder or two."""
    acts, apart, still = [], rng.uniform(0.5, 1.1), np.eye(3, dtype=np.float32)
    for sign in (1, -1):
        index = int(rng.integers(len(people.bodies)))
        steps = walk(rng, people.bodies.joints[index], seconds)
        headings = np.full(len(seconds), sign * 90 + rng.normal(0, 6), np.float32)
        act = people.acted(rng, index, draw_outfit(rng), steps, headings)
        middle = act.shown(len(seconds) // 2).mean(0)
        lane = np.array([rng.normal(0, 0.15), sign * apart / 2, 0], np.float32) - middle * (1, 1, 0)
        acts.append(replace(act, figures=[moved(figure, still, lane) for figure in act.figures]))
    return acts, seen_from(rng, acts[0], rng.normal(0, 8), rng.uniform(4, 7), rng.normal(6, 4))


SETS = {
    each.name: each
    for each in (
        BodySet("turning", "people who turn around", turning),
        BodySet("self-occlusion", "arms across and behind the trunk, seen from the side", hiding_oneself),
        BodySet("perspective", "limbs towards a near camera with a wide angle", close_up, nearest=0.2),
        BodySet("one-colour", "clothes of one colour", one_colour),
        BodySet("crossing", "two people who cross", crossing, subjects=2),
    )
}


def open_set(each: BodySet, cache: Path, num_clips: int, num_frames: int, size: int, seed: int = UNSEEN) -> Clips:
    """Return the clips of a set, rendered unless they are in the cache. Raises MissingExtraError without anny."""
    folder = cache / f"{each.name}-{seed}-{num_frames}x{size}"
    people = None
    for number in range(num_clips):
        if not _video(folder, number).exists():
            people = people or People(load_bodies(cache / "bodies", NUM_BODIES, seed))
            _render(each, people, folder, number, num_frames, size, seed)
    return Clips(tuple(_video(folder, number) for number in range(num_clips)), each.subjects)


def _render(each: BodySet, people: People, folder: Path, number: int, num_frames: int, size: int, seed: int) -> None:
    rng = np.random.default_rng([seed, list(SETS).index(each.name), number])
    acts, camera = each.scene(rng, people, np.arange(num_frames) / FPS)
    clips = film(rng, people, acts, camera, Photos(), size, FPS, each.nearest)
    partial = folder.with_name(f".{folder.name}.{number}")
    partial.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    video = _video(partial, number)
    write_clip(clips[0], video)
    for subject, clip in enumerate(clips):
        write_truth(clip, truth_file(video, subject))
    # the video comes last: where it is, its truth is
    for path in sorted(partial.iterdir(), key=lambda path: path.suffix == ".mp4"):
        path.replace(folder / path.name)
    shutil.rmtree(partial)


def _video(folder: Path, number: int) -> Path:
    return folder / f"clip_{number:04d}.mp4"
