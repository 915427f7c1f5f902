"""Repairs timestamps that are out of order by their neighbours: a wrong one affects only its own frame.

If the times of the following frames are known (files), the largest consistent subset is kept and the others are
interpolated; two swapped ones are swapped back. If not (live), a jump that the wall clock does not confirm waits for
the next frame to confirm it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median

WINDOW = 16
"""Number of frames examined if their timestamps are out of order."""

Stamps = Sequence[int | None]
"""Timestamps of frames in display order, in ticks; None for a missing one."""


def is_orderly(previous: int | None, stated: Stamps, step: int) -> bool:
    """True if the first of `stated` can be kept as far as known: it continues from `previous`, and the following ones
    continue from there. If it jumps ahead, by more than four times the usual `step`, all of them must."""
    first = stated[0]
    if first is None or (previous is not None and first <= previous):
        return False
    last = first
    for stamp in stated[1:] if _leaps(previous, first, step) else stated[1:2]:
        if stamp is None or stamp <= last:
            return False
        last = stamp
    return True


def needs_more(previous: int | None, stated: Stamps, step: int) -> bool:
    """True if more timestamps would improve the time of the first frame."""
    if len(stated) < 2:
        return True
    first = stated[0]
    doubtful = first is None or _leaps(previous, first, step) or not is_orderly(previous, stated, step)
    return doubtful and len(stated) < WINDOW


def _leaps(previous: int | None, first: int, step: int) -> bool:
    return previous is not None and first - previous > 4 * step


def mended(previous: int | None, stated: Stamps, step: int) -> int | None:
    """Time of the first frame of `stated`, after `previous`, that of the frame before (None: there is none). None if
    none of the timestamps continues from there. `step` ticks are an average frame interval."""
    kept = _kept(previous, stated, step)
    if not kept:
        return None
    bent = _spread(previous, stated, kept, step)
    known = [stamp for stamp in stated[: len(bent)] if stamp is not None]
    in_order = sorted(known)
    fits = previous is None or in_order[0] > previous
    whole = fits and len(set(known)) == len(bent)
    return in_order[0] if whole and _deviation(previous, in_order, step) < _deviation(previous, bent, step) else bent[0]


def _kept(previous: int | None, stated: Stamps, step: int) -> list[int]:
    """Positions of the longest run of increasing timestamps with at least a tick per frame in between; among several,
    the one closest to the usual step."""
    best: list[tuple[int, float, list[int]]] = []
    for here, stamp in enumerate(stated):
        choices: list[tuple[int, float, list[int]]] = []
        if stamp is not None and (previous is None or stamp - previous > here):
            cost = 0.0 if previous is None else (stamp - previous - step * (here + 1)) ** 2 / (here + 1)
            choices.append((1, cost, [here]))
        for before, (length, cost, path) in enumerate(best):
            start, number = stated[before], here - before
            if stamp is not None and path and start is not None and stamp - start >= number:
                choices.append((length + 1, cost + (stamp - start - step * number) ** 2 / number, [*path, here]))
        best.append(min(choices, key=_by_length, default=(0, 0.0, [])))
    return min(best, key=_by_length, default=(0, 0.0, []))[2]


def _by_length(choice: tuple[int, float, list[int]]) -> tuple[int, float]:
    return -choice[0], choice[1]


def _spread(previous: int | None, stated: Stamps, kept: Sequence[int], step: int) -> list[int]:
    """(kept[-1] + 1,) times: the kept ones, with the others evenly in between."""
    times: list[int] = []
    low, start = previous, -1
    for place in kept:
        high = stated[place]
        assert high is not None
        for number in range(1, place - start):
            left = place - start - number
            times.append(high - left * step if low is None else low + (high - low) * number // (place - start))
        times.append(high)
        low, start = high, place
    return times


def _deviation(previous: int | None, times: Sequence[int], step: int) -> int:
    """Deviation of the steps from the usual one."""
    whole = times if previous is None else [previous, *times]
    return sum((after - before - step) ** 2 for before, after in pairwise(whole))


class Pace:
    """The usual frame interval, and a jump that waits for confirmation."""

    def __init__(self, announced: int) -> None:
        """`announced` ticks per frame, by the nominal rate."""
        self._announced = announced
        self._recent: deque[int] = deque(maxlen=15)
        self._waits = False
        self._arrived: float | None = None

    @property
    def step(self) -> int:
        """Interval of the last frames, once there are some."""
        return max(1, round(median(self._recent))) if len(self._recent) >= 5 else self._announced

    def note(self, ahead: int) -> None:
        """Record that two consecutive timestamps are `ahead` ticks apart."""
        self._recent.append(ahead)

    def is_doubtful(self, ahead: int, time_base: Fraction, arrived: float | None, pause: float) -> bool:
        """True if a timestamp `ahead` ticks after the last one must wait for the next frame: it skips more than four
        frames (more than one, if ticks are too coarse to catch up), which did not take as long to arrive. `arrived` is
        its arrival time, in seconds of this machine; if None, a jump of more than `pause` seconds is taken for a pause.
        The frame after a jump confirms it."""
        before, self._arrived = self._arrived, arrived
        seconds = float(ahead * time_base)
        sudden = seconds <= pause if arrived is None or before is None else arrived - before < seconds / 2
        most = 4 * self.step if self.step >= 8 else self.step
        self._waits = not self._waits and ahead > most and sudden
        return self._waits
