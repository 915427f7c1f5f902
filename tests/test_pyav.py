"""Differences between the supported versions of PyAV: 18 and, from Python 3.12 on, 19."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamparts.sources import open_source
from streamparts.sources.container import estimate_num_frames
from streamparts.sources.rational import exact
from streamparts.sources.reader import _announced


@dataclass(frozen=True)
class Ratio:
    """A value of PyAV 19, without its arithmetic: code that uses any fails."""

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


@pytest.mark.parametrize("size", [None, -1, 0])
def test_a_stream_whose_size_is_not_known_has_no_end(size: int | None) -> None:
    """PyAV 19 returns None where 18 returns -1."""
    codec = SimpleNamespace(name="h264")
    stream = SimpleNamespace(
        average_rate=Ratio(30, 1),
        time_base=Ratio(1, 90_000),
        sample_aspect_ratio=Ratio(1, 1),
        frames=0,
        duration=None,
        metadata={},
        codec_context=codec,
    )
    form = SimpleNamespace(name="mpegts", flags=0)
    container = SimpleNamespace(duration=None, size=size, format=form, start_time=None)
    assert not _announced(container, stream, in_pieces=False).finite  # type: ignore[arg-type]
