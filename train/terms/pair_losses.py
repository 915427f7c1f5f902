"""A pair of frames through the network to its losses, as one module: the whole step except the optimiser is compiled,
and replayed as graphs. The network alone has less than half of a step's kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from streamparts.models.assembly import PartNetwork

from ..inputs.augment import Pair
from .losses import FeatureDifference
from .objective import objective
from .pair_forward import PairForward, PairResult
from .weights import Fades, LossWeights

Value = TypeVar("Value")


class PairLosses(nn.Module):
    """`forward_pair` and `objective`; only the network may compute in 16 bits."""

    def __init__(
        self, network: PartNetwork, weights: LossWeights, features: FeatureDifference | None, emphasis: float
    ) -> None:
        super().__init__()
        self.pass_over = PairForward(network, weights.canonical_concentration > 0)
        self.weights, self.emphasis = weights, emphasis
        # in a list, so that they are no part of this module: they are not trained
        self._features: Sequence[FeatureDifference | None] = [features]

    def forward(
        self, pair: Pair, transform: Tensor, fades: Fades, offset: float | Tensor
    ) -> tuple[PairResult, dict[str, Tensor]]:
        """Return the results and the weighted terms. `fades` and `offset` may be tensors, see `on_device`."""
        result = in_full(self.pass_over(pair, fades.gate, transform))
        # moments and logarithms of the losses need float32
        with torch.autocast(pair.source.device.type, enabled=False):
            return result, objective(result, pair, self.weights, fades, offset, self._features[0], self.emphasis)


def on_device(fades: Fades, offset: float, device: torch.device) -> tuple[Fades, Tensor]:
    """The same as tensors: numbers would be compiled into the graph, which then served one step."""
    *factors, shift = torch.tensor([*fades, offset], device=device).unbind()
    return Fades(*factors), shift


def in_full(value: Value) -> Value:
    """Tensors in float32, also those in nested NamedTuples."""
    if isinstance(value, Tensor):
        return value.float()  # type: ignore[return-value]
    if isinstance(value, tuple):
        return type(value)(*map(in_full, value))
    return value
