"""Clips of one rendered person who moves and turns around, in the form of the puppets' clips. They include what puppets
lack: sides that change places, limbs behind the trunk, and perspective."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator
from scipy.spatial.transform import Rotation, Slerp

from ..drawing.puppet_clips import PuppetClip, write_clip
from .camera import Camera, draw_light, horizon, look_at
from .figure import BodyFigure, dress
from .mesh import JOINTS, PARTS, Array, Bodies
from .outfit import Outfit, draw_outfit
from .picture import compose, paint_person, part_poses
from .pose import draw_pose, turn
from .scene import Photos, draw_background

SECONDS_A_POSE = 0.9
MARGIN = 1.25
"""Side of the image, as a multiple of the longer side of the box of all frames."""


def render_person(
    rng: Generator, bodies: Bodies, photos: Photos, num_frames: int, size: int, fps: int = 30
) -> PuppetClip:
    """Render a clip of a person who moves from pose to pose and turns; equal draws give equal pixels."""
    index, outfit = int(rng.integers(len(bodies))), draw_outfit(rng)
    seconds = np.arange(num_frames) / fps
    poses = smooth_poses(rng, bodies.joints[index], seconds)
    folds = int(rng.integers(1 << 30))
    figures = [dress(bodies, index, pose, outfit, np.random.default_rng(folds)) for pose in poses]
    camera = frame_all(look_at(rng, figures[0]), figures, size)
    background = draw_background(rng, size, horizon(camera, size), photos)
    return _painted(rng, figures, outfit, camera, background, fps)


def _painted(
    rng: Generator, figures: list[BodyFigure], outfit: Outfit, camera: Camera, background: Array, fps: int
) -> PuppetClip:
    size, light = len(background), draw_light(rng, camera)
    frames, labels, affines, seen = [], [], [], []
    for figure in figures:
        image, found, _ = compose(background, [paint_person(figure, outfit, camera, light, size)], size)
        poses, share = part_poses(figure, camera, found)
        frames.append(np.asarray(np.clip(image, 0, 1) * 255 + 0.5, np.uint8))
        labels.append(found)
        affines.append(poses)
        seen.append(share)
    joints = np.stack([camera.project(figure.joints)[:, :2] for figure in figures])
    return PuppetClip(
        frames=np.stack(frames),
        labels=np.stack(labels),
        affines=np.stack(affines),
        joints=joints.astype(np.float32),
        visible_fraction=np.stack(seen),
        joint_names=JOINTS,
        part_names=PARTS,
        fps=fps,
    )


def smooth_poses(rng: Generator, joints: Array, seconds: Array) -> Array:
    """Return rotations (F, J, 3, 3) through random poses, one every SECONDS_A_POSE, with a short rest in each, while
    the body turns about the vertical."""
    count = int(np.ceil(seconds[-1] / SECONDS_A_POSE)) + 2
    keys = np.stack([draw_pose(rng, joints) for _ in range(count)])
    at = seconds / SECONDS_A_POSE
    step = np.floor(at)
    share = at - step
    eased = step + share**2 * (3 - 2 * share)
    out = np.empty((len(seconds), len(JOINTS), 3, 3), np.float32)
    for j in range(len(JOINTS)):
        out[:, j] = Slerp(np.arange(count), Rotation.from_matrix(keys[:, j]))(eased).as_matrix()
    speed = rng.normal(0, 40)
    for i, second in enumerate(seconds):
        out[i, 0] = turn(0, 0, speed * second) @ out[i, 0]
    return out


def frame_all(camera: Camera, figures: list[BodyFigure], size: int) -> Camera:
    """Choose zoom and position so that the person fits into every frame."""
    seen = [camera.project(figure.vertices[::7])[:, :2] for figure in figures]
    low, high = np.min([s.min(0) for s in seen], 0), np.max([s.max(0) for s in seen], 0)
    focal = size / (MARGIN * float((high - low).max()))
    centre = size / 2 - focal * (low + high) / 2
    return Camera(camera.turned, camera.place, focal, (float(centre[0]), float(centre[1])))


def write_clips(
    folder: Path,
    bodies: Bodies,
    photos: Photos,
    num_clips: int,
    num_frames: int,
    size: int,
    seed: int,
    say: Callable[[int], None],
) -> None:
    """Write clip_0000.mp4 and its ground truth clip_0000.npz, and so on, as the puppets are written; only one clip is
    in memory at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(num_clips):
        clip = render_person(np.random.default_rng([seed, 1, i]), bodies, photos, num_frames, size)
        write_clip(clip, folder / f"clip_{i:04d}.mp4")
        say(i + 1)
