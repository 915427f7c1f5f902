"""Measures and tolerances for the difference between two runners of one network."""

from __future__ import annotations

import msgspec


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """Largest allowed differences between two runners."""

    labels: float
    """Smallest share of a frame's pixels with equal labels."""
    pose_px: float
    """Largest difference of any entry of a part's affine, at 128 pixels."""
    score: float
    """Largest difference of a score or of evidence."""
    mean: bool = False
    """True if the means over all frames are judged, not the worst frame."""
    far: float = 1
    """Factor on `pose_px` for one pose of a hundred: the outline of a barely visible part can flip."""
    odd: float = 0
    """Factor on `pose_px` in synthetic frames: in an image of one colour, a network that normalises each image divides
    rounding errors by nearly zero. 0: these frames are not judged; in low precision they cannot be, because labels on
    noise are arbitrary."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Differences between two runners over F frames, as summary figures."""

    num_frames: int
    labels: float
    """Share of all pixels with the same label."""
    worst_labels: float
    """The same for the worst frame."""
    worst_frame: int
    """Index of that frame."""
    pose_mean_px: float
    """Largest difference of any entry of an affine, at 128 pixels: the mean over frames of the value over visible
    parts."""
    pose_median_px: float
    """The median over all visible parts."""
    pose_p99_px: float
    """The 99th percentile."""
    pose_px: float
    """The largest."""
    score_mean: float
    """Largest difference of scores and of evidence: the mean over frames."""
    score: float
    """The largest."""

    def problem(self, tolerance: Tolerance) -> str | None:
        """Return what exceeds the tolerance, in one line; None if nothing does. nan always exceeds it."""
        if tolerance.mean:
            labels, score = self.labels, self.score_mean
            poses_agree = self.pose_mean_px <= tolerance.pose_px
        else:
            labels, score = self.worst_labels, self.score
            within = self.pose_px if tolerance.far == 1 else self.pose_p99_px
            poses_agree = within <= tolerance.pose_px and self.pose_px <= tolerance.far * tolerance.pose_px
        if labels >= tolerance.labels and poses_agree and score <= tolerance.score:
            return None
        return f"{self.describe()}; allowed are {allowed(tolerance)}"

    def describe(self) -> str:
        return (
            f"on {self.num_frames} frames labels agree on {self.labels:.3%} of pixels (in the worst frame, "
            f"{self.worst_frame}, {self.worst_labels:.3%}), poses within {self.pose_mean_px:.2g} px@128 on average "
            f"(99 % within {self.pose_p99_px:.2g}, worst {self.pose_px:.3g}), scores within {self.score:.2g}"
        )


def allowed(tolerance: Tolerance) -> str:
    """Describe a tolerance in words."""
    at_worst = f" ({tolerance.far * tolerance.pose_px:.3g} at worst)" if tolerance.far != 1 else ""
    which = "on average" if tolerance.mean else "in any frame"
    return f"{tolerance.labels:.1%} of pixels, {tolerance.pose_px:.3g} px{at_worst} and {tolerance.score:g} {which}"
