"""PartSegmenter: a Frame to its Parts, through a backend."""

from __future__ import annotations

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
        self._num_parts = bundle.spec.num_parts
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
        """Run the network on one prepared frame. Raises ModelError if it fails or gives nan, infinity, labels without a
        part, or other sizes than its description says."""
        outputs = self._backend.run(prepared.image[None])
        labels, affines, scores, evidence = outputs
        if labels.shape != (1, *self._input_hw) or labels.max() > self._num_parts:
            raise self._nonsense("labels that its description does not allow", prepared)
        if affines.shape != (1, self._num_parts, 2, 3) or scores.shape != (1, self._num_parts):
            raise self._nonsense("poses or scores of other shapes than its description says", prepared)
        if evidence is not None and evidence.shape != (1, self._num_parts, 2):
            raise self._nonsense("evidence of another shape than its description says", prepared)
        if not all(np.isfinite(values).all() for values in outputs[1:] if values is not None):
            raise self._nonsense("numbers that are not finite", prepared)
        return Parts(labels[0], affines[0], scores[0], None if evidence is None else evidence[0])

    def _nonsense(self, what: str, prepared: Prepared) -> ModelError:
        return ModelError(
            f"{self._name}: the network gave {what} at frame {prepared.frame.index}; train or export it again"
        )
