"""The interface of a baseline for the shared trainer: its networks, and the terms of its objective for a batch of
pairs."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from streamparts.models.segmenter import Segmenter

from ..frames.transforms import Draws
from ..inputs.augment import Pair


class BaselineLearner(nn.Module, ABC):
    """All networks that a method trains."""

    network: Segmenter
    """The one that is exported."""

    @abstractmethod
    def forward(self, pair: Pair, draws: Draws) -> dict[str, Tensor]:
        """Return the weighted terms by name; training minimises their sum."""
