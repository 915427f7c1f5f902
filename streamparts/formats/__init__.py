"""Converts tracks files to formats of other tools, and back if a format contains enough: `table.FORMATS` lists them
all.

A format is a module of this package with a `write`, a `read`, or both; docs/formats.md lists what each keeps and loses.
"""

from streamparts.formats.conversion import Conversion as Conversion
from streamparts.formats.conversion import convert as convert
from streamparts.formats.table import FORMATS as FORMATS
from streamparts.formats.table import Format as Format

__all__ = ["FORMATS", "Conversion", "Format", "convert"]
