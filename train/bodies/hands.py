"""Hands: each is another individual's, left or right, in a pose, bare or with a sleeve, seen from any side."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .arena import draw_arena
from .builds import Array
from .camera import Camera, draw_light, frame_it, look_at, turned_towards
from .cast import Act, BodyLooks, People, act_beside, beside
from .figure import BodyFigure, grid_faces, moved
from .fingers import HandPose, draw_hand_pose
from .hand_mesh import AXES, FINGERS, JOINTS, OTHER, PARENTS, PARTS, HandMesh
from .hand_skin import SKIN, THING, HandLooks, draw_looks
from .layers import paint_person
from .mesh import PARTS as BODY_PARTS
from .motion import number_of_keys, through
from .pose import about, place_joints, turn, unit
from .raster import skin, vertex_normals
from .scene import Photos, draw_background

CANONICAL_CENTRE = np.array([0, 0, -0.07], np.float32)
"""Middle of forearm and hand, so that canonical coordinates stay within 0.6."""
FLIP = np.array([-1, 1, 1], np.float32)
"""A right hand is a left one in the mirror."""
SECONDS_A_POSE = 0.8
"""Time from one pose of a hand to the next in clips."""
TURNS = 18.0
"""Degrees by which the whole arm turns between them, about each axis."""
APART = (0.25, 0.8)
"""Range of the distance between two hands."""
PALM_SIDE = np.array([0, -1, 0], np.float32)


@dataclass(frozen=True)
class Hands:
    """Hands with their arms; forearm and hand are 1 long together."""

    mesh: HandMesh
    people: People | None = None
    """People in the background, drawn without forearms."""
    parts: tuple[str, ...] = PARTS
    joints: tuple[str, ...] = JOINTS
    together: float = 0.18
    """Share of images with two hands, of one person or of two."""
    animals: bool = True
    blurred: float = 0.14

    def draw(self, rng: Generator) -> tuple[BodyFigure, HandLooks]:
        """Draw one arm with its hand, its lowest point on the floor."""
        looks = draw_looks(rng)
        return self._posed(rng, looks, int(rng.integers(len(self.mesh))), rng.random() < 0.5), looks

    def second(self, rng: Generator, first: BodyFigure, looks: BodyLooks) -> tuple[BodyFigure, BodyLooks]:
        """Draw the other hand of the same person, or another person's."""
        if not isinstance(looks, HandLooks) or rng.random() < 0.25:
            figure, other = self.draw(rng)
        else:
            other = replace(looks, rings=(), band=(9.0, 9.0))
            figure = self._posed(rng, other, int(rng.integers(len(self.mesh))), not is_right(first))
        return beside(rng, figure, first, APART), other

    def act(self, rng: Generator, seconds: Array) -> Act:
        """Draw one empty hand that changes between poses, in the air, and turns a little."""
        return self._acted(rng, seconds, draw_looks(rng), rng.random() < 0.5)

    def second_act(self, rng: Generator, seconds: Array, first: Act) -> Act:
        """The other hand of the same person, or anybody's."""
        looks, right = draw_looks(rng), not is_right(first.figures[0])
        if isinstance(first.looks, HandLooks) and rng.random() < 0.75:
            looks = replace(first.looks, rings=(), band=(9.0, 9.0))
        return act_beside(rng, self._acted(rng, seconds, looks, right), first, APART)

    def side(self, figure: BodyFigure) -> str:
        return "right" if is_right(figure) else "left"

    def _acted(self, rng: Generator, seconds: Array, looks: HandLooks, right: bool) -> Act:
        rest, joints = another_shape(rng, self.mesh, int(rng.integers(len(self.mesh))))
        keys = np.stack([draw_hand_pose(rng, joints)[0] for _ in range(number_of_keys(seconds, SECONDS_A_POSE))])
        whole = _whole(rng)
        keys[:, 0] = [whole @ turn(*rng.normal(0, TURNS, 3)) for _ in keys]
        poses = through(keys, seconds / SECONDS_A_POSE)
        figures = [self._skinned(rng, looks, rest, joints, pose, None, right) for pose in poses]
        wrist, still = JOINTS.index("wrist"), np.eye(3, dtype=np.float32)
        held = [moved(each, still, figures[0].joints[wrist] - each.joints[wrist]) for each in figures]
        shown = (self.mesh.places[:, 0] < rng.uniform(0.03, 0.8)) & (self.mesh.parts < OTHER)
        return Act(held, looks, framed=shown)

    def _posed(self, rng: Generator, looks: HandLooks, index: int, right: bool) -> BodyFigure:
        rest, joints = another_shape(rng, self.mesh, index)
        pose, hand = draw_hand_pose(rng, joints)
        pose[0] = _whole(rng)
        return self._skinned(rng, looks, rest, joints, pose, hand, right)

    def _skinned(
        self,
        rng: Generator,
        looks: HandLooks,
        rest: Array,
        joints: Array,
        pose: Array,
        hand: HandPose | None,
        right: bool,
    ) -> BodyFigure:
        """Pose and skin one hand with what it holds, and mirror right ones; its lowest point is on the floor."""
        mesh = self.mesh
        thick = looks.looseness(mesh.places, rest)[:, None] * vertex_normals(rest, mesh.faces)
        places, turned = place_joints(joints, pose, PARENTS)
        shift = places - np.einsum("jab,jb->ja", turned, joints)
        moves = np.concatenate([turned, shift[..., None]], axis=2).astype(np.float32)
        vertices = skin(np.asarray(rest + thick, np.float32), mesh.weights, moves)
        faces, parts, where, canonical = mesh.faces, mesh.parts, mesh.places, rest - CANONICAL_CENTRE
        materials = np.full((len(vertices), 1), SKIN, np.float32)
        if hand and hand.held:
            more, its_faces, its_rest = _thing(rng, hand, places, turned[JOINTS.index("palm3")])
            faces = np.concatenate([faces, its_faces + len(vertices)]).astype(np.int32)
            vertices, canonical = np.concatenate([vertices, more]), np.concatenate([canonical, its_rest])
            parts = np.concatenate([parts, np.full(len(more), OTHER, np.uint8)])
            where = np.concatenate([where, np.full((len(more), 8), -1, np.float32)])
            materials = np.concatenate([materials, np.full((len(more), 1), THING, np.float32)])
        facing = turned[JOINTS.index("wrist")] @ PALM_SIDE
        if right:
            vertices, canonical, places, facing = (some * FLIP for some in (vertices, canonical, places, facing))
            faces = np.ascontiguousarray(faces[:, ::-1])
        down = np.array([0, 0, vertices[:, 2].min()], np.float32)
        vertices, places = (np.asarray(some - down, np.float32) for some in (vertices, places))
        ends = np.stack([places[[JOINTS.index(joint) for joint in AXES[part]]] for part in PARTS])
        return BodyFigure(
            vertices, vertex_normals(vertices, faces), faces, parts, where, materials,
            np.asarray(canonical, np.float32), places, ends, np.asarray(facing, np.float32),
        )  # fmt: skip

    def view(self, rng: Generator, figure: BodyFigure, size: int) -> Camera:
        """Place the camera on any side, more often facing the palm or the back of the hand."""
        middle = np.asarray(figure.vertices[figure.parts < PARTS.index("forearm")].mean(0), np.float32)
        elbow = unit(figure.joints[JOINTS.index("elbow")] - middle)
        kind, lift = rng.random(), np.array([0, 0, rng.uniform(0, 0.8)]) if rng.random() < 0.3 else np.zeros(3)
        for _ in range(6):
            base = figure.facing * (1 if kind < 0.4 else -1) if kind < 0.65 else unit(rng.normal(0, 1, 3))
            outwards = unit(base + rng.normal(0, 0.4, 3) + lift)
            if outwards @ elbow < 0.6:  # else the arm hides the hand
                break
        if abs(outwards[2]) > 0.97:  # straight up and down have no level
            outwards = unit(outwards + np.array([0.3, 0, 0], np.float32))
        away = rng.uniform(0.8, 1.6) if rng.random() < 0.35 else rng.uniform(1.6, 5)
        roll = rng.normal(0, 9) if rng.random() < 0.82 else rng.uniform(-180, 180)
        return frame_hand(rng, Camera(turned_towards(-outwards, roll), middle + outwards * away), figure, size)

    def background(self, rng: Generator, size: int, horizon: float, photos: Photos) -> Array:
        """Draw a room, a photo or a desk, and people behind: their faces and clothes are negatives."""
        if rng.random() < 0.14:
            return draw_arena(rng, size)
        image = draw_background(rng, size, horizon, photos)
        if self.people is not None and rng.random() < 0.22:
            image = _with_person(rng, image, self.people)
        return image


def is_right(figure: BodyFigure) -> bool:
    """True if the thumb is to the left, seen from behind."""
    return bool(figure.rest[figure.parts == PARTS.index("thumb"), 0].mean() > 0)


def another_shape(rng: Generator, mesh: HandMesh, index: int) -> tuple[Array, Array]:
    """Lengthen and thicken fingers, palm and arm of a build; returns vertices (V, 3) and joints (J, 3) at rest."""
    joints = mesh.joints[index]
    scales = np.ones((len(JOINTS), 3), np.float32)
    thick, long = rng.uniform(0.9, 1.18), rng.uniform(0.92, 1.1)
    for number, finger in enumerate(FINGERS):
        own = thick * rng.uniform(0.96, 1.04)
        rows = [JOINTS.index(f"{finger}{k}") for k in (1, 2, 3)]
        # the thumb lies askew: it grows evenly
        scales[rows] = (own, own, long * rng.uniform(0.97, 1.03)) if number else ((own + long) / 2,) * 3
    palm = [JOINTS.index(name) for name in ("wrist", "palm2", "palm3", "palm4", "palm5")]
    scales[palm] = (rng.uniform(0.93, 1.1), thick, rng.uniform(0.95, 1.06))
    arm = rng.uniform(0.88, 1.25)
    scales[[JOINTS.index(name) for name in ("elbow", "twist", "upper_arm")]] = (arm, arm, 1)
    moved = np.zeros_like(joints)
    for j, parent in enumerate(PARENTS):
        moved[j] = joints[j] if parent < 0 else moved[parent] + scales[parent] * (joints[j] - joints[parent])
    # v' = sum_j w_j (J'_j + s_j (v - J_j)), componentwise
    moves = np.zeros((len(JOINTS), 3, 4), np.float32)
    moves[:, [0, 1, 2], [0, 1, 2]] = scales
    moves[:, :, 3] = moved - scales * joints
    return skin(mesh.vertices[index], mesh.weights, moves), moved.astype(np.float32)


def _whole(rng: Generator) -> Array:
    """Draw the (3, 3) orientation of the arm: mostly up, or level with any side up, or down, or anywhere."""
    kind, around = rng.random(), turn(0, 0, rng.uniform(-180, 180))
    tilt = rng.normal(0, 22, 2)
    if kind < 0.5:
        return np.asarray(around @ turn(tilt[0], tilt[1], 0) @ turn(0, 0, rng.uniform(-180, 180)), np.float32)
    if kind < 0.8:
        return np.asarray(around @ turn(90 + tilt[0], 0, 0) @ turn(0, 0, rng.uniform(-180, 180)), np.float32)
    if kind < 0.9:
        return np.asarray(around @ turn(180 + tilt[0], tilt[1], 0), np.float32)
    return about(rng.normal(0, 1, 3).astype(np.float32), rng.uniform(0, np.pi))


def _thing(rng: Generator, hand: HandPose, places: Array, turned: Array) -> tuple[Array, NDArray[np.int32], Array]:
    """Return vertices, triangles and positions at rest of a bar, a can, or a ball in the hand."""
    at = {name: places[j] for j, name in enumerate(JOINTS)}
    if hand.pinched:
        middle = (at["thumb_tip"] + at["index_tip"]) / 2
    else:
        middle = at["middle1"] + turned @ np.array([0, -0.02 - hand.held, -0.02], np.float32)
    columns, kind = 14, rng.random()
    long = hand.held * (rng.uniform(1, 3) if kind < 0.4 else rng.uniform(3, 14))
    if kind < 0.25:  # a ball
        angle = np.linspace(0, np.pi, 8)
        profile = np.stack([-np.cos(angle), np.sin(angle)], 1) * hand.held
    else:
        profile = np.array([(-long, 0), (-long, 1), (long, rng.uniform(0.6, 1.2)), (long, 0)]) * (1, hand.held)
    angles = np.linspace(0, 2 * np.pi, columns)
    # rings around the x axis, which lies across the palm
    rest = np.stack(
        [np.repeat(profile[:, 0], columns), np.outer(profile[:, 1], np.cos(angles)).ravel(),
         np.outer(profile[:, 1], np.sin(angles)).ravel()], 1,
    ).astype(np.float32)  # fmt: skip
    rest[:, 0] += rng.normal(0, 0.3) * long
    spin = turned @ (
        turn(*rng.uniform(-180, 180, 3)) if hand.pinched else turn(0, rng.normal(0, 15), rng.normal(0, 12))
    )
    return np.asarray(rest @ spin.T + middle, np.float32), grid_faces(len(profile), columns), rest


def frame_hand(rng: Generator, camera: Camera, figure: BodyFigure, size: int) -> Camera:
    """Choose zoom and principal point: the hand with more or less of the arm, filling the image or a part of it."""
    seen = camera.project(figure.vertices)[:, :2]
    share = float(rng.choice([rng.uniform(0.03, 0.2), rng.uniform(0.2, 1.0), 2.5], p=[0.42, 0.48, 0.1]))
    chosen = (figure.places[:, 0] < share) & (figure.materials[:, 0] < 0.5)
    low, high = seen[chosen].min(0), seen[chosen].max(0)
    side, kind = float((high - low).max()), rng.random()
    if kind < 0.12 and share < 0.2:  # cut off
        side, shift = side * rng.uniform(0.55, 0.95), rng.uniform(-0.25, 0.25, 2)
    elif kind < 0.28:  # a part of the picture
        side, shift = side * rng.uniform(1.6, 4.0), rng.uniform(-0.34, 0.34, 2)
    else:
        side, shift = side * rng.uniform(1.0, 1.7), rng.uniform(-0.15, 0.15, 2)
    focal, middle = size / side, (low + high) / 2 + shift * side
    centre = (size / 2 - focal * middle[0], size / 2 - focal * middle[1])
    return Camera(camera.turned, camera.place, focal, (float(centre[0]), float(centre[1])))


def _with_person(rng: Generator, image: Array, people: People) -> Array:
    """Paint a person without forearms over the background, mostly close and from the front."""
    figure, outfit = people.draw(rng)
    size = len(image)
    close = tuple(BODY_PARTS.index(name) for name in ("torso", "head"))
    camera = frame_it(rng, look_at(rng, figure), figure, size, (close, close))
    fore = [k for k, name in enumerate(BODY_PARTS) if name.endswith("forearm")]
    some = replace(figure, faces=np.ascontiguousarray(figure.faces[~np.isin(figure.parts[figure.faces[:, 0]], fore)]))
    layer = paint_person(some, outfit, camera, draw_light(rng, camera), size)
    cover, rgb = (
        cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)
        for part in ((layer.nearness > 0).astype(np.float32), layer.rgb)
    )
    return np.asarray(np.clip(image * (1 - cover[..., None]) + rgb, 0, 1), np.float32)
