"""Tracks files to what other tools read, and back where a format carries enough: `table.FORMATS` lists them all.

A format is a module of this package with a `write`, a `read`, or both; docs/formats.md says what each keeps and loses.
"""

from streamparts.formats.conversion import Conversion as Conversion
from streamparts.formats.conversion import convert as convert
from streamparts.formats.table import FORMATS as FORMATS
from streamparts.formats.table import Format as Format

__all__ = ["FORMATS", "Conversion", "Format", "convert"]
