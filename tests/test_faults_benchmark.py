"""benchmarks.faults counts the outcomes of each trial, including processes that die or hang."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from benchmarks.faults import trials
from benchmarks.faults.harm import KINDS, outcome, spoilt
from benchmarks.faults.trials import TRIALS, carried_out, tried
from streamparts.errors import VideoError

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGPROF"), reason="processes are watched by POSIX's means")

DIES = """
import os, signal, sys
for n in range(int(sys.argv[1]), int(sys.argv[2])):
    print(n, end=" ", flush=True)
    if n == 3:
        os.abort()
    if n == 5:
        signal.setitimer(signal.ITIMER_PROF, 0.01)
        while True:
            pass
    print("bad: x" if n == 7 else ("read", "refused")[n % 2], flush=True)
print("peak", 10 * int(sys.argv[1]) + 5)
"""


def test_after_a_process_that_dies_or_hangs_the_next_number_is_tried() -> None:
    came = tried([sys.executable, "-c", DIES], 10)
    assert came == {"read": 5, "refused": 2, "crash": 1, "hang": 1, "bad": 1, "peak MB": 65}


def test_a_command_that_cannot_begin_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"before.*first"):
        tried([sys.executable, "-c", "raise SystemExit(3)"], 5)


def test_a_process_that_says_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "SILENT_SECONDS", 0.2)
    sleeper = "import sys, time\nprint(sys.argv[1], flush=True, end=' \\n')\nif sys.argv[1] == '0': time.sleep(60)"
    assert tried([sys.executable, "-c", sleeper], 2)["hang"] == 1


def test_damage_is_of_every_kind_and_the_same_each_time() -> None:
    sound = bytes(range(256)) * 8
    every = [spoilt(sound, seed) for seed in range(4 * len(KINDS))]
    assert every == [spoilt(sound, seed) for seed in range(4 * len(KINDS))]
    assert len(set(every)) > 3 * len(KINDS)
    assert {(len(data) > len(sound)) - (len(data) < len(sound)) for data in every} == {-1, 0, 1}


def test_an_error_of_many_lines_and_one_that_is_not_ours_are_bad(tmp_path: Path) -> None:
    def raises(error: BaseException) -> str:
        def read(path: Path) -> str:
            raise error

        return outcome(read, tmp_path)

    assert raises(VideoError("one line")) == "refused"
    assert raises(VideoError("two\nlines")).startswith("bad: not one line")
    assert raises(KeyError("x")).startswith("bad: KeyError")
    assert raises(MemoryError()).startswith("bad: MemoryError")


@pytest.mark.parametrize(
    ("name", "count", "came"),
    [
        ("pairs", 2, "2 x one refused and one written, the file whole"),
        ("kills", 2, "2 kills: 2 gaps, 3 segments, 0 times that go back"),
        ("videos", 12, "0 crashes, 0 hangs, 0 other errors"),
        ("tracks", 12, "0 crashes, 0 hangs, 0 other errors"),
        ("models", 8, "0 crashes, 0 hangs, 0 other errors"),
        ("hostile", 1, " kinds refused, at most "),
        ("huge", 2, "exit 0, 24 frames, "),
        ("soak", 2, "threads; at most "),
    ],
)
def test_a_small_trial_gives_a_line(name: str, count: int, came: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "HUGE_SIDE", 100)
    if name in ("models", "hostile"):
        pytest.importorskip("onnx")
    what, line = carried_out(name, count)
    assert what == TRIALS[name][0] and came in line
