"""Renders articulated textured figures to ordinary video with exact ground truth.

Tests, benchmarks, the demo and the bundled model use this video. The skeletons are in puppet_figures.py, the appearance
in puppet_paint.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.random import Generator

from streamparts.arrays import ByteArray, FloatArray, require_shape

from .puppet_figures import FIGURES, Bone
from .puppet_motion import Array, Size, animate
from .puppet_paint import Canvas, Patch, backgrounds, colours, paint


@dataclass(frozen=True, kw_only=True)
class PuppetTruth:
    """Ground truth of every frame of a clip: F frames, K parts, J joints."""

    labels: ByteArray
    """(F, H, W): 0 is background, k + 1 where part k is visible."""
    affines: FloatArray
    """(F, K, 2, 3) canonical -> normalised image coordinates. The unit circle becomes the `CANONICAL_SIGMAS` ellipse of
    the part as if unoccluded; the first axis points along the bone."""
    joints: FloatArray
    """(F, J, 2) x, y in continuous pixels."""
    visible_fraction: FloatArray
    """(F, K) in [0, 1]: visible area divided by the part's whole area, including hidden and outside pixels."""
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
    """A rendered clip and its ground truth."""

    frames: ByteArray
    """(F, H, W, 3) RGB."""

    def __post_init__(self) -> None:
        PuppetTruth.__post_init__(self)
        require_shape("frames", self.frames, (*self.labels.shape, 3))


def _depth_order(bones: Sequence[Bone], rng: Generator) -> list[int]:
    """Bone indices from back to front."""
    depth: dict[str | None, float] = {None: 0.0}
    for bone in bones:
        # relative to the parent: a forearm is before or behind its own upper arm
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
    poses = animate(figure, rng, seconds, size_hw)
    # A little finer than the largest pose, so that the texture is never magnified.
    resolution = 1.15 * float(np.sqrt(np.linalg.det(poses[:, 0]).max()))
    painted = zip(figure.bones, colours(figure.bones, rng), strict=True)
    patches = [paint(bone, colour, resolution, rng) for bone, colour in painted]
    order = _depth_order(figure.bones, rng)
    frames, labels = np.empty((num_frames, *size_hw, 3), np.uint8), np.empty((num_frames, *size_hw), np.uint8)
    for i, background in enumerate(backgrounds(rng, seconds, size_hw, moving_camera)):
        # painter's algorithm: from back to front
        canvas = Canvas(background)
        for k in order:
            canvas.add(patches[k], poses[i, k], k + 1)
        # + 0.5 rounds when floats become bytes
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
    # canonical -> bone (ellipse) -> pixels (pose) -> normalised
    affines = to_normalised @ poses @ np.stack([patch.ellipse for patch in patches])
    return np.asarray(affines[..., :2, :], np.float32)


def _joints(bones: Sequence[Bone], poses: Array) -> FloatArray:
    """(F, J, 2) pixels: every bone's origin, then the tips of the limbs."""
    # a bone lies along its own x axis
    tips = [poses[:, k] @ np.array([bone.length, 0, 1]) for k, bone in enumerate(bones) if bone.tip]
    return np.concatenate([poses[..., :2, 2], np.stack(tips, 1)[..., :2]], 1).astype(np.float32)


def _visible_fraction(labels: ByteArray, poses: Array, patches: Sequence[Patch]) -> FloatArray:
    """(F, K) visible pixels divided by the pixels of the whole part."""
    seen = np.stack([np.bincount(frame.ravel(), minlength=len(patches) + 1)[1:] for frame in labels])
    # the determinant is the scale of areas
    whole = np.linalg.det(poses) * [patch.area for patch in patches]
    return np.asarray(np.clip(seen / whole, 0, 1), np.float32)


def write_clip(clip: PuppetClip, path: str | Path, rate_factor: int = 17) -> None:
    """Write an H.264 mp4 to `path`, at x264's constant rate factor, and the truth to `<stem>.npz` beside it."""
    path = Path(path)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(clip.fps), options={"crf": str(rate_factor)})
        stream.height, stream.width, stream.pix_fmt = *clip.frames.shape[1:3], "yuv420p"
        for frame in clip.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    write_truth(clip, path)


def truth_file(video: str | Path, subject: int = 0) -> Path:
    """Return `<stem>.npz` beside a video, of further subjects `<stem>.subject1.npz` and so on."""
    video = Path(video)
    return video.with_suffix(".npz") if subject == 0 else video.with_name(f"{video.stem}.subject{subject}.npz")


def write_truth(truth: PuppetTruth, path: str | Path) -> None:
    """Write the truth of the video `path`, all but its frames, to `<stem>.npz` beside it."""
    arrays = {f.name: np.asarray(getattr(truth, f.name)) for f in fields(truth) if f.name != "frames"}
    np.savez_compressed(Path(path).with_suffix(".npz"), allow_pickle=False, **arrays)


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
    """Render clip_0000.mp4, clip_0001.mp4, ... from seeds `seed`, `seed + 1`, ...; only one is in memory at a time."""
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
