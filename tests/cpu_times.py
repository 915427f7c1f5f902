"""A pytest plugin: python -m pytest -p tests.cpu_times ... prints the processor seconds of the slowest thirty tests,
which other work on the machine changes little.

Counted are those of the process and of the children that it waited for, from the first fixture on. A fixture of several
tests counts for the first of them, and the cases of a test are added up.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator

import pytest

NUM_SHOWN = 30
_KEY = "processor seconds"
_began: dict[str, float] = {}


def _seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _began[item.nodeid] = _seconds()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    if call.when == "teardown":
        item.user_properties.append((_KEY, _seconds() - _began.pop(item.nodeid, _seconds())))
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seconds, cases = Counter[str](), Counter[str]()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for key, value in getattr(report, "user_properties", ()):
                if key == _KEY and report.when == "teardown":
                    name = report.nodeid.split("[")[0]
                    seconds[name] += value
                    cases[name] += 1
    terminalreporter.section(f"processor seconds: {seconds.total():.0f} of {cases.total()} tests")
    for name, value in seconds.most_common(NUM_SHOWN):
        terminalreporter.write_line(f"{value:7.1f} s  {cases[name]:4} x {name}")
