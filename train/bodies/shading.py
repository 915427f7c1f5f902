"""Light on surfaces: a lamp, the sky, folds, highlights, and the shade between near surfaces."""

from __future__ import annotations

import cv2
import numpy as np

from .builds import Array
from .camera import Camera, Light
from .pose import unit


def shade(normals: Array, rest: Array, uneven: Array, phases: Array, camera: Camera, light: Light) -> Array:
    """Return (M, 3) light: a soft lamp, more light from above than from below, and folds as waves of the normals."""
    normals = normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-6)
    # 1 if the surface faces the camera
    flip = np.sign(-(normals @ camera.turned[2]))[:, None]  # the insides of skirts
    normals = normals * np.where(flip == 0, 1, flip)
    # a wave along the body at rest, bent by a slower one: folds move with the cloth
    fold = np.sin(
        rest @ np.array([60, 35, 70], np.float32) + 3 * np.sin(rest @ np.array([22, 41, 13], np.float32) + phases[2])
    )
    fold += 0.7 * np.sin(rest @ np.array([-41, 50, 95], np.float32) + phases[3])
    lamp = np.clip((normals @ light.towards) * 0.85 + 0.15 + uneven * fold * 0.8, 0, 1)[:, None]
    sky = (0.8 + 0.2 * normals[:, 2] + 0.35 * uneven * fold)[:, None]
    rim = (0.82 + 0.18 * np.clip(-(normals @ camera.turned[2]) * 1.6, 0, 1))[:, None]
    return np.asarray((light.ambient * sky + 1.25 * light.colour * lamp) * rim, np.float32)


def highlight(normals: Array, camera: Camera, light: Light) -> Array:
    """(M, 3) the lamp's reflection, by Blinn and Phong, for normals (M, 3)."""
    half = unit(light.towards - camera.turned[2])
    length = np.linalg.norm(normals, axis=1) + 1e-6
    return np.asarray(np.clip(normals @ half / length, 0, 1)[:, None] ** 24 * light.colour, np.float32)


REACH = 0.035
"""How far a surface shades others, in world units, for looks with `contact`: about a finger's thickness."""


def hollows(nearness: Array, reach: float, towards: Array) -> Array:
    """(S, S, 1) in [0, 1] how much of a pixel's surroundings, more so towards the lamp, is nearer to the camera, for
    inverse depths (S, S) and a reach in pixels; found on half of the pixels."""
    small = cv2.resize(nearness, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_NEAREST)
    depth = 1 / np.maximum(small, 1e-3)
    out = np.zeros_like(depth)
    side = reach / 2
    lamp = towards[:2] / (np.linalg.norm(towards) + 1e-6)
    for turn in np.arange(10) * (2 * np.pi / 10):
        for far in (0.45, 1.0):
            x, y = far * side * (np.array([np.cos(turn), np.sin(turn)]) + 0.6 * lamp)
            move = np.array([[1, 0, x], [0, 1, y]], np.float32)
            flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
            there = cv2.warpAffine(depth, move, depth.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
            # 0 for surfaces at the same distance, 1 for a finger's thickness
            out += np.clip((depth - there) / REACH - 0.15 * far, 0, 1)
    soft = cv2.GaussianBlur(out / 20, (0, 0), max(0.6, side / 5))
    return np.asarray(np.clip(1.5 * cv2.resize(soft, nearness.shape[::-1]), 0, 0.85)[..., None], np.float32)
