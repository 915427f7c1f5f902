"""PartSegmenter: from a Frame to its Parts, through a backend."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, DeviceImage, Frame, NetworkOutputs, Overlapping, Parts
from streamparts.devices import OnDevice, OverlappingOnDevice
from streamparts.errors import ModelError
from streamparts.geometry import Letterbox, Region
from streamparts.sources.rescale import Rescaler
from streamparts.sources.sameness import middle_row, same_pixels

_ROUNDING = 0.02
"""Low precision may exceed the range of a share by this much."""
_MOST_KEPT = 4
"""Images of a run of the network above which they are not kept for a comparison: a search is not repeated."""
_NO_IMAGE: ByteArray = np.empty((0, 0, 3), np.uint8)
_FARTHEST = 1e4
"""Limit in half image sizes from the centre: no part is beyond it, and scaled to pixels it may overflow."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame as input of the network."""

    frame: Frame
    """The original frame."""
    letterbox: Letterbox
    """Maps model pixels to displayed pixels."""
    image: ByteArray
    """(H, W, 3) uint8 RGB at the model's input size; empty if it is on the device."""
    on_device: DeviceImage | None = None
    """The same in the memory of the backend's device."""


class PartSegmenter:
    """Finds the parts in a single frame. Its only memory is the last frame, whose result holds for an equal one.

    `prepare` and `infer` may run in two threads, one each, so that preparation costs the decoder's time, not the
    network's.
    """

    def __init__(self, bundle: Bundle, backend: Backend, reuses: bool = True) -> None:
        """With `reuses` False, for measurements, a frame that equals the last one is processed again."""
        self._reuses = reuses
        self._name = bundle.spec.name
        self._input_hw = bundle.spec.input_hw
        self._num_parts = bundle.spec.num_parts
        self._backend = backend
        self._on_device = backend if isinstance(backend, OnDevice) else None
        self._rescaler = Rescaler()
        self._last: Prepared | None = None
        """The last prepared frame, kept if its middle row was that of the frame before: a kept frame takes a buffer
        from the decoder, which makes every frame slower."""
        self._row: bytes | None = None
        """Middle row of the last frame."""
        self._answered: tuple[ByteArray | None, list[Parts]] = (None, [])
        """Images of the last run of the network, and what it found in them."""
        self._started: ByteArray | None = None
        """The image that `start` gave to the network last."""
        self._repeats: deque[bool] = deque()
        """For each frame that waits for `finish`, whether it shows the image of the one before."""
        self._finished: Parts | None = None
        """The last result of `finish`."""

    def __call__(self, frame: Frame) -> tuple[Letterbox, Parts]:
        prepared = self.prepare(frame)
        return prepared.letterbox, self.infer(prepared)

    def prepare(self, frame: Frame, region: Region | None = None, needs_image: bool = False) -> Prepared:
        """Scale the frame, or a region of it, to the model's input, with black borders that preserve the aspect
        ratio. From the third of equal frames on, none is scaled again. One in the memory of the backend's device stays
        there, unless the caller `needs_image` here."""
        letterbox = Letterbox.fit((frame.height, frame.width), self._input_hw, region)
        if self._on_device is not None and not needs_image and isinstance(frame.image, DeviceImage):
            return Prepared(frame, letterbox, _NO_IMAGE, frame.image.fitted(letterbox))
        last, before, self._row = self._last, self._row, middle_row(frame) if self._reuses else None
        repeats = self._row is not None and self._row == before
        if repeats and last is not None and last.letterbox == letterbox and same_pixels(frame, last.frame):
            return replace(last, frame=frame)
        inner = self._rescaler.rgb(frame, letterbox.inner_hw, letterbox.crop)
        prepared = Prepared(frame, letterbox, letterbox.pad(inner))
        self._last = prepared if repeats else None
        return prepared

    def infer(self, prepared: Prepared) -> Parts:
        """Run the network on one prepared frame. Raises ModelError if it fails or returns nan, infinity, labels without
        a part, or other sizes than in its description."""
        return self.infer_batch([prepared])[0]

    def infer_batch(self, prepared: Sequence[Prepared]) -> list[Parts]:
        """The same for several frames at once: a higher frame rate at a higher latency. The network does not run on
        the images of the last call again."""
        if prepared[0].on_device is not None:
            assert self._on_device is not None
            return self._parts(self._on_device.run_on_device(_there(prepared)), prepared)
        images = prepared[0].image[None] if len(prepared) == 1 else np.stack([item.image for item in prepared])
        before, found = self._answered
        if before is None or not np.array_equal(images, before):
            found = self._parts(self._backend.run(images), prepared)
            # a copy, because the caller may write the next image into the same memory
            self._answered = (images.copy() if self._reuses and len(images) <= _MOST_KEPT else None, found)
        return [_own(parts) for parts in found]

    @property
    def overlaps(self) -> bool:
        """True if `start` and `finish` can be used: the network then runs while the caller does something else."""
        return isinstance(self._backend, Overlapping)

    def start(self, prepared: Prepared) -> None:
        """Start on a frame; at most two may wait for `finish`. The network does not run again on the image in memory
        that was started last. Raises ModelError."""
        if prepared.on_device is not None:
            assert isinstance(self._backend, OverlappingOnDevice)
            self._backend.submit_on_device(_there([prepared]))
            self._started = None
            self._repeats.append(False)
            return
        backend = self._overlapping()
        again = self._started is not None and np.array_equal(prepared.image, self._started)
        if not again:
            rows = backend.rows(1)
            rows[0] = prepared.image
            backend.submit(rows)
            self._started = prepared.image.copy() if self._reuses and _MOST_KEPT else None
        self._repeats.append(again)

    def finish(self, prepared: Prepared) -> Parts:
        """Return the parts of the oldest frame that was started. Raises ModelError, as `infer`."""
        backend = self._overlapping()
        if not (self._repeats and self._repeats.popleft()):
            self._finished = None
            self._finished = self._parts(backend.collect(), [prepared])[0]
        if self._finished is None:
            raise ModelError(f"{self._name}: the network failed on the frame before, which looks the same")
        return _own(self._finished)

    def _overlapping(self) -> Overlapping:
        if not isinstance(self._backend, Overlapping):
            raise ValueError(f"{self._backend.name} runs one batch after the other")
        return self._backend

    def _parts(self, outputs: NetworkOutputs, prepared: Sequence[Prepared]) -> list[Parts]:
        labels, affines, scores, evidence = self._checked(outputs, prepared)
        return [
            Parts(labels[i], affines[i], scores[i], None if evidence is None else evidence[i])
            for i in range(len(prepared))
        ]

    def _checked(self, outputs: NetworkOutputs, prepared: Sequence[Prepared]) -> NetworkOutputs:
        labels, affines, scores, evidence = outputs
        num, num_parts = len(prepared), self._num_parts
        if labels.shape != (num, *self._input_hw) or labels.max() > num_parts:
            raise self._nonsense("labels that contradict its description", prepared[0])
        if affines.shape != (num, num_parts, 2, 3) or scores.shape != (num, num_parts):
            raise self._nonsense("poses or scores with shapes that contradict its description", prepared[0])
        if evidence is not None and evidence.shape != (num, num_parts, 2):
            raise self._nonsense("evidence with a shape that contradicts its description", prepared[0])
        finite = np.ones(num, np.bool_)
        for values in outputs[1:]:
            if values is not None:
                finite &= np.isfinite(values).reshape(num, -1).all(axis=1)
        if not finite.all():
            raise self._nonsense("numbers that are not finite", prepared[int(finite.argmin())])
        for what, values in (("scores", scores), ("evidence", evidence)):
            if values is not None and (values.min(initial=0) < -_ROUNDING or values.max(initial=0) > 1 + _ROUNDING):
                raise self._nonsense(f"{what} outside 0 to 1", prepared[0])
        if np.abs(affines).max(initial=0) > _FARTHEST:
            raise self._nonsense("poses far outside the image", prepared[0])
        evidence = None if evidence is None else np.clip(evidence, 0, 1)
        return NetworkOutputs(labels, affines, np.clip(scores, 0, 1), evidence)

    def _nonsense(self, what: str, prepared: Prepared) -> ModelError:
        return ModelError(
            f"{self._name}: the network returned {what} at frame {prepared.frame.index}; train or export it again"
        )


def _there(prepared: Sequence[Prepared]) -> list[DeviceImage]:
    """The images of frames that are on the backend's device, all of them."""
    images = [item.on_device for item in prepared if item.on_device is not None]
    if len(images) != len(prepared):
        raise ValueError("all frames of a batch must be on the backend's device, or none")
    return images


def _own(parts: Parts) -> Parts:
    """A copy that the caller may change."""
    evidence = None if parts.evidence is None else parts.evidence.copy()
    return Parts(parts.labels.copy(), parts.affines.copy(), parts.scores.copy(), evidence)
