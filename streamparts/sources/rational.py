"""Exact numbers of PyAV: fractions up to version 18, since 19 a type of its own, which rounds nothing and mixes with
fractions on one side only. What leaves PyAV becomes a fraction here."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol


class Rational(Protocol):
    """Both kinds."""

    @property
    def numerator(self) -> int: ...

    @property
    def denominator(self) -> int: ...


def exact(value: Rational | None) -> Fraction | None:
    """The same number; None where there is none, and for 0, which stands for none."""
    return Fraction(value.numerator, value.denominator) if value else None
