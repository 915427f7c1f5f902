"""Left and right taken for each other: the two parts of a symmetric pair, told apart by where each was going.

For every pair a hidden Markov model with two states, as labelled and swapped, is filtered forwards: the evidence is how
well each assignment continues the tracks, the network's own labelling is trusted in the long run. Where both parts lie
upon each other there is no evidence, and the state stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import FloatArray

Array = NDArray[np.float64]

SWAPS_PER_FRAME = 1e-3
"""How likely the network begins to swap a pair from one frame to the next ..."""
RETURNS_PER_FRAME = 1e-2
"""... and ends it."""
TAIL = 4.0
"""Squared sigmas from which a distance counts by its logarithm (Student's t): where both assignments are far off, the
nearer one is still the likelier."""
MOST_EVIDENCE = 18.0
"""The most squared sigmas by which one frame may speak against an assignment."""


class SwapResolver:
    """The memory of one video for P symmetric pairs of parts."""

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        """`pairs` of part numbers. Raises ValueError when a part is in two of them."""
        named = [part for pair in pairs for part in pair]
        if len(set(named)) != len(named):
            raise ValueError(f"every part may be in one symmetric pair, got {list(pairs)}")
        self._pairs = np.array(pairs, np.int64).reshape(-1, 2)
        self._swapped = np.full(len(self._pairs), SWAPS_PER_FRAME / RETURNS_PER_FRAME)

    def resolve(self, centers: FloatArray, expected: Array, spread: Array, seen: NDArray[np.bool_]) -> NDArray[np.intp]:
        """(K,) which of the network's parts is each part: the identity but for swapped pairs.

        `centers` (K, 2) as labelled and whether they were `seen` (K,); `expected` (K, 2) by the tracks, nan where there
        is none, and the standard deviation (K,) of a center around it; all in one unit.
        """
        order = np.arange(len(centers))
        if not len(self._pairs):
            return order
        left, right = self._pairs.T
        prior = self._swapped * (1 - RETURNS_PER_FRAME) + (1 - self._swapped) * SWAPS_PER_FRAME
        known = np.isfinite(expected[:, 0])

        def against(found: NDArray[np.int64], part: NDArray[np.int64]) -> Array:
            """Squared sigmas between what was found and where the part should be; none without both."""
            squared = np.square((centers[found] - expected[part]) / spread[part, None]).sum(1)
            return np.where(seen[found] & known[part], TAIL * np.log1p(squared / TAIL), 0.0)

        straight, crossed = against(left, left) + against(right, right), against(left, right) + against(right, left)
        evidence = np.clip(straight - crossed, -MOST_EVIDENCE, MOST_EVIDENCE)
        odds = prior / (1 - prior) * np.exp(evidence / 2)
        self._swapped = odds / (1 + odds)
        turned = self._pairs[self._swapped > 0.5]
        order[turned] = turned[:, ::-1]
        return order
