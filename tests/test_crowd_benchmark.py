"""Many live sources in the benchmark: every frame is tracked or counted as dropped."""

import pytest

pytest.importorskip("torch")

from benchmarks import crowd


@pytest.mark.usefixtures("no_threads_left")
def test_every_frame_of_every_source_is_counted() -> None:
    found = crowd.measure([2], 0.5, "puppet-human")
    assert [row["frames"] for row in found["rows"].values()] == [15, 30]
    assert list(found["rows"]) == ["alone", "2 shared"]
