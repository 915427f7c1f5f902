"""What the overlay shows: one value, made by the flags of the command line or by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

DRAWABLE = ("masks", "ellipses", "axes", "numbers", "joints", "names", "trails")
"""Words of --draw."""


@dataclass(frozen=True, slots=True)
class OverlayStyle:
    """What is drawn on each frame. Colours go by part number, whatever a part is called and whether others are seen."""

    masks: bool = True
    """The pixels of each part, in its colour, with an outline."""
    ellipses: bool = True
    """Each part's pose: the image of the unit circle."""
    axes: bool = True
    """Each part's pose: its two half axes; the first is thicker."""
    numbers: bool = True
    """Each part's number at its centre; where `names` are shown, they take the place."""
    joints: bool = True
    """With a skeleton, its joints and the lines from them to the centres of their parts; grey at parts it filled in."""
    names: bool = False
    """Each part's name at its centre. Names that are not ASCII appear as numbers: OpenCV's font has no more letters."""
    trails: bool = False
    """Where each part's centre was in the last `trail_seconds`, by the video's own time; a new segment has none yet."""
    skeleton: tuple[tuple[int, int], ...] = ()
    """Pairs of part numbers whose centres are joined by a line while both are seen."""
    opacity: float = 0.5
    """Of the parts' colours, in [0, 1]."""
    trail_seconds: float = 1.0
    """Length of the trails."""
    side_by_side: bool = False
    """The source's picture on the left, the overlay on the right."""

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"opacity must be in [0, 1], got {self.opacity}")
        if not 0 < self.trail_seconds < float("inf"):
            raise ValueError(f"trail_seconds must be positive, got {self.trail_seconds}")
        if any(len(set(pair)) != 2 or min(pair) < 0 for pair in self.skeleton):
            raise ValueError(f"skeleton must be pairs of two part numbers, got {self.skeleton}")

    @classmethod
    def drawing(cls, words: Iterable[str], **others: Any) -> OverlayStyle:
        """The style that draws the `words` of DRAWABLE and nothing else. Raises ValueError for any other word."""
        chosen = set(words)
        if unknown := sorted(chosen - set(DRAWABLE)):
            raise ValueError(f"cannot draw {', '.join(unknown)}; choose from {', '.join(DRAWABLE)}")
        flags: dict[str, Any] = {word: word in chosen for word in DRAWABLE}
        return cls(**flags, **others)

    def check_parts(self, num_parts: int) -> None:
        """Raise ValueError where the skeleton names a part that the model does not have."""
        for pair in self.skeleton:
            if max(pair) >= num_parts:
                raise ValueError(f"skeleton: part {max(pair)} is outside 0..{num_parts - 1}")


DEFAULT_STYLE = OverlayStyle()
