"""Exact numbers of PyAV, of whichever version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from streamparts.rational import exact
from streamparts.sources import open_source
from streamparts.sources.files import estimate_num_frames


@dataclass(frozen=True)
class Ratio:
    """What PyAV 19 gives, without its arithmetic: code that uses any fails."""

    numerator: int
    denominator: int

    def __bool__(self) -> bool:
        return self.numerator != 0


def test_both_kinds_become_the_same_fraction() -> None:
    assert exact(Fraction(30000, 1001)) == Fraction(30000, 1001)
    assert exact(Ratio(30000, 1001)) == Fraction(30000, 1001)
    assert type(exact(Ratio(1, 90000))) is Fraction


@pytest.mark.parametrize("nothing", [None, Fraction(0), Ratio(0, 1)])
def test_nothing_and_zero_are_none(nothing: Fraction | Ratio | None) -> None:
    assert exact(nothing) is None


def test_sources_give_plain_fractions(video: Path) -> None:
    with open_source(video) as source:
        assert (type(source.time_base), type(source.rate)) == (Fraction, Fraction)
        frames: Iterator[object] = iter(source)
        assert type(next(frames).time_base) is Fraction  # type: ignore[attr-defined]


def test_the_number_of_frames_is_estimated_from_either_kind() -> None:
    @dataclass
    class Stream:
        frames = 0
        duration = 180_000
        time_base = Ratio(1, 90_000)

    assert estimate_num_frames(Stream(), None, Fraction(30)) == 60  # type: ignore[arg-type]
