"""The benchmark report: its tables have the figures of the results, and pages that quote them state no others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks import place, report, sections
from benchmarks.markdown import table
from benchmarks.sections import SECTIONS
from tests.conftest import ROOT

NUMBER = re.compile(r"(?<![\w.-])\d*\.?\d+")
RESULTS = ROOT / "benchmarks" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
LEARNING = json.loads((ROOT / "benchmarks" / "learning.json").read_text(encoding="utf-8"))


def test_the_page_is_what_the_results_say(capsys: pytest.CaptureFixture[str]) -> None:
    report.main([])
    committed = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == committed, "python -m benchmarks.report > benchmarks/RESULTS.md"
    assert all(f"\n## {name}\n" in committed for name in (*SECTIONS, "learning"))


def test_the_readmes_table_has_the_figures_of_the_results() -> None:
    found = report.records(RESULTS)
    rows = table(["what", "figure", "command"], report.headlines(found, LEARNING))
    assert rows in README
    assert str(found["runtime"]["machine"]["processor"]) in README
    runs = found["runtime"]["figures"]["rows"][report.HD]
    for mode in ("with overlay", "tracks only"):
        for share in ("share of the slowest stage in the run", "share of the slowest stage alone"):
            assert f"{100 * runs[mode][share]:.0f} %" in README


@pytest.mark.parametrize(
    ("page", "some"), [("README.md", {0.94, 0.87, 0.81}), ("docs/categories.md", {0.647, 0.684, 0.494, 0.541, 0.621})]
)
def test_every_other_figure_of_these_pages_stands_in_the_results(page: str, some: set[float]) -> None:
    """Numbers with a decimal point in running text: measured ones, not settings."""
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", " ", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    stated = {float(word) for word in NUMBER.findall(prose) if "." in word}
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    known = [float(word) for word in NUMBER.findall(results)]
    unknown = {figure for figure in stated if not any(round(value, _places(figure)) == figure for value in known)}
    assert unknown == set()
    assert some <= stated, "this test reads what it should"


def _places(figure: float) -> int:
    return len(str(figure).partition(".")[2])


def test_figures_become_tables_whatever_their_nesting() -> None:
    figures = {"frames": 3, "rows": [{"a": 1, "ms": {"p50": 2.5}}, {"a": 4, "b": 5}], "each": {"x": 1}, "none": {}}
    single, rows, first, each, second = report.tables(figures)
    assert single == "|  | figure |\n| --- | --- |\n| frames | 3 |"
    assert (rows, each) == ("rows:", "each:")
    assert first.splitlines() == ["| a | ms p50 | b |", "| --- | --- | --- |", "| 1 | 2.5 | - |", "| 4 | - | 5 |"]
    assert second.splitlines()[-1] == "| x | 1 |"
    (named,) = report.tables({"one": {"us": 1.0}, "two": {"us": 2.0}})
    assert named.splitlines()[2:] == ["| one | 1.0 |", "| two | 2.0 |"]
    (wide,) = report.tables({"one": {str(n): n for n in range(20)}, "two": {"0": 7}})
    assert wide.splitlines()[0] == "|  | one | two |" and "| 0 | 0 | 7 |" in wide


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(["a"], [["x|y"], [None], [[1, None]]]).split("\n")[2:] == ["| x\\|y |", "| - |", "| 1, - |"]


def test_a_cheap_section_is_measured_and_marked_as_a_rehearsal(tmp_path: Path) -> None:
    assert sections.main(["counter", "--quick", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "counter.json").read_text())
    assert (record["figures"]["frames"], record["figures"]["faults in the results"]) == (50, 0)
    assert {"commit", "machine", "versions", "seconds", "at"} <= set(record)
    found = {**report.records(RESULTS), "counter": record}
    text = "\n".join(report.page(found, LEARNING)).split("\n## counter\n")[1].split("\n## ")[0]
    assert "A rehearsal" in text and "| frames | 50 |" in text


@pytest.mark.slow
def test_a_section_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    missing = ["real", "counter", "--quick", "--out", str(tmp_path), "--people"]
    assert sections._one_by_one(["counter"], missing) == 1, "--people without a file"
    assert sections.main(["counter", "skeleton", "--quick", "--out", str(tmp_path)]) == 0
    assert {path.stem for path in tmp_path.iterdir()} == {"counter", "skeleton"}


def test_other_programs_are_noticed() -> None:
    cores = place.Others().cores()
    assert cores is None or cores >= 0


def test_the_commit_is_known_and_ones_own_results_are_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"rev-parse": "abcdef1\n", "status": ""}

    def git(*words: str) -> str:
        assert words[0] == "rev-parse" or ":(exclude)benchmarks/results" in words
        return said.get(words[0], "")

    monkeypatch.setattr(place, "_git", git)
    assert place.commit() == "abcdef1"
    said["status"] = " M streamparts/data.py\n"
    assert place.commit() == "abcdef1+"
    said["rev-parse"] = ""
    assert place.commit() == "unknown"
