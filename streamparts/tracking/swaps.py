"""Detects swapped left and right: assigns the two parts of a mirrored pair by their predicted positions.

Each pair has a hidden Markov model with two states, as labelled and swapped, filtered forwards. The evidence is how
well each assignment continues the tracks. If both parts overlap, there is no evidence, and the state is kept.

Tracks may themselves be mistaken, since limbs that cross are hard to tell apart: then every later frame continues the
mistake, and the network's labels contradict it. Their contradictions are summed up against their agreements (a
sequential test); beyond a limit, the tracks of a pair are exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import FloatArray

Array = NDArray[np.float64]

SWAPS_PER_FRAME = 1e-3
"""Probability per frame that the network starts to swap a pair."""
RETURNS_PER_FRAME = 1e-2
"""Probability per frame that the network stops swapping a pair."""
TAIL = 4.0
"""Squared sigmas from which a distance counts logarithmically (Student's t): if both assignments are far off, the
nearer one is still more likely."""
MOST_EVIDENCE = 18.0
"""Maximum evidence of one frame against an assignment, in squared sigmas."""
CLEAR_EVIDENCE = 6.0
"""Evidence from which a frame's labels clearly agree with the tracks or contradict them."""
MISTAKEN_FRAMES = 25
"""Contradictions, less agreements, after which the tracks of a pair count as mistaken."""


class SwapResolver:
    """The memory of one video for P mirrored pairs of parts."""

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        """`pairs` of part numbers. Raises ValueError if a part is in two of them."""
        named = [part for pair in pairs for part in pair]
        if len(set(named)) != len(named):
            raise ValueError(f"a part may be in only one mirrored pair, got {list(pairs)}")
        self._pairs = np.array(pairs, np.int64).reshape(-1, 2)
        self._swapped = np.full(len(self._pairs), SWAPS_PER_FRAME / RETURNS_PER_FRAME)
        self._contradictions = np.zeros(len(self._pairs), np.int64)
        self.mistaken = self._pairs[:0]
        """(M, 2) pairs whose tracks were found to be mistaken in the last frame, to be exchanged by the caller."""

    def resolve(self, centers: FloatArray, expected: Array, spread: Array, seen: NDArray[np.bool_]) -> NDArray[np.intp]:
        """(K,) the network's part for each part: the identity except for swapped pairs. Also sets `mistaken`.

        `centers` (K, 2) as labelled and their visibility `seen` (K,); `expected` (K, 2) by the tracks, nan without one,
        and the standard deviation (K,) of a center around it; all in one unit.
        """
        order = np.arange(len(centers))
        if not len(self._pairs):
            return order
        left, right = self._pairs.T
        # (P,) forward step of the hidden Markov model: P(swapped now) from the transition probabilities
        prior = self._swapped * (1 - RETURNS_PER_FRAME) + (1 - self._swapped) * SWAPS_PER_FRAME
        known = np.isfinite(expected[:, 0])

        def against(found: NDArray[np.int64], part: NDArray[np.int64]) -> Array:
            """Squared sigmas between a measured and a predicted position; 0 if either is missing."""
            # -2 log likelihood of a Student t, up to a constant: linear near 0, logarithmic beyond TAIL
            squared = np.square((centers[found] - expected[part]) / spread[part, None]).sum(1)
            return np.where(seen[found] & known[part], TAIL * np.log1p(squared / TAIL), 0.0)

        straight, crossed = against(left, left) + against(right, right), against(left, right) + against(right, left)
        evidence = np.clip(straight - crossed, -MOST_EVIDENCE, MOST_EVIDENCE)
        # Bayes in odds; evidence is twice a log likelihood ratio
        odds = prior / (1 - prior) * np.exp(evidence / 2)
        self._swapped = odds / (1 + odds)
        clear = np.sign(evidence) * (np.abs(evidence) >= CLEAR_EVIDENCE)
        self._contradictions = np.maximum(self._contradictions + clear.astype(np.int64), 0)
        mistaken = self._contradictions >= MISTAKEN_FRAMES
        self.mistaken = self._pairs[mistaken]
        # with the tracks exchanged, labels that contradicted them agree
        self._swapped = np.where(mistaken, 1 - self._swapped, self._swapped)
        self._contradictions[mistaken] = 0
        turned = self._pairs[self._swapped > 0.5]
        order[turned] = turned[:, ::-1]  # (left, right) take the network's (right, left)
        return order
