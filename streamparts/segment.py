"""PartSegmenter: a Frame to its Parts, through a backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamparts.backends import Backend
from streamparts.bundle import Bundle
from streamparts.data import ByteArray, Frame, Parts
from streamparts.errors import ModelError
from streamparts.geometry import Letterbox
from streamparts.rescale import Rescaler


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame in the shape the network eats."""

    frame: Frame
    """Where it comes from."""
    letterbox: Letterbox
    """Maps model pixels to displayed pixels."""
    image: ByteArray
    """(H, W, 3) uint8 RGB at the model's input size."""


class PartSegmenter:
    """Finds the parts in one frame; knows nothing of the frame before.

    `prepare` and `infer` may run in two threads, one each: the first costs the decoder's time, not the network's.
    """

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self._name = bundle.spec.name
        self._input_hw = bundle.spec.input_hw
        self._backend = backend
        self._rescaler = Rescaler()

    def __call__(self, frame: Frame) -> tuple[Letterbox, Parts]:
        prepared = self.prepare(frame)
        return prepared.letterbox, self.infer(prepared)

    def prepare(self, frame: Frame) -> Prepared:
        """Scale the frame into the model's input, with black borders that keep its proportions."""
        letterbox = Letterbox.fit((frame.height, frame.width), self._input_hw)
        inner = self._rescaler.rgb(frame, letterbox.inner_hw)
        return Prepared(frame, letterbox, letterbox.pad(inner))

    def infer(self, prepared: Prepared) -> Parts:
        """Run the network on one prepared frame. Raises ModelError if it fails or gives nan or infinity."""
        return self._parts([prepared], prepared.image[None])[0]

    def infer_batch(self, prepared: Sequence[Prepared]) -> list[Parts]:
        """The same for several frames in one go: more frames per second, and all of them later."""
        return self._parts(prepared, np.stack([item.image for item in prepared]))

    def _parts(self, prepared: Sequence[Prepared], images: ByteArray) -> list[Parts]:
        labels, affines, scores, evidence = self._backend.run(images)
        finite = np.isfinite(affines).all((1, 2, 3)) & np.isfinite(scores).all(1)
        if not finite.all():
            index = prepared[int(finite.argmin())].frame.index
            raise ModelError(
                f"{self._name}: the network gave numbers that are not finite at frame {index}; train or export it again"
            )
        return [
            Parts(labels[i], affines[i], scores[i], None if evidence is None else evidence[i])
            for i in range(len(prepared))
        ]
