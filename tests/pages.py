"""The documentation as data: pages, their fenced blocks, the commands in them, and their links.

sybil could run the Python blocks; commands with their expected errors, a reason for each block that is not run, inline
commands and links would remain.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL = ("", "sh", "bash", "console")
_FENCE = re.compile(r"^( *)(`{3,})(\w*)\s*$")
_MARKER = re.compile(r"^ *<!-- not run: *(.*?) *-->$")
_COMMAND = re.compile(r"^(?:\$ )?((?:streamparts|python3?|make|torchrun) .+)$")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """Content of a fenced block."""

    page: Path
    line: int
    """Number of its first line."""
    language: str
    text: str
    reason: str | None
    """Why it is not run, from the comment above it; None where it is."""
    output: str | None
    """The block right below it, where that is no command: what it prints."""

    @property
    def place(self) -> str:
        return place(self.page, self.line)

    def error_below(self, line: int) -> str | None:
        """Expected error of the command in this line of the page, if the next line states it."""
        lines = [*self.text.split("\n"), ""]
        below = lines[line - self.line + 1]
        return below if below.startswith("streamparts: error: ") else None

    def commands(self) -> Iterator[tuple[int, list[str]]]:
        """(line, words) of each command; comments are left out, a backslash joins lines."""
        if self.language not in SHELL:
            return
        lines = self.text.split("\n")
        for offset, line in enumerate(lines):
            if offset and lines[offset - 1].endswith("\\"):
                continue
            whole, after = line, offset
            while whole.endswith("\\"):
                after += 1
                whole = f"{whole[:-1]} {lines[after].strip()}"
            if found := _COMMAND.match(whole):
                yield self.line + offset, shlex.split(found[1], comments=True)


def place(page: Path, line: int) -> str:
    return f"{page.relative_to(ROOT) if page.is_relative_to(ROOT) else page.name}:{line}"


def blocks(page: Path) -> list[Block]:
    """Blocks in order. Raises AssertionError for an unclosed fence, or a reason without a block."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").split("\n")
    number, reason, gap = 0, None, 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if marker := _MARKER.match(line):
            assert reason is None, f"{place(page, number)}: two reasons for one block"
            reason = marker[1]
        elif fence := _FENCE.match(line):
            begin = number
            while lines[number].strip() != fence[2]:
                number += 1
                assert number < len(lines), f"{place(page, begin)}: this block has no end"
            text = "\n".join(line.removeprefix(fence[1]) for line in lines[begin:number])
            number += 1
            block = Block(page, begin + 1, fence[3], text, reason, None)
            if found and gap == 0 and fence[3] == "" and not list(block.commands()):
                found[-1] = Block(**{**vars(found[-1]), "output": text})
            found.append(block)
            reason, gap = None, 0
        elif line.strip():
            assert reason is None, f"{place(page, number)}: the reason before this line is not above a block"
            gap += 1
    assert reason is None, f"{place(page, number)}: the last reason is not above a block"
    return found


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """(line, paragraph): what is not in blocks, in pieces that empty lines and table rows separate."""
    inside, begin, piece = False, 1, ""
    for number, line in enumerate([*page.read_text(encoding="utf-8").split("\n"), ""], start=1):
        is_fence = bool(_FENCE.match(line))
        inside ^= is_fence
        if inside or is_fence or not line.strip() or line.startswith("|"):
            if piece:
                yield begin, piece
            piece = ""
            if line.startswith("|") and not inside:
                yield number, line
        else:
            begin, piece = (begin, f"{piece} {line.strip()}") if piece else (number, line.strip())
    if piece:
        yield begin, piece


def inline_commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, words) of commands in running text and tables; those with an ellipsis are left out."""
    for number, text in prose(page):
        for code in _CODE.findall(text):
            command = code.replace("\\|", "|").split("|")[-1].strip()
            if _COMMAND.match(command) and "..." not in command:
                yield number, shlex.split(command, comments=True)


def links(page: Path) -> Iterator[tuple[int, str]]:
    """(line, target) of links and images, except those to the web."""
    for number, text in prose(page):
        for target in _LINK.findall(_CODE.sub("", text)):
            if not re.match(r"[a-z]+:", target):
                yield number, target


def anchors(page: Path) -> set[str]:
    """Anchors of its headings."""
    titles = [text for _, text in headings(page)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def headings(page: Path) -> Iterator[tuple[int, str]]:
    inside = False
    for number, line in enumerate(page.read_text(encoding="utf-8").split("\n"), start=1):
        inside ^= bool(_FENCE.match(line))
        if not inside and (found := re.match(r"#+ (.*)", line)):
            yield number, found[1]
