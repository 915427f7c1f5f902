"""Films moving bodies with a fixed, following or hand-held camera, and computes the truth of every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from streamparts.arrays import ByteArray, FloatArray, require_shape

from ..drawing.puppet_clips import PuppetClip
from .builds import Array
from .camera import Camera, Light, draw_light, horizon
from .cast import Act, Cast
from .figure import BodyFigure
from .layers import FINE, Layer, compose, paint_person
from .picture import part_depths, part_poses, shadow
from .scene import Photos
from .shot import Filming, Moment, Thing, exposure, moment

MARGINS = (0.92, 1.35)
"""Range of the side of the image, as a multiple of the longer side of the box of all frames."""
ROAMS = 0.8
"""Largest part of a path, in sizes of the body, that the camera does not follow."""
NEAREST = 0.7
"""Minimum distance of the vertices from the camera, in sizes of the body, by default."""
BY_HAND, SHAKE = 0.25, 0.012
"""Share of clips filmed by hand, and how far the image shakes, in sides."""

PLAIN = Filming()


@dataclass(frozen=True, kw_only=True)
class BodyClip(PuppetClip):
    """A rendered clip and the truth of one body in it."""

    depths: FloatArray
    """(F, K) distances of the parts along the view, see picture.part_depths."""
    facing: FloatArray
    """(F, 3) direction of the chest, the palm or the gripper: right, down, ahead."""
    side: str
    """`left` or `right` if the whole body is one of a pair, as a hand is; else empty: then the parts' names tell."""

    def __post_init__(self) -> None:
        PuppetClip.__post_init__(self)
        require_shape("depths", self.depths, self.visible_fraction.shape)
        require_shape("facing", self.facing, (len(self.labels), 3))


@dataclass(frozen=True)
class Take:
    """The camera at F times."""

    cameras: list[Camera]
    pans: Array
    """(F, 2) pixels by which a fixed point on the floor beside the body has moved in the image."""


def place_cameras(rng: Generator, camera: Camera, acts: list[Act], size: int, nearest: float = NEAREST) -> Take:
    """Let a camera follow the bodies and show them in every frame; of the given camera, only place and direction
    count."""
    middle = np.mean([[act.shown(i).mean(0) for i in range(len(act.figures))] for act in acts], 0)  # (F, 3)
    if len(middle) > 1:
        middle = gaussian_filter1d(middle, 5, axis=0, mode="nearest")
    body = float(np.ptp(acts[0].shown(0), axis=0).max())
    away = middle - middle[len(middle) // 2]
    # (F, 3) of the path: along the view, and across it
    depth = np.outer(away @ camera.turned[2], camera.turned[2])
    aside = away - depth
    follows = _followed(aside, body * rng.uniform(0, ROAMS)) * aside + _followed(depth, 1.5 * ROAMS * body) * depth
    # back along the view until no vertex is too near
    places = camera.place + follows - _too_near(camera, acts, follows, nearest * body) * camera.turned[2]
    plain = [Camera(camera.turned, place.astype(np.float32)) for place in places]
    focal, centre = _framing(plain, acts, size * rng.uniform(1 / MARGINS[1], 1 / MARGINS[0]), size)
    # white noise, smoothed over 7 frames, which leaves a fifth of its deviation
    shake = rng.normal(0, 1, (len(middle), 2)) * size * SHAKE * 8 * (rng.random() < BY_HAND)
    centres = centre + gaussian_filter1d(shake, 7, axis=0, mode="nearest")
    cameras = [
        replace(one, focal=focal, centre=(float(x), float(y))) for one, (x, y) in zip(plain, centres, strict=True)
    ]
    # the background pans as the floor under the body of the middle frame moves in the image
    floor = middle[len(middle) // 2][None] * (1, 1, 0)
    seen = np.concatenate([each.project(floor)[:, :2] for each in cameras])
    return Take(cameras, seen - seen[len(seen) // 2])


def _followed(path: Array, free: float) -> float:
    """Share of a path (F, 3) that the camera follows so that `free` of it remains."""
    return max(0.0, 1 - free / max(float(np.linalg.norm(np.ptp(path, axis=0))), 1e-6))


def _too_near(camera: Camera, acts: list[Act], follows: Array, least: float) -> float:
    depths = [
        float(((act.shown(i) - camera.place - shift) @ camera.turned[2]).min())
        for act in acts
        for i, shift in enumerate(follows)
    ]
    return max(0.0, least - min(depths))


def _framing(cameras: list[Camera], acts: list[Act], side: float, size: int) -> tuple[float, Array]:
    """Return the focal length and (2,) centre with which the bodies fill `side` pixels."""
    seen = [camera.project(act.shown(i)[::7])[:, :2] for act in acts for i, camera in enumerate(cameras)]
    low, high = np.min([s.min(0) for s in seen], 0), np.max([s.max(0) for s in seen], 0)
    # focal length 1 above: x_px = f x / z + c, so one factor and one shift fit all frames
    focal = side / float((high - low).max())
    return focal, size / 2 - focal * (low + high) / 2


def film(
    rng: Generator,
    cast: Cast,
    acts: list[Act],
    camera: Camera,
    photos: Photos,
    size: int,
    fps: int = 30,
    nearest: float = NEAREST,
    shot: Filming = PLAIN,
) -> list[BodyClip]:
    """Film bodies, which may hide each other; return a clip for each, with the same images and its own truth. The
    camera goes back until nothing is closer than `nearest` sizes of the body. Motion blur is in the images alone: the
    truth is that of the middle of each exposure."""
    take = place_cameras(rng, camera, acts, size, nearest)
    middle = take.cameras[len(take.cameras) // 2]
    light = draw_light(rng, middle)
    # large enough for the pans, up to three sides; (0, 0) is the pixel at `edge` of it
    edge = int(min(size, np.ceil(np.abs(take.pans).max())))
    large = size + 2 * edge
    background = cast.background(rng, large, (horizon(middle, size) * size + edge) / large, photos)
    soft = int(rng.integers(1 << 30)) if rng.random() < 0.7 else None
    stage = FilmSet(acts, background, edge, light, size, shot.thing)
    frames, truths = [], []
    for i, one in enumerate(take.cameras):
        now = moment(acts, take.cameras, take.pans, i)
        dark = stage.shadows(now, soft)
        image, seen = stage.paint(now, dark, FINE)
        if shot.shutter:
            moments = exposure(acts, take.cameras, take.pans, i, shot.shutter)
            if len(moments) > 1:
                image = np.mean([stage.paint(each, dark, 1)[0] for each in moments], axis=0)
        frames.append(np.asarray(np.clip(image, 0, 1) * 255 + 0.5, np.uint8))
        truths.append([_truth(act.figures[i], one, labels) for act, labels in zip(acts, seen, strict=True)])
    return [_clip(cast, act, np.stack(frames), [truth[n] for truth in truths], take, fps) for n, act in enumerate(acts)]


@dataclass(frozen=True)
class FilmSet:
    """Bodies to film, their surroundings and their light."""

    acts: list[Act]
    background: Array
    """(L, L, 3), larger than the image by `edge` pixels on each side."""
    edge: int
    light: Light
    size: int
    thing: Thing | None

    def shadows(self, now: Moment, soft: int | None) -> list[Array]:
        """(S, S, 1) the darkness of the floor below each body, none without the seed `soft`."""
        if soft is None:
            return []
        return [
            shadow(np.random.default_rng(soft), figure, now.camera, self.light, self.size) for figure in now.figures
        ]

    def paint(self, now: Moment, dark: list[Array], times: int) -> tuple[Array, list[ByteArray]]:
        """Paint a moment from `times` x `times` samples a pixel; also return the labels (S, S) of each body."""
        image = _window(self.background, now.pan - self.edge, self.size)
        for darkness in dark:
            image *= 1 - darkness
        for act in self.acts:
            if act.prop:
                act.prop.behind(image, now.camera, now.frame)
        layers = [
            paint_person(figure, act.looks, now.camera, self.light, self.size, times)
            for act, figure in zip(self.acts, now.figures, strict=True)
        ]
        image, _, _ = compose(image, layers, self.size)
        seen = seen_of_each(layers, times)
        for act in self.acts:
            if act.prop:
                self._hide(act.prop.before(image, now.camera, now.frame), seen)
        if self.thing:
            rgba = self.thing.seen(now.pan)
            image = image * (1 - rgba[..., 3:]) + rgba[..., :3]
            self._hide(rgba[..., 3] > 0.5, seen)
        return image, seen

    @staticmethod
    def _hide(hidden: NDArray[np.bool_], seen: list[ByteArray]) -> None:
        for labels in seen:
            labels[hidden] = 0


def seen_of_each(layers: list[Layer], times: int = FINE) -> list[ByteArray]:
    """(S, S) labels of each body where none of the others is nearer; see picture.compose."""
    # (FINE S, FINE S) inverse depth of the nearest body; labels are its middle samples
    nearest = np.max([layer.nearness for layer in layers], axis=0)
    some = slice(times // 2, None, times)
    return [np.ascontiguousarray(np.where(layer.nearness >= nearest, layer.labels, 0)[some, some]) for layer in layers]


def _window(background: Array, shift: Array, size: int) -> Array:
    """(size, size, 3) of a background moved by `shift` (2,), whose mirror image is beyond its borders."""
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101
    return np.asarray(cv2.warpAffine(background, matrix, (size, size), flags=flags, borderMode=border), np.float32)


Truth = tuple[ByteArray, Array, Array, Array, Array]
"""Labels, poses, visible shares, distances and direction of a body in a frame."""


def _truth(figure: BodyFigure, camera: Camera, labels: ByteArray) -> Truth:
    poses, seen = part_poses(figure, camera, labels)
    return labels, poses, seen, part_depths(figure, camera, len(poses)), camera.turned @ figure.facing


def _clip(cast: Cast, act: Act, frames: ByteArray, truths: list[Truth], take: Take, fps: int) -> BodyClip:
    labels, affines, seen, depths, facing = (np.stack(values) for values in zip(*truths, strict=True))
    joints = np.stack([camera.project(f.joints)[:, :2] for f, camera in zip(act.figures, take.cameras, strict=True)])
    return BodyClip(
        frames=frames,
        labels=labels,
        affines=affines,
        joints=joints.astype(np.float32),
        visible_fraction=seen,
        joint_names=cast.joints,
        part_names=cast.parts,
        fps=fps,
        depths=depths,
        facing=facing.astype(np.float32),
        side=cast.side(act.figures[0]),
    )
