"""Facts in docs/messages.md; test_docs.py runs its code."""

import re

import msgspec
import pytest

from streamparts.sinks.messages import PROTOCOLS
from streamparts.sinks.messages.address import Kind
from streamparts.sinks.messages.poses import COLUMNS
from streamparts.sinks.messages.sink import DEPTH
from streamparts.tracksfile.records import FrameRecord
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")


def test_the_first_frame_that_it_shows_is_a_record() -> None:
    (line,) = re.findall(r"^\{.*\}$", PAGE, re.MULTILINE)
    record = msgspec.json.decode(line, type=FrameRecord)
    assert record.captured_unix_seconds is not None
    assert msgspec.json.encode(record).decode() == line


@pytest.mark.parametrize("scheme", sorted(PROTOCOLS))
def test_every_protocol_has_its_line_of_use_extra_and_example(scheme: str) -> None:
    (row,) = (line for line in PAGE.splitlines() if line.startswith("|") and f"--send {scheme}://" in line)
    extra = PROTOCOLS[scheme].extra
    assert (f"`streamparts[{extra}]`" if extra else "| none |") in row
    examples = re.findall(r"\]\(\.\./(examples/\w+\.py)\)", row)
    assert examples
    assert all((ROOT / example).is_file() for example in examples)


def test_every_option_is_there() -> None:
    kinds: list[Kind] = [protocol.kind for protocol in PROTOCOLS.values()]
    for name, values in {option for kind in kinds for option in kind.options.items()}:
        assert any(f"?{name}={value}" in PAGE for value in values[1:]), name


def test_the_numbers_of_a_part_stand_in_their_order() -> None:
    assert f"| `/streamparts/part/NAME` | `{'f' * len(COLUMNS)}` | {', '.join(COLUMNS)} |" in PAGE
    positions = [PAGE.index(f"`NAME.{column}`") for column in COLUMNS]
    assert positions == sorted(positions)
    assert DEPTH == 8, "up to eight frames are queued"
    assert "up to eight frames are queued" in PAGE
