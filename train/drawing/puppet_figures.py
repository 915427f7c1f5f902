"""The puppets' skeletons. A figure is a tuple of `Bone`s, root first; each bone is one rigid part.

Lengths are in units of 1/64 of the smaller image side, angles in degrees clockwise as seen (x right, y down; 0 points
right, 90 down). A bone's own frame has x along the bone, y across it, and its joint with the parent at the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

UNITS = 64
"""Length units along the smaller image side."""


@dataclass(frozen=True, slots=True)
class Bone:
    """One rigid part: its joint, appearance and range of motion."""

    name: str
    parent: str | None
    joint: str
    """Name of the joint at the bone's origin."""
    attach: tuple[float, float]
    """Position of that joint in the parent's frame (along, across); for the root, in units from the image centre."""
    length: float
    width: float
    """Width at the origin."""
    tip_width: float
    rest: float
    """Degrees from the parent's direction (for the root: from x) at zero motion."""
    swing: tuple[float, float]
    """Smallest and largest angle in degrees that motion adds to `rest`."""
    tip: str = ""
    """Name of the joint at the far end, if no other bone is attached there."""
    corner: float | None = None
    """None: a tapered capsule around its two joints. Otherwise: a box of `length` with this corner radius."""
    depths: tuple[float, ...] = (1.0,)
    """Nearness relative to the parent; each video draws one. Negative is farther away."""
    phase: float | None = None
    """Phase in the walking cycle, in turns; None moves freely."""
    shade: float = 1.0
    """Brightness; limbs of the far side are darker."""


@dataclass(frozen=True, slots=True)
class PuppetFigure:
    """Bones, each after its parent, and the motion of the whole figure."""

    bones: tuple[Bone, ...]
    wander: tuple[float, float] = (0.12, 0.05)
    """Largest translation in x and y, in fractions of the image's width and height."""
    breathing: float = 0.04
    """Largest relative change of scale over time."""


def _both(bone: Bone) -> tuple[Bone, Bone]:
    """The left limb, on the image's right because the figure faces the viewer, and its mirror image."""
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

HUMAN = PuppetFigure(
    (
        Bone("torso", None, "pelvis", (0, 2.8), 17, 9.5, 12.5, -90, (-15, 15), corner=4.2),
        Bone("head", "torso", "neck", (16.3, 0), 10.5, 8.5, 10, 0, (-20, 20), "head_top", 4.2, (1, -1)),
        *_both(_UPPER_ARM),
        *_both(_FOREARM),
        *_both(_THIGH),
        *_both(_SHIN),
    )
)

QUADRUPED = PuppetFigure(
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

ARM = PuppetFigure(
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

FIGURES: dict[str, PuppetFigure] = {"human": HUMAN, "quadruped": QUADRUPED, "arm": ARM}
