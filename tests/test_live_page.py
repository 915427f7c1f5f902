"""Facts in docs/live.md; test_docs.py runs its code."""

from __future__ import annotations

import re

import msgspec

from streamparts.runtime.stats import SCHEMA, Stats
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")


def test_the_example_of_a_stats_line_is_one() -> None:
    (line,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    msgspec.json.decode(line, type=Stats)
    example = msgspec.json.decode(line)
    assert example["schema"] == SCHEMA
    assert list(example) == ["schema", *Stats.__struct_fields__]


def test_every_field_of_a_stats_line_is_explained() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert [name for name in explained if name not in ("all", "latest")] == ["schema", *Stats.__struct_fields__]
