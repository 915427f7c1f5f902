"""The benchmark report: rendering of given figures, continuation, and consistency with the README."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("torch")

from benchmarks import place, report
from benchmarks.headlines import BEGIN, END, MissingFigureError, readme_block, replaced
from benchmarks.markdown import table
from benchmarks.pages import GPU_COMMAND, results_page
from benchmarks.sections import SECTIONS, Options
from benchmarks.tables import TABLES
from tests.conftest import ROOT

MACHINE = {"processor": "Abacus 3000", "cores": 2, "system": "Linux", "python": "3.11.7"}
KEPT = report.records(ROOT / "benchmarks")
"""Committed results."""
NUMBER = re.compile(r"(?<![\w.-])\d*\.?\d+")


def record(name: str, **changes: Any) -> dict[str, Any]:
    """The committed figures of a section, as if measured on a quiet Abacus."""
    found = {
        "section": name,
        "at": "2026-01-02 03:04 UTC",
        "seconds": 5.0,
        "other programs, cores": 0.01,
        "load before": 0.1,
        "commit": "abcdef1",
        "changes": "",
        "machine": MACHINE,
        "options": {"quick": False},
        "versions": {"numpy": "9.9"},
        "figures": KEPT[name]["figures"],
    }
    return {**found, **changes}


def all_records(**changes: Any) -> dict[str, dict[str, Any]]:
    return {"learning": KEPT["learning"], **{name: record(name, **changes) for name in SECTIONS}}


def without_figures(name: str, reason: str) -> dict[str, Any]:
    found = record(name, failed=reason)
    del found["figures"]
    return found


def section(page: str, name: str) -> str:
    """The text below the heading of a section."""
    return page.split(f"## {TABLES[name][0]}\n")[1].split("\n## ")[0]


def write_results(folder: Path, records: dict[str, dict[str, Any]]) -> None:
    (folder / "results").mkdir(parents=True)
    for name, kept in records.items():
        (folder / "results" / f"{name}.json").write_text(json.dumps(kept))


def test_every_section_has_a_table_and_its_place() -> None:
    assert set(TABLES) == {*SECTIONS, "learning", "gpu"}
    assert set(SECTIONS) <= set(KEPT), "figures of every section are committed"


def test_the_page_has_every_section_with_machine_commit_and_command() -> None:
    page = results_page(all_records(), "the table")
    assert page.startswith("# Measured\n")
    assert "Machine: processor Abacus 3000, cores 2" in page
    assert "the table" in page
    for name in SECTIONS:
        text = section(page, name)
        assert f"`python -m benchmarks.report --only {name}" in text
        assert "2026-01-02 03:04 UTC | abcdef1 | 5.0 s | 0.01" in text
    assert "rehearsal" not in page and "busy" not in page and "had changes" not in page


def test_a_figure_of_the_json_is_the_figure_of_the_table() -> None:
    figures = json.loads(json.dumps(KEPT["runtime"]["figures"]))
    figures["rows"]["1280x720, puppet-human"]["tracks only"]["fps"] = 123.4
    records = {**all_records(), "runtime": record("runtime", figures=figures)}
    assert "| 1280x720, puppet-human | tracks only |" in section(results_page(records, None), "runtime")
    assert "| 123.4 |" in section(results_page(records, None), "runtime")


def test_a_section_that_failed_or_was_not_measured_says_so_and_the_others_stand() -> None:
    records = all_records()
    records["engines"] = without_figures("engines", "RuntimeError: no such\nthing")
    del records["live"]
    page = results_page(records, None)
    assert section(page, "engines").strip().startswith("Failed: RuntimeError: no such")
    assert "Not measured yet: `python -m benchmarks.report --only live`" in section(page, "live")
    assert "foreground IoU" in section(page, "accuracy")


def test_without_a_gpu_there_is_the_command_and_no_figure() -> None:
    text = section(results_page(all_records(), None), "gpu")
    assert GPU_COMMAND in text
    assert "|" not in text


def test_figures_of_a_gpu_stand_with_gpu_driver_and_commit() -> None:
    latency = {"p05": 0.3, "p50": 0.412, "p95": 0.5, "mean": 0.4, "runs": 9}
    parts: dict[str, Any] = {
        "gpu": {"name": "Big GPU", "compute_capability": "9.0", "driver_cuda": "13.0", "seconds": 0.1},
        "driver": {"nvidia_smi": ["Big GPU, 580.1, 81559 MiB"], "seconds": 0.1},
        "tensorrt fp16": {
            "latency_ms": latency,
            "frames_per_second": {"1": 2400.2, "256": 31000.9},
            "frames_per_second_overlapped": {"256": 33000.1},
        },
        "tensorrt int8": {"failed": "RuntimeError: will not", "seconds": 0.1},
    }
    gpu = {"parts": parts, "commit": "fedcba9", "versions": {"torch": "2.13"}, "command": ["--out", "gpu.json"]}
    gpu |= {"model": "puppet-human", "frames": "patterns"}
    text = section(results_page({**all_records(), "gpu": gpu}, None), "gpu")
    for expected in ("Big GPU, 580.1", "fedcba9", "0.412", "31001 in batches of 256", "33000 in batches of 256"):
        assert expected in text
    assert "- tensorrt int8: could not: RuntimeError: will not" in text
    assert "No run on a GPU" not in text


def test_a_rehearsal_a_busy_machine_and_a_changed_checkout_are_told() -> None:
    records = all_records()
    records["runtime"]["options"] = {"quick": True}
    records["engines"]["other programs, cores"] = 0.9
    records["live"]["commit"] = "abcdef1+"
    page = results_page(records, None)
    assert re.search(r"rehearsal.*: runtime\.", page)
    assert re.search(r"busy.* in: engines\.", page)
    assert re.search(r"uncommitted changes.* in: live\.", page)


def test_sections_of_two_machines_are_told_apart() -> None:
    records = {**all_records(), "live": record("live", machine={**MACHINE, "processor": "Slide rule"})}
    page = results_page(records, None)
    assert "Machine (live): processor Slide rule" in page
    assert "processor Abacus 3000" in page


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(["a"], [["x|y"], [None], [[1, None]]]).split("\n")[2:] == ["| x\\|y |", "| - |", "| 1, - |"]


def test_pictures_are_equal_for_equal_figures_and_small(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        write_results(folder, all_records())
        report.render(folder, None)
    pictures = sorted((folders[0] / "pictures").iterdir())
    named = set(re.findall(r"\]\(pictures/(\w+\.svg)\)", (folders[0] / "RESULTS.md").read_text()))
    assert {path.name for path in pictures} == named and len(named) >= 5
    for path in pictures:
        assert path.read_bytes() == (folders[1] / "pictures" / path.name).read_bytes()
        assert path.stat().st_size < 40_000


def test_a_cheap_section_is_measured_and_not_measured_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "commit", lambda: "abcdef1")
    monkeypatch.setattr(report, "commit", lambda: "abcdef1")
    monkeypatch.setattr(report, "changes_digest", lambda: "")
    words = ["--quick", "--only", "counter", "--out", str(tmp_path)]
    assert report.main(words) == 0
    assert "[1/1] counter: done" in capsys.readouterr().out
    kept = json.loads((tmp_path / "results" / "counter.json").read_text())
    assert kept["figures"]["faults in the results"] == 0
    assert kept["options"] == {"quick": True}
    assert {"commit", "machine", "versions", "seconds"} <= set(kept)
    page = (tmp_path / "RESULTS.md").read_text()
    assert "| 50 |" in section(page, "counter")
    assert "Not measured yet" in section(page, "runtime")
    assert report.main(words) == 0
    assert "measured already" in capsys.readouterr().out
    monkeypatch.setattr(report, "commit", lambda: "abcdef2")
    assert report.main([*words, "--limit-minutes", "0"]) == 1
    assert "counter: not done within 0 minutes" in capsys.readouterr().out


def test_a_section_that_ends_badly_leaves_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; print('much'); sys.exit('ValueError: that will not do')"
    assert report._finished([sys.executable, "-c", code], 60) == "ValueError: that will not do"
    assert report._finished([sys.executable, "-c", "raise SystemExit(3)"], 60) == "ended with code 3"
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert report._finished([sys.executable, "-c", killed], 60) == "ended by signal 9"
    monkeypatch.setattr(report, "_finished", lambda words, limit: "ValueError: no")
    report.measure_all(["counter", "live"], Options(quick=True), tmp_path, False, 60)
    assert [report.records(tmp_path)[name]["failed"] for name in ("counter", "live")] == ["ValueError: no"] * 2


def test_a_damaged_result_is_measured_again(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"figures": ')
    assert report.kept(tmp_path / "x.json") is None
    assert report.kept(tmp_path / "none.json") is None


def test_the_readmes_table_is_what_the_results_say() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme_block(KEPT)
    assert replaced(readme, block) == readme, "python -m benchmarks.report --render-only writes it"
    assert block in (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")


def test_the_results_are_what_their_files_say(tmp_path: Path) -> None:
    write_results(tmp_path, {name: kept for name, kept in KEPT.items() if name != "learning"})
    report.render(tmp_path, None)
    committed = ROOT / "benchmarks"
    assert (tmp_path / "RESULTS.md").read_text() == (committed / "RESULTS.md").read_text(encoding="utf-8")
    pictures = {path.name for path in (committed / "pictures").iterdir()}
    assert pictures == {path.name for path in (tmp_path / "pictures").iterdir()}


def test_every_other_figure_of_the_readme_stands_in_the_results() -> None:
    """Numbers with a decimal point in running text: measured ones, not settings."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", " ", readme, flags=re.DOTALL)
    stated = {float(word) for word in NUMBER.findall(prose) if "." in word}
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    known = [float(word) for word in NUMBER.findall(results)]
    unknown = {figure for figure in stated if not any(round(value, _places(figure)) == figure for value in known)}
    assert unknown == set()
    assert {0.647, 0.684, 0.494, 0.541, 0.621} <= stated, "this test reads what it should"


def _places(figure: float) -> int:
    return len(str(figure).partition(".")[2])


def test_a_readme_without_its_marks_or_a_missing_section_is_told() -> None:
    with pytest.raises(ValueError, match=re.escape(BEGIN)):
        replaced("# Nothing here", "block")
    assert replaced(f"a\n{BEGIN}\nold\n{END}\nb", "new\\1") == f"a\n{BEGIN}\nnew\\1\n{END}\nb"
    records = all_records()
    with pytest.raises(MissingFigureError, match="section accuracy"):
        readme_block({**records, "accuracy": without_figures("accuracy", "no")})
    engines = {**records["engines"]["figures"], "rows": []}
    with pytest.raises(MissingFigureError, match="shipped, fp32"):
        readme_block({**records, "engines": record("engines", figures=engines)})


def test_the_readme_says_when_the_machine_was_busy() -> None:
    records = all_records()
    assert "busy" not in readme_block(records)
    records["engines"]["other programs, cores"] = 0.9
    assert "other programs kept the machine busy" in readme_block(records)


def test_a_rehearsal_does_not_reach_the_readme(tmp_path: Path) -> None:
    records = all_records()
    records["accuracy"]["options"] = {"quick": True}
    write_results(tmp_path / "out", {name: kept for name, kept in records.items() if name != "learning"})
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\nold\n{END}\n")
    assert report.render(tmp_path / "out", readme) == [
        "the README's table stays as it is: figures of a rehearsal are not for it"
    ]
    assert "old" in readme.read_text()
    write_results(tmp_path / "whole", {name: record(name) for name in SECTIONS})
    assert report.render(tmp_path / "whole", readme) == []
    assert "Abacus 3000" in readme.read_text()


def test_other_programs_are_noticed() -> None:
    cores = place.Others().cores()
    assert cores is None or cores >= 0


def test_the_commit_is_known_and_ones_own_results_are_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"rev-parse": "abcdef1\n", "status": ""}

    def git(*words: str) -> str:
        assert words[0] == "rev-parse" or {":(exclude)benchmarks/results", ":(exclude)README.md"} <= set(words)
        return said.get(words[0], "")

    monkeypatch.setattr(place, "_git", git)
    assert (place.commit(), place.changes_digest()) == ("abcdef1", "")
    said["status"] = " M streamparts/data.py\n"
    assert place.commit() == "abcdef1+" and place.changes_digest()
    said["rev-parse"] = ""
    assert place.commit() == "unknown"
