"""The values of the pipeline: Frame -> NetworkOutputs -> Parts -> Tracks. Frozen, numpy only, validated on creation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray, require_shape, short_repr
from streamparts.errors import need
from streamparts.geometry import Letterbox, Region, box_around, box_of, displayed, mask_placement

if TYPE_CHECKING:
    import supervision
    from av import VideoFrame


@dataclass(frozen=True, slots=True)
class Gap:
    """A period in which a source supplied no frames."""

    reason: str
    """Cause in words, without credentials: "the connection was closed", "no frame for 5 s"."""
    seconds: float
    """Wall time from the last frame before the gap to the first one after it."""


@runtime_checkable
class DeviceImage(Protocol):
    """An (H, W, 3) uint8 RGB image in a GPU's memory."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    def turned(self, degrees: int) -> DeviceImage:
        """The image rotated counter-clockwise by 0, 90, 180 or 270 degrees."""

    def scaled(self, size_hw: tuple[int, int], crop: Region | None = None) -> ByteArray:
        """(h, w, 3) in the host's memory: the image, or a crop in whole pixels, scaled on the device."""

    def fitted(self, letterbox: Letterbox) -> DeviceImage:
        """The network's input, on the device."""


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """A video frame with its time. `image` stays as decoded; `rescale.Rescaler` reads it."""

    index: int
    """Position in the video, counted from 0 in display order."""
    pts: int
    """Presentation time in units of `time_base`, as in the file."""
    time_base: Fraction
    """Seconds per tick of `pts`."""
    image: VideoFrame | ByteArray | DeviceImage
    """A decoded PyAV frame before rotation, or an (H, W, 3) uint8 RGB array as displayed, here or in a GPU's memory."""
    rotation: int
    """Degrees counter-clockwise by which `image` must be rotated for display: 0, 90, 180 or 270."""
    height: int
    """Height as displayed, in pixels."""
    width: int
    """Width as displayed, in pixels."""
    decoded_at: float
    """`time.perf_counter()` when the frame left the decoder; latency counts from here."""
    segment: int = 0
    """Number of the segment, which increases after a reconnection or a change of frame size. Within a segment, `pts`
    increases and the size is constant."""
    dropped: int = 0
    """Frames of a live source dropped before this one, because a newer one had arrived; `index` counts them, too."""
    gap: Gap | None = None
    """The gap just before this frame, if a live source was lost."""
    damaged: bool = False
    """True if image data, of this frame or one it depends on, was lost in transit or could not be decoded."""

    __repr__ = short_repr

    @property
    def pts_seconds(self) -> float:
        return float(self.pts * self.time_base)


def standing_for(left_out: Frame, frame: Frame, num_dropped: int) -> Frame:
    """Return `frame` with the dropped frames and the gap of `left_out`, the frame before it."""
    if not (left_out.dropped or left_out.gap or num_dropped):
        return frame
    return replace(frame, dropped=frame.dropped + left_out.dropped + num_dropped, gap=_joined(left_out.gap, frame.gap))


def _joined(first: Gap | None, second: Gap | None) -> Gap | None:
    if first is None or second is None:
        return first or second
    same = first.reason == second.reason
    return Gap(first.reason if same else f"{first.reason}; {second.reason}", first.seconds + second.seconds)


class NetworkOutputs(NamedTuple):
    """Output of a network for N images."""

    labels: ByteArray
    """(N, H, W): 0 is background, k + 1 is part k."""
    affines: FloatArray
    """(N, K, 2, 3) canonical -> image, normalised."""
    scores: FloatArray
    """(N, K) in [0, 1]."""
    evidence: FloatArray | None = None
    """(N, K, 2) mass and peak of each part, if the model has them: see data.Parts."""


class Backend(Protocol):
    """Runs the network of one bundle. Called from one thread at a time."""

    @property
    def name(self) -> str:
        """Name for --backend."""

    def run(self, images: ByteArray) -> NetworkOutputs:
        """(N, H, W, 3) uint8 RGB at the model's input size -> outputs, whose arrays the caller owns: later calls do not
        change them. Raises ModelError for other images, and if the network fails."""


@runtime_checkable
class Overlapping(Backend, Protocol):
    """A backend that can start on a batch before the one before it is done. At most two batches wait for collect(). One
    thread may submit while another collects."""

    @property
    def max_batch(self) -> int:
        """Largest batch of submit()."""

    def rows(self, batch: int) -> ByteArray:
        """(batch, H, W, 3) uint8 memory to fill for the next submit(), which then copies nothing."""

    def submit(self, images: ByteArray) -> None:
        """Start on (N, H, W, 3) images, and return at once; they may be reused. Raises ModelError."""

    def collect(self) -> NetworkOutputs:
        """Wait for the oldest submitted batch, and return its outputs. Raises ModelError."""


@dataclass(frozen=True, slots=True, repr=False)
class Parts:
    """The network's output for one frame, in its normalised coordinates (see geometry.py)."""

    labels: ByteArray
    """(h, w) at model resolution: 0 is background, k + 1 is part k."""
    affines: FloatArray
    """(K, 2, 3) canonical -> model image, normalised to [-1, 1]."""
    scores: FloatArray
    """(K,) in [0, 1]; 0 for a part without pixels."""
    evidence: FloatArray | None = None
    """(K, 2) mass, the probability-weighted share of the image's pixels that belong to the part, and peak, the largest
    such probability; both in [0, 1]. None if the model does not have them."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        require_shape("labels", self.labels, (None, None))
        require_shape("affines", self.affines, (None, 2, 3))
        require_shape("scores", self.scores, (len(self.affines),))
        if self.evidence is not None:
            require_shape("evidence", self.evidence, (len(self.affines), 2))


@dataclass(frozen=True, slots=True, repr=False)
class Joints:
    """The joints of one frame, in pixels of the frame as displayed."""

    parts: tuple[tuple[int, int], ...]
    """(J,) numbers of the two parts at each joint; the first is nearer to the skeleton's root."""
    points: FloatArray
    """(J, 2) x, y; nan until one of the parts has been visible."""
    confidence: FloatArray
    """(J,) in [0, 1]: the skeleton's confidence in the joint times the higher score of its visible parts; 0 if neither
    is visible."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        require_shape("points", self.points, (len(self.parts), 2))
        require_shape("confidence", self.confidence, (len(self.parts),))


@dataclass(frozen=True, slots=True, repr=False)
class Tracks:
    """The parts of one frame with their identity over time, in pixels of the frame as displayed."""

    frame: Frame
    """The frame itself; its `index` and `pts_seconds` are repeated below for convenience."""
    letterbox: Letterbox
    """Maps model pixels to displayed pixels."""
    names: tuple[str, ...]
    """(K,) one per part, fixed by the model."""
    labels: ByteArray
    """(h, w) at model resolution: 0 is background, k + 1 is part k."""
    affines: FloatArray
    """(K, 2, 3) canonical -> displayed pixels; the unit circle becomes the part's ellipse
    (geometry.CANONICAL_SIGMAS standard deviations)."""
    scores: FloatArray
    """(K,) in [0, 1]."""
    areas: FloatArray
    """(K,) visible area in square displayed pixels."""
    visible: NDArray[np.bool_]
    """(K,) True if the part is visible in this frame."""
    filled: NDArray[np.bool_] | None = None
    """(K,) True for hidden parts placed by a skeleton; None without one."""
    joints: Joints | None = None
    """Joints between the parts; None without a skeleton."""
    subject: int = 0
    """Number of the followed subject, from 0."""
    subject_score: float | None = None
    """In [0, 1]: probability that the subject is in the frame; None if the model does not estimate it, or no subject is
    followed."""
    others: tuple[Tracks, ...] = ()
    """Only for subject 0 of several: the tracks of the others in the same frame."""
    side_certainty: FloatArray | None = None
    """(K,) in [0.5, 1]: share of the recent evidence that is for a part's side, 1 for parts without a side; None
    unless sides are voted on (Smoothing.side_seconds)."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        num_parts = len(self.names)
        require_shape("labels", self.labels, (None, None))
        require_shape("affines", self.affines, (num_parts, 2, 3))
        for name in ("scores", "areas", "visible"):
            require_shape(name, getattr(self, name), (num_parts,))
        if self.filled is not None:
            require_shape("filled", self.filled, (num_parts,))
        if self.side_certainty is not None:
            require_shape("side_certainty", self.side_certainty, (num_parts,))

    @property
    def index(self) -> int:
        return self.frame.index

    @property
    def pts_seconds(self) -> float:
        return self.frame.pts_seconds

    @property
    def num_parts(self) -> int:
        return len(self.names)

    @property
    def subjects(self) -> tuple[Tracks, ...]:
        """The tracks of all subjects in this frame, this one first."""
        return (self, *self.others)

    @property
    def region(self) -> Region | None:
        """Left, top, width and height of the region that the network saw, in displayed pixels; it may extend beyond the
        frame. None if it was the whole frame by design, and no subject is followed."""
        return None if self.letterbox.crop is None else self.letterbox.region

    @property
    def centers(self) -> FloatArray:
        """(K, 2) x, y in displayed pixels: the last column of each affine."""
        return self.affines[:, :, 2]

    def mask(self, part: int) -> NDArray[np.bool_]:
        """(h, w) at model resolution: True for the pixels of part `part`, counted from 0."""
        if not 0 <= part < self.num_parts:
            raise ValueError(f"part {part} is outside 0..{self.num_parts - 1}")
        mask: NDArray[np.bool_] = self.labels == part + 1
        return mask

    def to_supervision(self) -> supervision.Detections:
        """The visible parts as `supervision.Detections`: masks (n, height, width) in displayed pixels, their boxes,
        scores, part numbers as `class_id` and names as `data["class_name"]`. If several subjects are followed,
        `tracker_id` is the subject's number. Raises MissingExtraError without that package."""
        sv = need("supervision", "to_supervision", "supervision")
        found = [_detections(sv, subject) for subject in self.subjects]
        if self.others:
            for subject, each in zip(self.subjects, found, strict=True):
                each.tracker_id = np.full(len(each), subject.subject, np.int64)
        merged: supervision.Detections = sv.Detections.merge(found) if self.others else found[0]
        return merged


def _detections(sv: Any, tracks: Tracks) -> Any:
    height, width = tracks.frame.height, tracks.frame.width
    placement = mask_placement(tracks.letterbox)
    seen = np.flatnonzero(tracks.visible)
    masks = np.zeros((len(seen), height, width), np.bool_)
    boxes = list[tuple[float, float, float, float]]()
    for mask, part in zip(masks, seen.tolist(), strict=True):
        mask[:] = displayed(tracks.mask(part), *placement, height, width)
        boxes.append(box_of(mask) or box_around(tracks.affines[part], height, width))
    return sv.Detections(
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        mask=masks,
        confidence=tracks.scores[seen],
        class_id=seen.astype(np.int64),
        data={"class_name": np.array(tracks.names)[seen]},
    )
