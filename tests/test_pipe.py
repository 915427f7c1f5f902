"""Video on standard input."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from streamparts.errors import VideoError
from streamparts.sources.pipe import PipeSource
from tests.conftest import ROOT, environment
from tests.media import numbered_video


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):  # a test may have closed it
            os.close(end)


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".avi"])
def test_a_stream_on_standard_input_is_read_to_its_end(tmp_path: Path, suffix: str) -> None:
    video = numbered_video(tmp_path / f"a{suffix}", 50)
    code = (
        "from streamparts.sources import open_source; from streamparts.sources.rescale import Rescaler\n"
        "from streamparts.sources.pattern import read_number\n"
        "with open_source('-') as s: print(s.name, s.live, *[read_number(Rescaler().rgb(f)) for f in s])\n"
    )
    with video.open("rb") as file:
        result = subprocess.run(
            [sys.executable, "-c", code],
            stdin=file,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
            cwd=ROOT,
        )
    assert result.stderr == ""
    assert result.stdout.split() == ["stdin", "False", *map(str, range(50))]


@pytest.mark.parametrize("suffix", [".mkv", ".h264"])
def test_a_pipe_is_read_from_a_later_time_by_leaving_out_what_comes_before(tmp_path: Path, suffix: str) -> None:
    with numbered_video(tmp_path / f"a{suffix}", 50).open("rb") as file, PipeSource(file.fileno()) as source:
        source.start_at(1)
        assert [round(30 * frame.pts_seconds) for frame in source] == list(range(30, 50))


def test_closing_ends_the_wait_for_a_pipe_that_says_nothing(tmp_path: Path, pipe: tuple[int, int]) -> None:
    data = numbered_video(tmp_path / "a.ts", 90).read_bytes()
    source_opened, ended, sources = threading.Event(), threading.Event(), []

    def work() -> None:
        sources.append(PipeSource(pipe[0]))
        source_opened.set()
        for _ in sources[0]:
            pass
        ended.set()

    threading.Thread(target=work, daemon=True).start()
    os.write(pipe[1], data)
    assert source_opened.wait(60), "the first frame never came"
    assert not ended.wait(0.5), "the writer is still there"
    sources[0].close()
    assert ended.wait(60), "closing must end the waiting"


def test_garbage_on_standard_input_is_refused(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"HELLO\n" * 1000)
    os.close(pipe[1])
    with pytest.raises(VideoError, match="stdin: "):
        PipeSource(pipe[0])
