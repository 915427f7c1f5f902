"""Articulated textured figures rendered to ordinary video with exact ground truth: `python -m train.puppets`.

The project's own source of free video: tests, benchmark, demo and the shipped model use it. A figure is a
tuple of `Bone`s, root first; each bone is one rigid part. Lengths are in units of 1/64 of the smaller image
side, angles in degrees clockwise as seen (x right, y down; 0 points right, 90 down). A bone's own frame has x
along the bone, y across it, and its joint with the parent at the origin.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from itertools import repeat
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamparts.data import ByteArray, FloatArray, require_shape
from streamparts.geometry import CANONICAL_SIGMAS, mask_moments

Array = NDArray[np.float64]
Size = tuple[int, int]

UNITS = 64
"""Length units along the smaller image side."""


@dataclass(frozen=True, slots=True)
class Bone:
    """One rigid part: where it hangs, what it looks like and how it may move."""

    name: str
    parent: str | None
    joint: str
    """Name of the joint at the bone's origin."""
    attach: tuple[float, float]
    """That joint in the parent's frame (along, across); for the root, in units from the image centre."""
    length: float
    width: float
    """Width at the origin."""
    tip_width: float
    rest: float
    """Degrees from the parent's direction (for the root: from x) at zero motion."""
    swing: tuple[float, float]
    """Smallest and largest degrees that motion adds to `rest`."""
    tip: str = ""
    """Name of the joint at the far end, where no other bone hangs."""
    corner: float | None = None
    """None: a tapered capsule round its two joints. Else: a box of `length` with this corner radius."""
    depths: tuple[float, ...] = (1.0,)
    """Nearness relative to the parent; each video draws one. Negative is behind."""
    phase: float | None = None
    """Place in the walking cycle, in turns; None moves freely."""
    shade: float = 1.0
    """Brightness; the far side's limbs are darker."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Bones, each after its parent, and how the whole figure moves."""

    bones: tuple[Bone, ...]
    wander: tuple[float, float] = (0.12, 0.05)
    """Largest translation in x and y, in fractions of the image's width and height."""
    breathing: float = 0.04
    """Largest relative change of scale in time."""


def _both(bone: Bone) -> tuple[Bone, Bone]:
    """The left limb, on the image's right because the figure faces us, and its mirror image."""
    (along, across), (low, high) = bone.attach, bone.swing
    mirrored = replace(bone, attach=(along, -across), rest=-bone.rest, swing=(-high, -low))
    return _on_side("left", bone), _on_side("right", mirrored)


def _on_side(side: str, bone: Bone) -> Bone:
    parent = bone.parent if bone.parent == "torso" else f"{side}_{bone.parent}"
    tip = bone.tip and f"{side}_{bone.tip}"
    return replace(bone, name=f"{side}_{bone.name}", joint=f"{side}_{bone.joint}", parent=parent, tip=tip)


def _leg(leg: str, x: float, phase: float) -> tuple[Bone, Bone]:
    """Upper and lower leg of the quadruped; `leg` is near_front, near_hind, far_front or far_hind."""
    y, depth, shade = (5.0, -1.0, 0.55) if leg.startswith("far") else (3.0, 1.0, 1.0)
    upper, lower, hip, knee, foot = (f"{leg}_{n}" for n in ("upper_leg", "lower_leg", "hip", "knee", "foot"))
    return (
        Bone(upper, "body", hip, (x, y), 10, 7.5, 5.5, 90, (-34, 34), "", None, (depth,), phase, shade),
        Bone(lower, upper, knee, (10, 0), 11, 5, 4.5, 0, (-6, 52), foot, None, (-0.3,), phase + 0.3, shade),
    )


_UPPER_ARM = Bone("upper_arm", "torso", "shoulder", (14, 5), 10, 6, 5.5, 180, (-150, -10), depths=(4, -4))
_FOREARM = Bone("forearm", "upper_arm", "elbow", (10, 0), 10, 5.2, 5, 0, (-110, 20), "wrist", depths=(1, -1))
_THIGH = Bone("thigh", "torso", "hip", (0.6, 3.0), 12, 7.2, 6.2, 180, (-45, 10), depths=(-2, -1.5, -2.5))
_SHIN = Bone("shin", "thigh", "knee", (12, 0), 12, 6.2, 5.2, 0, (0, 50), "ankle", depths=(0.2, -0.2))

HUMAN = Figure(
    (
        Bone("torso", None, "pelvis", (0, 2.8), 17, 9.5, 12.5, -90, (-15, 15), corner=4.2),
        Bone("head", "torso", "neck", (16.3, 0), 10.5, 8.5, 10, 0, (-20, 20), "head_top", 4.2, (1, -1)),
        *_both(_UPPER_ARM),
        *_both(_FOREARM),
        *_both(_THIGH),
        *_both(_SHIN),
    )
)

QUADRUPED = Figure(
    (
        Bone("body", None, "origin", (-17, -4), 31, 12.5, 13.5, 0, (-6, 6), corner=6),
        Bone("neck", "body", "withers", (28, -3), 11, 9, 6.5, -52, (-22, 22), depths=(0.5,)),
        Bone("head", "neck", "poll", (11, 0), 9, 7.5, 5, 62, (-25, 25), "nose", depths=(1, -0.2)),
        Bone("tail", "body", "rump", (1.5, -4), 12, 4.5, 3.5, 205, (-50, 40), "tail_tip", depths=(-0.5,)),
        *_leg("near_front", 25.5, 0.0),
        *_leg("near_hind", 5.5, 0.5),
        *_leg("far_front", 21, 0.5),
        *_leg("far_hind", 10.5, 0.0),
    ),
    wander=(0.06, 0.05),
)

ARM = Figure(
    (
        Bone("base", None, "floor", (0, 28), 9, 26, 20, -90, (0, 0), corner=3),
        Bone("lower", "base", "swivel", (8, 0), 14, 9.5, 8, 0, (-50, 50), depths=(1, -1)),
        Bone("middle", "lower", "elbow", (14, 0), 12, 8, 6.8, 0, (-90, 90)),
        Bone("wrist", "middle", "wrist", (12, 0), 10, 6.8, 5.5, 0, (-80, 80)),
        Bone("left_jaw", "wrist", "left_hinge", (10.5, 1.6), 8, 4.4, 3.4, 12, (0, 45), "left_tip"),
        Bone("right_jaw", "wrist", "right_hinge", (10.5, -1.6), 8, 4.4, 3.4, -12, (-45, 0), "right_tip"),
    ),
    wander=(0.0, 0.0),
    breathing=0.0,
)

FIGURES: dict[str, Figure] = {"human": HUMAN, "quadruped": QUADRUPED, "arm": ARM}


@dataclass(frozen=True, kw_only=True)
class PuppetTruth:
    """What is known of every frame of a clip: F frames, K parts, J joints."""

    labels: ByteArray
    """(F, H, W): 0 is background, k + 1 is where part k is what one sees."""
    affines: FloatArray
    """(F, K, 2, 3) canonical -> normalised image coordinates. The unit circle becomes the `CANONICAL_SIGMAS`
    ellipse of the part as if nothing hid it; the first axis points along the bone."""
    joints: FloatArray
    """(F, J, 2) x, y in continuous pixels."""
    visible_fraction: FloatArray
    """(F, K) in [0, 1]: seen area over the part's whole area, hidden and outside included."""
    joint_names: tuple[str, ...]
    part_names: tuple[str, ...]
    fps: int

    def __post_init__(self) -> None:
        num_frames, num_parts = len(self.labels), len(self.part_names)
        require_shape("labels", self.labels, (None, None, None))
        require_shape("affines", self.affines, (num_frames, num_parts, 2, 3))
        require_shape("joints", self.joints, (num_frames, len(self.joint_names), 2))
        require_shape("visible_fraction", self.visible_fraction, (num_frames, num_parts))


@dataclass(frozen=True, kw_only=True)
class PuppetClip(PuppetTruth):
    """A rendered clip and its truth."""

    frames: ByteArray
    """(F, H, W, 3) RGB."""

    def __post_init__(self) -> None:
        PuppetTruth.__post_init__(self)
        require_shape("frames", self.frames, (*self.labels.shape, 3))


def _similarity(radians: Array, scale: Array, shift: Array) -> Array:
    """(F, 3, 3) from (F,) angles, (F,) scales and (F, 2) or (2,) translations."""
    out = np.zeros((len(radians), 3, 3))
    out[:, 0, 0] = out[:, 1, 1] = scale * np.cos(radians)
    out[:, 1, 0] = scale * np.sin(radians)
    out[:, 0, 1] = -out[:, 1, 0]
    out[:, :2, 2], out[:, 2, 2] = shift, 1
    return out


def kinematics(bones: Sequence[Bone], motion: Array, root: Array) -> Array:
    """(F, K, 3, 3) each bone's frame -> continuous pixels, from joint `motion` (F, K) in degrees and `root`
    (F, 3, 3), which maps units from the image centre to pixels."""
    placed: dict[str | None, Array] = {None: root}
    for bone, degrees in zip(bones, motion.T, strict=True):
        radians = np.deg2rad(bone.rest + degrees)
        local = _similarity(radians, np.ones_like(radians), np.array(bone.attach))
        placed[bone.name] = placed[bone.parent] @ local
    return np.stack([placed[bone.name] for bone in bones], 1)


def _wave(rng: Generator, seconds: Array, gestures: bool = False) -> Array:
    """(F,) smooth in [-1, 1]: the sine of a wandering phase, so it sweeps the range and never leaves it. A
    gesture is half a turn of that phase within a third of a second."""
    phase = rng.uniform(0, 2 * np.pi) + rng.choice([-1, 1]) * rng.uniform(1.2, 3.0) * seconds
    for _ in range(3):
        phase += rng.uniform(0.2, 0.8) * np.sin(2 * np.pi * (rng.uniform(0.15, 0.8) * seconds + rng.random()))
    for start in rng.uniform(0, seconds[-1] + 2, rng.integers(0, 2 + int(seconds[-1] / 4)) * gestures):
        t = np.clip((seconds - start) / rng.uniform(0.25, 0.45), 0, 1)
        phase += np.pi * t * t * (3 - 2 * t)
    return np.asarray(np.sin(phase))


def _animate(figure: Figure, rng: Generator, seconds: Array, size_hw: Size) -> Array:
    """(F, K, 3, 3) bone frames -> pixels of a random performance."""
    stride = rng.uniform(0.8, 1.5) * seconds + rng.random()
    motion = np.empty((len(seconds), len(figure.bones)))
    for k, bone in enumerate(figure.bones):
        low, high = bone.swing
        wave = _wave(rng, seconds, gestures=True)
        if bone.phase is not None:
            wave = 0.8 * np.sin(2 * np.pi * (stride + bone.phase)) + 0.2 * wave
        motion[:, k] = (low + high) / 2 + wave * (high - low) / 2
    slow = 0.4 * seconds
    scale = min(size_hw) / UNITS * rng.uniform(0.85, 1.1) * (1 + figure.breathing * _wave(rng, slow))
    drift = np.stack([_wave(rng, slow), _wave(rng, slow)], -1) * figure.wander
    root = _similarity(np.zeros_like(seconds), scale, (0.5 + drift) * size_hw[::-1])
    return kinematics(figure.bones, motion, root)


@dataclass(frozen=True, slots=True)
class Patch:
    """One part painted in its bone's frame."""

    rgba: ByteArray
    """(h, w, 4); the colour goes on where alpha is 0, so that interpolation mixes in no other colour."""
    to_units: Array
    """(3, 3) patch pixel indices -> bone frame in units."""
    ellipse: Array
    """(3, 3) canonical -> bone frame in units; no rotation, for every shape is symmetric about its bone."""
    area: float
    """Square units."""


def _distance(bone: Bone, x: Array, y: Array) -> Array:
    """Distance in units to the outline at points of the bone's frame, negative inside."""
    start, end, y = bone.width / 2, bone.tip_width / 2, np.abs(y)
    if bone.corner is not None:
        half = start + (end - start) * np.clip(x / bone.length, 0, 1)
        over_x = np.abs(x - bone.length / 2) - bone.length / 2 + bone.corner
        over_y = y - half + bone.corner
        outside = np.hypot(np.maximum(over_x, 0), np.maximum(over_y, 0))
        return np.asarray(outside + np.minimum(np.maximum(over_x, over_y), 0) - bone.corner)
    sin = (start - end) / bone.length
    cos = np.sqrt(1 - sin**2)
    along = cos * x - sin * y
    caps = np.where(along < 0, np.hypot(x, y) - start, np.hypot(x - bone.length, y) - end)
    return np.where((along >= 0) & (along <= cos * bone.length), cos * y + sin * x - start, caps)


def _paint(bone: Bone, colour: Array, resolution: float, rng: Generator) -> Patch:
    """Draw a part at `resolution` pixels per unit, with two pixels of empty margin."""
    reach = max(bone.width, bone.tip_width) / 2 + 2 / resolution
    shape = (round(2 * reach * resolution), round((bone.length + 2 * reach) * resolution))
    x = (np.arange(shape[1]) + 0.5) / resolution - reach
    y = (np.arange(shape[0]) + 0.5 - shape[0] / 2) / resolution
    grid_x, grid_y = np.meshgrid(x, y)
    distance = _distance(bone, grid_x, grid_y)
    alpha = np.clip(0.5 - distance * resolution, 0, 1)
    rim = np.clip(1 + distance / (0.22 * bone.width), 0, 1)[..., None]
    rgb = _texture(colour, grid_x, grid_y, rng) * bone.shade * (1.04 - 0.3 * rim**2)
    rgba = np.dstack([np.clip(rgb, 0, 1), alpha]) * 255 + 0.5
    to_units = np.array([[1 / resolution, 0, x[0]], [0, 1 / resolution, y[0]], [0, 0, 1]])
    mean, covariance, mass = mask_moments(alpha)
    half = np.array([shape[1], shape[0]]) / (2 * resolution)
    radii = CANONICAL_SIGMAS * np.sqrt(np.diag(covariance)) * half
    ellipse = np.array([[radii[0], 0, (mean[0] + 1) * half[0] - reach], [0, radii[1], 0], [0, 0, 1]])
    return Patch(rgba.astype(np.uint8), to_units, ellipse, mass / resolution**2)


def _texture(colour: Array, x: Array, y: Array, rng: Generator) -> Array:
    """(h, w, 3): the base colour, slow variation and one of four patterns; x, y in units."""
    turn, period = rng.uniform(0, np.pi), rng.uniform(2.6, 4.5)
    u = np.sin(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / period)
    v = np.sin(2 * np.pi * (y * np.cos(turn) - x * np.sin(turn)) / period)
    kind = rng.choice(["stripes", "dots", "checks", "plain"])
    wave = {"stripes": 2 * u, "dots": 3 * (u + v) - 2.5, "checks": 4 * u * v, "plain": 0 * u - 1}[kind]
    pattern = (0.5 + 0.5 * np.clip(wave, -1, 1))[..., None]
    contrast = rng.choice([-1, 1]) * rng.uniform(0.16, 0.3) + rng.uniform(-0.1, 0.1, 3)
    accent = np.clip(colour + contrast, 0, 1)
    return np.asarray(colour + pattern * (accent - colour) + 0.12 * _noise(rng, x.shape, 3))


def _noise(rng: Generator, shape: tuple[int, ...], cells: int) -> Array:
    """(h, w, 3) smooth noise in about [-1, 1], more light than hue, `cells` cells on the shorter side."""
    coarse = [max(2, round(cells * side / min(shape))) for side in shape]
    values = 0.7 * rng.uniform(-1, 1, (*coarse, 1)) + 0.4 * rng.uniform(-1, 1, (*coarse, 3))
    return np.asarray(cv2.resize(values, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float64)


def _hsv(hue: float, saturation: float, value: float) -> Array:
    """RGB in [0, 1]; hue in turns."""
    ramp = np.clip(np.abs((hue + np.array([0, 2, 1]) / 3) % 1 * 6 - 3) - 1, 0, 1)
    return np.asarray(value * (1 + saturation * (ramp - 1)))


def _colours(bones: Sequence[Bone], rng: Generator) -> list[Array]:
    """A saturated colour per part: of a few random ones the farthest from the others, its parent's first."""
    chosen: list[Array] = []
    for bone in bones:
        trials = np.stack([_hsv(rng.random(), rng.uniform(0.6, 0.95), rng.uniform(0.55, 0.98)) for _ in range(16)])
        gaps = [
            np.abs(trials - colour).sum(1) * (0.5 if other.name == bone.parent else 1)
            for other, colour in zip(bones, chosen, strict=False)
        ]
        chosen.append(trials[np.argmax(np.min(gaps, 0)) if gaps else 0])
    return chosen


def _background(rng: Generator, size_hw: Size) -> ByteArray:
    """(H, W, 3) RGB: a gradient, a few soft shapes and blurred noise, duller than any figure."""
    hue, value, turn = rng.random(), rng.uniform(0.35, 0.75), rng.uniform(0, 2 * np.pi)
    first, second = (_hsv(hue + rng.uniform(-0.2, 0.2), rng.uniform(0.05, 0.3), value) for _ in range(2))
    x, y = np.meshgrid(np.linspace(-1, 1, size_hw[1]), np.linspace(-1, 1, size_hw[0]))
    mix = (0.5 + 0.35 * (x * np.cos(turn) + y * np.sin(turn)))[..., None]
    image = first + mix * (second * rng.uniform(0.6, 1.4) - first)
    for _ in range(rng.integers(3, 8)):
        (left, top), (width, height) = rng.uniform(-1, 1, 2), rng.uniform(0.15, 0.6, 2)
        radius = np.hypot((x - left) / width, (y - top) / height)
        cover = 0.7 / (1 + np.exp(np.clip(rng.uniform(4, 20) * (radius - 1), -30, 30)))
        shade = _hsv(rng.random(), rng.uniform(0, 0.3), value + rng.uniform(-0.25, 0.25))
        image += cover[..., None] * (shade - image)
    for cells, amount in ((4, 0.08), (12, 0.06), (40, 0.04)):
        image += amount * _noise(rng, size_hw, cells)
    return np.asarray(np.clip(image, 0, 1) * 255 + 0.5, np.uint8)


def _backgrounds(rng: Generator, seconds: Array, size_hw: Size, moving: bool) -> Iterator[ByteArray]:
    """One (H, W, 3) picture per frame; a moving camera pans, zooms and turns over one 1.5 times as large."""
    if not moving:
        yield from repeat(_background(rng, size_hw), len(seconds))
        return
    picture = _background(rng, (size_hw[0] * 3 // 2, size_hw[1] * 3 // 2))
    turn, zoom, pan_x, pan_y = (_wave(rng, seconds / 2) for _ in range(4))
    middle = np.array(size_hw[::-1]) / 2
    camera = _similarity(0.08 * turn, 1 + 0.06 * zoom, middle * (1 + 0.25 * np.stack([pan_x, pan_y], -1)))
    camera[:, :2, 2] -= camera[:, :2, :2] @ (1.5 * middle)
    for matrix in camera[:, :2]:
        view = cv2.warpAffine(picture, matrix, size_hw[::-1], borderMode=cv2.BORDER_REFLECT)
        yield np.asarray(view, np.uint8)


class _Canvas:
    """One frame being painted from back to front."""

    def __init__(self, background: ByteArray) -> None:
        self.rgb = background.astype(np.float32)
        self.labels = np.zeros(background.shape[:2], np.uint8)
        self.share = np.ones(background.shape[:2], np.float32)
        """What the label's owner contributes to each pixel."""

    def add(self, patch: Patch, matrix: Array, label: int) -> None:
        """Composite a patch; `matrix` (3, 3) maps its bone's frame to continuous pixels."""
        affine = (matrix @ patch.to_units)[:2]
        affine[:, 2] -= 0.5  # cv2 puts pixel centres at whole numbers
        height, width = patch.rgba.shape[:2]
        corners = affine @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
        limit = np.array(self.labels.shape[::-1])
        left, top = np.clip(np.floor(corners.min(1)).astype(int), 0, limit)
        right, bottom = np.clip(np.ceil(corners.max(1)).astype(int) + 1, 0, limit)
        if right <= left or bottom <= top:
            return
        affine[:, 2] -= (left, top)
        window = (slice(top, bottom), slice(left, right))
        layer = cv2.warpAffine(patch.rgba, affine, (int(right - left), int(bottom - top))).astype(np.float32)
        self._blend(window, layer[..., :3], layer[..., 3] / np.float32(255), label)

    def _blend(self, window: tuple[slice, slice], rgb: FloatArray, alpha: FloatArray, label: int) -> None:
        self.rgb[window] += alpha[..., None] * (rgb - self.rgb[window])
        # Every earlier contribution shrinks by the same 1 - alpha, so the largest one stays the largest.
        self.share[window] *= 1 - alpha
        mine = alpha > self.share[window]
        self.labels[window][mine] = label
        self.share[window][mine] = alpha[mine]


def _depth_order(bones: Sequence[Bone], rng: Generator) -> list[int]:
    """Bone indices from back to front."""
    depth: dict[str | None, float] = {None: 0.0}
    for bone in bones:
        depth[bone.name] = depth[bone.parent] + float(rng.choice(bone.depths)) + rng.uniform(-0.01, 0.01)
    return sorted(range(len(bones)), key=lambda k: depth[bones[k].name])


def render_clip(
    kind: str,
    seed: int,
    num_frames: int = 96,
    size_hw: Size = (256, 256),
    *,
    moving_camera: bool = False,
    fps: int = 30,
) -> PuppetClip:
    """Render one clip; equal arguments give equal pixels. Raises ValueError for arguments out of range."""
    _check(kind, seed, num_frames, size_hw, fps)
    figure, rng = FIGURES[kind], np.random.default_rng([list(FIGURES).index(kind), seed])
    seconds = np.arange(num_frames) / fps
    poses = _animate(figure, rng, seconds, size_hw)
    # A little finer than the largest pose, so that the texture is never magnified.
    resolution = 1.15 * float(np.sqrt(np.linalg.det(poses[:, 0]).max()))
    painted = zip(figure.bones, _colours(figure.bones, rng), strict=True)
    patches = [_paint(bone, colour, resolution, rng) for bone, colour in painted]
    order = _depth_order(figure.bones, rng)
    frames, labels = np.empty((num_frames, *size_hw, 3), np.uint8), np.empty((num_frames, *size_hw), np.uint8)
    for i, background in enumerate(_backgrounds(rng, seconds, size_hw, moving_camera)):
        canvas = _Canvas(background)
        for k in order:
            canvas.add(patches[k], poses[i, k], k + 1)
        frames[i], labels[i] = canvas.rgb + 0.5, canvas.labels
    return PuppetClip(
        frames=frames,
        labels=labels,
        affines=_affines(poses, patches, size_hw),
        joints=_joints(figure.bones, poses),
        visible_fraction=_visible_fraction(labels, poses, patches),
        joint_names=(*(b.joint for b in figure.bones), *(b.tip for b in figure.bones if b.tip)),
        part_names=tuple(b.name for b in figure.bones),
        fps=fps,
    )


def _check(kind: str, seed: int, num_frames: int, size_hw: Size, fps: int) -> None:
    if kind not in FIGURES:
        raise ValueError(f"unknown kind {kind!r}; choose from {', '.join(FIGURES)}")
    if min(size_hw) < 32 or size_hw[0] % 2 or size_hw[1] % 2:
        raise ValueError(f"height and width must be even and at least 32, got {size_hw}")
    if seed < 0 or num_frames < 1 or fps < 1:
        raise ValueError(f"need seed >= 0, num_frames >= 1 and fps >= 1, got {seed}, {num_frames} and {fps}")


def _affines(poses: Array, patches: Sequence[Patch], size_hw: Size) -> FloatArray:
    """(F, K, 2, 3) canonical -> normalised image coordinates."""
    height, width = size_hw
    to_normalised = np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])
    affines = to_normalised @ poses @ np.stack([patch.ellipse for patch in patches])
    return np.asarray(affines[..., :2, :], np.float32)


def _joints(bones: Sequence[Bone], poses: Array) -> FloatArray:
    """(F, J, 2) pixels: every bone's origin, then the tips of the limbs."""
    tips = [poses[:, k] @ np.array([bone.length, 0, 1]) for k, bone in enumerate(bones) if bone.tip]
    return np.concatenate([poses[..., :2, 2], np.stack(tips, 1)[..., :2]], 1).astype(np.float32)


def _visible_fraction(labels: ByteArray, poses: Array, patches: Sequence[Patch]) -> FloatArray:
    """(F, K) seen pixels over the pixels of the whole part."""
    seen = np.stack([np.bincount(frame.ravel(), minlength=len(patches) + 1)[1:] for frame in labels])
    whole = np.linalg.det(poses) * [patch.area for patch in patches]
    return np.asarray(np.clip(seen / whole, 0, 1), np.float32)


def write_clip(clip: PuppetClip, path: str | Path) -> None:
    """Write an H.264 mp4 at `path` and the truth as `<stem>.npz` beside it."""
    path = Path(path)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(clip.fps), options={"crf": "17"})
        stream.height, stream.width, stream.pix_fmt = *clip.frames.shape[1:3], "yuv420p"
        for frame in clip.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    truth = {f.name: np.asarray(getattr(clip, f.name)) for f in fields(PuppetTruth)}
    np.savez_compressed(path.with_suffix(".npz"), allow_pickle=False, **truth)


def load_truth(path: str | Path) -> PuppetTruth:
    """Read the truth of a clip, given the path of its video or of its npz file."""
    with np.load(Path(path).with_suffix(".npz"), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in ("labels", "affines", "joints", "visible_fraction")}
        joint_names, part_names = (tuple(stored[name].tolist()) for name in ("joint_names", "part_names"))
        return PuppetTruth(joint_names=joint_names, part_names=part_names, fps=int(stored["fps"]), **arrays)


def write_clips(
    folder: str | Path,
    kind: str,
    num_clips: int,
    seed: int = 0,
    num_frames: int = 96,
    size_hw: Size = (256, 256),
    *,
    moving_camera: bool = False,
    fps: int = 30,
) -> list[Path]:
    """Render clip_0000.mp4, clip_0001.mp4, ... from seeds `seed`, `seed + 1`, ...; memory holds one."""
    if num_clips < 1:
        raise ValueError(f"num_clips must be at least 1, got {num_clips}")
    _check(kind, seed, num_frames, size_hw, fps)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"clip_{i:04d}.mp4" for i in range(num_clips)]
    for i, path in enumerate(paths):
        clip = render_clip(kind, seed + i, num_frames, size_hw, moving_camera=moving_camera, fps=fps)
        write_clip(clip, path)
    return paths


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m train.puppets", description="Render puppet clips with truth.")
    parser.add_argument("kind", help=", ".join(FIGURES))
    parser.add_argument("--out", type=Path, required=True, help="folder for clip_0000.mp4, clip_0000.npz, ...")
    numbers = {"num-clips": 48, "num-frames": 96, "size": 256, "seed": 0, "fps": 30}
    for flag, value in numbers.items():
        parser.add_argument(f"--{flag}", type=int, default=value, help=f"default: {value}")
    for flag in ("width", "height"):
        parser.add_argument(f"--{flag}", type=int, help="in pixels, default: --size")
    parser.add_argument("--moving-camera", action="store_true", help="the background pans, zooms and turns")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 for a wrong value or a folder that cannot be written, 2 for wrong usage."""
    args = _parser().parse_args(argv)
    height, width = (args.size if side is None else side for side in (args.height, args.width))
    looks = {"moving_camera": args.moving_camera, "fps": args.fps}
    try:
        write_clips(args.out, args.kind, args.num_clips, args.seed, args.num_frames, (height, width), **looks)
    except (ValueError, OSError, av.FFmpegError) as error:
        print(f"puppets: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
