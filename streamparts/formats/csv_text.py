"""Text in table cells that may be opened in a spreadsheet, which runs text that looks like a formula."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(text: str) -> str:
    """`text`, prefixed with an apostrophe if a spreadsheet would run it, so that it shows the text instead."""
    return f"'{text}" if text.startswith((*_FORMULA, "'")) else text


def text_of(cell: str) -> str:
    """Inverse of `cell`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*_FORMULA, "'")) else cell
