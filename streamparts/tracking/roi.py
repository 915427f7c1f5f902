"""Region of interest: the whole frame, a fixed region, or a crop that follows the subject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from streamparts.bundle.spec import ModelSpec
from streamparts.errors import ModelError
from streamparts.geometry import Region

Roi = Literal["auto", "off"] | tuple[float, float, float, float]
"""Region of interest, as given by users."""

MOST_SUBJECTS = 32


@dataclass(frozen=True, slots=True)
class Following:
    """The chosen mode."""

    num_subjects: int = 0
    """Number of subjects to follow; 0 for none."""
    region: Region | None = None
    """Fixed region, if none is followed; None is the whole frame."""
    note: str | None = None
    """Notice for the user, in one line."""

    @property
    def roi(self) -> Roi:
        """The same in users' form."""
        return "auto" if self.num_subjects else self.region or "off"

    @staticmethod
    def of(spec: ModelSpec, roi: Roi | None = None, subjects: int = 1) -> Following:
        """`roi` None is "auto", without a notice if the model has no `subject`. Raises ValueError for invalid values,
        ModelError for several subjects if the model has no `subject`."""
        if not 1 <= subjects <= MOST_SUBJECTS:
            raise ValueError(f"subjects must be 1 to {MOST_SUBJECTS}, got {subjects}")
        if roi not in (None, "auto"):
            if subjects > 1:
                raise ValueError("several subjects require following: leave roi at auto")
            return Following() if roi == "off" else Following(region=_region(roi))
        if spec.subject is not None:
            return Following(subjects)
        if subjects > 1:
            raise ModelError(f"{spec.name} has no subject, so it cannot follow several; train and export it again")
        note = f"{spec.name} has no subject, so it sees the whole frame" if roi == "auto" else None
        return Following(note=note)


WHOLE_PICTURE = Following()


def _region(roi: object) -> Region:
    if not (isinstance(roi, tuple | list) and len(roi) == 4):
        raise ValueError(f"roi must be auto, off, or left, top, width and height in pixels, got {roi!r}")
    left, top, width, height = (float(value) for value in roi)
    if not (np.isfinite([left, top, width, height]).all() and min(width, height) >= 1):
        raise ValueError(f"roi must be left, top, width and height in pixels, the last two at least 1, got {roi!r}")
    return left, top, width, height
