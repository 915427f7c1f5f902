"""The overlay's style: one value, created from flags or directly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

DRAWABLE = ("masks", "ellipses", "axes", "numbers", "joints", "names", "trails")
"""Elements for --draw."""


@dataclass(frozen=True, slots=True)
class OverlayStyle:
    """Elements drawn on each frame. A part's colour depends on its number alone, not on its name or on which others are
    visible."""

    masks: bool = True
    """The pixels of each part, in its colour, with an outline."""
    ellipses: bool = True
    """Each part's pose: the image of the unit circle."""
    axes: bool = True
    """Each part's pose: its two half axes; the first is thicker."""
    numbers: bool = True
    """Each part's number at its centre; `names` replace them."""
    joints: bool = True
    """With a skeleton, its joints and the lines from them to the centres of their parts; grey for filled parts."""
    names: bool = False
    """Each part's name at its centre. Names that are not ASCII appear as numbers, because OpenCV's font has no other
    letters."""
    trails: bool = False
    """Path of each part's centre in the last `trail_seconds` of video time; a new segment starts without trails."""
    skeleton: tuple[tuple[int, int], ...] = ()
    """Pairs of part numbers whose centres are connected by a line while both are visible."""
    opacity: float = 0.5
    """Opacity of the parts' colours, in [0, 1]."""
    trail_seconds: float = 1.0
    """Length of the trails."""
    side_by_side: bool = False
    """Show the source's frame on the left, the overlay on the right."""

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"opacity must be in [0, 1], got {self.opacity}")
        if not 0 < self.trail_seconds < float("inf"):
            raise ValueError(f"trail_seconds must be positive, got {self.trail_seconds}")
        if any(len(set(pair)) != 2 or min(pair) < 0 for pair in self.skeleton):
            raise ValueError(f"skeleton must be pairs of two part numbers, got {self.skeleton}")

    @classmethod
    def drawing(cls, words: Iterable[str], **others: Any) -> OverlayStyle:
        """Return the style that draws only the `words` of DRAWABLE. Raises ValueError for any other word."""
        chosen = set(words)
        if unknown := sorted(chosen - set(DRAWABLE)):
            raise ValueError(f"cannot draw {', '.join(unknown)}; choose from {', '.join(DRAWABLE)}")
        flags: dict[str, Any] = {word: word in chosen for word in DRAWABLE}
        return cls(**flags, **others)

    def check_parts(self, num_parts: int) -> None:
        """Raise ValueError if the skeleton names a part that the model does not have."""
        for pair in self.skeleton:
            if max(pair) >= num_parts:
                raise ValueError(f"skeleton: part {max(pair)} is outside 0..{num_parts - 1}")


DEFAULT_STYLE = OverlayStyle()
