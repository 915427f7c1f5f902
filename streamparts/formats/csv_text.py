"""Text in cells of a table that somebody may open in a spreadsheet, which runs what looks like a formula."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(text: str) -> str:
    """`text`, with an apostrophe before what a spreadsheet would run: it then shows the rest as it is."""
    return f"'{text}" if text.startswith((*_FORMULA, "'")) else text


def text_of(cell: str) -> str:
    """What `cell` made a cell of."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*_FORMULA, "'")) else cell
