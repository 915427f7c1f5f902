"""PyAV's exact numbers: fractions up to version 18, since 19 its own type, which is exact but mixes with fractions on
one side only. They are converted to fractions here."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol


class Rational(Protocol):
    """Either type."""

    @property
    def numerator(self) -> int: ...

    @property
    def denominator(self) -> int: ...


def exact(value: Rational | None) -> Fraction | None:
    """The same number as a fraction; None for None, and for 0, which means unknown."""
    return Fraction(value.numerator, value.denominator) if value else None
