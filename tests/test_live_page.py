"""docs/live.md says what is."""

from __future__ import annotations

import re
import subprocess
import sys

import msgspec
import pytest

from streamparts.stats import SCHEMA, Stats
from tests.conftest import ROOT, environment

PAGE = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("code", "output"), EXAMPLES, ids=["several", "async"])
def test_the_examples_print_what_the_page_says(code: str, output: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        env=environment(),
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == output


def test_the_example_of_a_stats_line_is_one() -> None:
    (line,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    stats = msgspec.json.decode(line, type=Stats)
    assert stats.schema == SCHEMA
    assert list(msgspec.json.decode(line)) == list(Stats.__struct_fields__)


def test_every_field_of_a_stats_line_is_explained() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert [name for name in explained if name not in ("all", "latest")] == list(Stats.__struct_fields__)
