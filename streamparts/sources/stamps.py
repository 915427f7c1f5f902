"""Stated times that are out of order, put right among their neighbours: one bad stamp costs its own frame's time only.

Where the times of the frames to come are known (files), the most of the stated times that can stand are kept and the
others are spread evenly between them; two that were swapped are swapped back. Where nothing is known of what comes
(live), a leap that the clock on the wall does not bear out waits for the next frame to confirm it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median

WINDOW = 16
"""Frames that are looked at, where their stated times are out of order."""

Stamps = Sequence[int | None]
"""Stated times of frames in display order, in ticks; None where the source states none."""


def is_orderly(previous: int | None, stated: Stamps, step: int) -> bool:
    """Whether the first of `stated` can be kept by what is known: it goes on from `previous`, and those after it from
    there. Where it leaps ahead, by more than four times the usual `step`, that goes for all of them."""
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
    """Whether more of the stated times would tell better that of the first frame."""
    if len(stated) < 2:
        return True
    first = stated[0]
    doubtful = first is None or _leaps(previous, first, step) or not is_orderly(previous, stated, step)
    return doubtful and len(stated) < WINDOW


def _leaps(previous: int | None, first: int, step: int) -> bool:
    return previous is not None and first - previous > 4 * step


def mended(previous: int | None, stated: Stamps, step: int) -> int | None:
    """The time of the first frame of `stated`, after `previous`, which is that of the frame before it (None: there is
    none). None where not one of the stated times goes on from there. `step` ticks are an average frame."""
    kept = _kept(previous, stated, step)
    if not kept:
        return None
    bent = _spread(previous, stated, kept, step)
    known = [stamp for stamp in stated[: len(bent)] if stamp is not None]
    in_order = sorted(known)
    fits = previous is None or in_order[0] > previous
    whole = fits and len(set(known)) == len(bent)
    return in_order[0] if whole and _oddness(previous, in_order, step) < _oddness(previous, bent, step) else bent[0]


def _kept(previous: int | None, stated: Stamps, step: int) -> list[int]:
    """Positions of the longest run of stated times that increase and leave a tick for every frame between them; of
    several, the one that is nearest to the usual step."""
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
    """(kept[-1] + 1,) times: the kept ones, and the others evenly between them."""
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


def _oddness(previous: int | None, times: Sequence[int], step: int) -> int:
    """How far the steps are from the usual one."""
    whole = times if previous is None else [previous, *times]
    return sum((after - before - step) ** 2 for before, after in pairwise(whole))


class Pace:
    """How far apart frames usually are, and the leap that waits to be confirmed."""

    def __init__(self, announced: int) -> None:
        """`announced` ticks from one frame to the next, by the announced rate."""
        self._announced = announced
        self._recent: deque[int] = deque(maxlen=15)
        self._waits = False
        self._arrived: float | None = None

    @property
    def step(self) -> int:
        """What the last frames had, once there are some."""
        return max(1, round(median(self._recent))) if len(self._recent) >= 5 else self._announced

    def note(self, ahead: int) -> None:
        """Two stated times that follow on each other are `ahead` ticks apart."""
        self._recent.append(ahead)

    def is_doubtful(self, ahead: int, time_base: Fraction, arrived: float | None, pause: float) -> bool:
        """Whether a stated time `ahead` ticks after the last one waits for the next frame: it leaps over more than four
        frames (over one, where ticks are too coarse to catch up again), which did not take as long to come. `arrived`
        is when it came, in seconds of this machine; where that is None, what is more than `pause` seconds long is taken
        for a pause. The frame after a leap confirms it."""
        before, self._arrived = self._arrived, arrived
        seconds = float(ahead * time_base)
        sudden = seconds <= pause if arrived is None or before is None else arrived - before < seconds / 2
        most = 4 * self.step if self.step >= 8 else self.step
        self._waits = not self._waits and ahead > most and sudden
        return self._waits
