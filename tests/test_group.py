"""Several sinks, each of which may fail without affecting the others."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.sinks.background import BackgroundSink
from streamparts.sinks.group import Member, SinkGroup, SinkReport
from tests.test_data import make_tracks

pytestmark = pytest.mark.usefixtures("no_threads_left")


class Probe:
    """Counts frames, and fails from frame `fail_at` on, or when closed."""

    def __init__(self, fail_at: int | None = None, fails_closing: bool = False) -> None:
        self.num_written = self.num_closed = 0
        self._fail_at, self._fails_closing = fail_at, fails_closing

    def write(self, tracks: Tracks) -> None:
        if self.num_written == self._fail_at:
            raise VideoError(f"full after {self._fail_at}")
        self.num_written += 1

    def close(self) -> None:
        self.num_closed += 1
        if self._fails_closing:
            raise VideoError("cannot be closed")


def group_of(*sinks: Probe, failed: Callable[[Member, Exception], None] | None = None) -> SinkGroup:
    members = [Member(str(number), BackgroundSink(sink)) for number, sink in enumerate(sinks)]
    return SinkGroup(members, failed)


def test_what_fails_is_left_out_and_the_others_get_everything() -> None:
    good, bad, told = Probe(), Probe(fail_at=5), []
    group = group_of(bad, good, failed=lambda member, error: told.append((member.name, str(error))))
    for _ in range(50):
        group.write(make_tracks())
    assert told == [("0", "full after 5")], "told at once"
    assert group.num_files == 1
    with pytest.raises(VideoError, match="full after 5"):
        group.close()
    assert (good.num_written, bad.num_written) == (50, 5)
    assert (good.num_closed, bad.num_closed) == (1, 1)
    group.close()


def test_when_none_is_left_the_error_comes_at_once_and_names_them_all() -> None:
    group = group_of(Probe(fail_at=3), Probe(fail_at=7))
    with pytest.raises(VideoError, match=r"2 outputs failed: full after 3; full after 7"):
        for _ in range(50):
            group.write(make_tracks())
    group.close()


def test_failures_of_closing_are_raised_once_all_are_closed() -> None:
    probes = [Probe(fails_closing=True), Probe(), Probe(fails_closing=True)]
    group = group_of(*probes)
    group.write(make_tracks())
    with pytest.raises(VideoError, match="2 outputs failed"):
        group.close()
    assert [probe.num_closed for probe in probes] == [1, 1, 1]


def test_the_error_that_ends_a_run_stays_its_error() -> None:
    with pytest.raises(RuntimeError, match="the network") as caught, group_of(Probe(fail_at=0), Probe()) as group:
        for _ in range(10):
            group.write(make_tracks())
        raise RuntimeError("the network")
    assert caught.value.__notes__ == ["and: full after 0"]


def test_a_preview_alone_is_not_worth_a_run() -> None:
    preview = Probe()
    group = SinkGroup([Member("preview", preview, is_file=False), Member("o.mp4", Probe(fail_at=2))])
    with pytest.raises(VideoError, match="full after 2"):
        for _ in range(10):
            group.write(make_tracks())
    group.close()
    assert preview.num_closed == 1


def test_a_preview_that_was_alone_from_the_start_goes_on() -> None:
    preview = Probe()
    with SinkGroup([Member("preview", preview, is_file=False)]) as group:
        for _ in range(10):
            group.write(make_tracks())
    assert preview.num_written == 10


def test_a_failed_preview_costs_no_file() -> None:
    good = Probe()
    group = SinkGroup([Member("preview", Probe(fail_at=1), is_file=False), Member("o.mp4", good)])
    for _ in range(10):
        group.write(make_tracks())
    with pytest.raises(VideoError, match="full after 1"):
        group.close()
    assert good.num_written == 10


def test_all_are_closed_at_the_same_time() -> None:
    """Both wait for a barrier, which breaks if they are called one after the other."""
    barrier = threading.Barrier(2, timeout=20)

    class Waiting(Probe):
        def close(self) -> None:
            barrier.wait()

    SinkGroup([Member(str(number), Waiting()) for number in range(2)]).close()
    assert not barrier.broken


def test_the_reports_of_all_are_put_together(tmp_path: Path) -> None:
    reports = [SinkReport((tmp_path / "a",), ("note",)), SinkReport((tmp_path / "b", tmp_path / "c"))]
    group = SinkGroup([Member("x", Probe(), lambda report=report: report) for report in reports])
    assert group.paths == (tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert group.notes == ("note",)
