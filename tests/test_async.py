"""Tracking in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

import streamparts
from streamparts.bundle.load import Bundle
from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.runtime.loop import track
from streamparts.runtime.options import Policy
from tests.live import GatedBackend, HandSource, wait_for_threads
from tests.media import ArraySource
from tests.test_stream import Broken, BrokenBackend

T = TypeVar("T")
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def all_threads_end() -> Iterator[None]:
    """A moment after the event loop has."""
    yield
    wait_for_threads()


def run_async(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)


async def collect(results: AsyncGenerator[Tracks], seen: list[Tracks]) -> None:
    async for tracks in results:
        seen.append(tracks)


def test_the_same_tracks_come_as_from_the_plain_loop(video: Path, bundle: Bundle) -> None:
    seen: list[Tracks] = []
    run_async(collect(streamparts.atrack(video, bundle), seen))
    alone = list(track(video, bundle))
    assert [tracks.index for tracks in seen] == list(range(40))
    for one, other in zip(seen, alone, strict=True):
        np.testing.assert_array_equal(one.affines, other.affines)


@pytest.mark.parametrize("policy", ["all", "latest"])
def test_an_error_of_the_source_comes_after_the_tracks_before_it(bundle: Bundle, policy: Policy) -> None:
    seen: list[Tracks] = []
    source = ArraySource(100, fail_at=7, error=Broken("source"))
    with pytest.raises(Broken, match="source"):
        run_async(collect(streamparts.atrack(source, bundle, policy=policy), seen))
    assert len(seen) + sum(tracks.frame.dropped for tracks in seen) == 7


def test_an_error_of_the_network_comes_at_its_frame(bundle: Bundle) -> None:
    seen: list[Tracks] = []
    with pytest.raises(Broken, match="backend"):
        run_async(collect(streamparts.atrack(ArraySource(50), bundle, backend=BrokenBackend(bundle, 5)), seen))
    assert len(seen) == 5


def test_a_video_that_is_not_there_is_an_error_of_the_first_step(bundle: Bundle) -> None:
    with pytest.raises(VideoError, match="no such file"):
        run_async(collect(streamparts.atrack("none.mp4", bundle), []))


def test_the_event_loop_goes_on_while_the_network_works(bundle: Bundle) -> None:
    backend, seen = GatedBackend(bundle), list[Tracks]()

    async def main() -> None:
        task = asyncio.create_task(collect(streamparts.atrack(ArraySource(3), bundle, backend=backend), seen))
        while not backend.entered.is_set():
            await asyncio.sleep(0.001)
        for _ in range(100):
            await asyncio.sleep(0)
        assert seen == []
        backend.release.set()
        await task

    run_async(main())
    assert len(seen) == 3


@pytest.mark.parametrize("policy", ["all", "latest"])
def test_cancelling_the_task_ends_a_source_that_gives_nothing(bundle: Bundle, policy: Policy) -> None:
    source, seen = HandSource(), list[Tracks]()

    async def main() -> None:
        task = asyncio.create_task(collect(streamparts.atrack(source, bundle, policy=policy), seen))
        source.give(1)
        while not seen:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_async(main())
    assert source.closed


def test_leaving_the_loop_early_ends_the_threads(bundle: Bundle) -> None:
    source = ArraySource(10_000)

    async def main() -> None:
        async with aclosing(streamparts.atrack(source, bundle)) as results:
            async for tracks in results:
                if tracks.index == 2:
                    break

    run_async(main())
    assert source.num_made < 20


def test_a_network_that_hangs_is_left_behind_with_a_warning(bundle: Bundle) -> None:
    backend = GatedBackend(bundle)

    async def main() -> None:
        task = asyncio.create_task(collect(streamparts.atrack(ArraySource(9), bundle, backend=backend), []))
        while not backend.entered.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with pytest.warns(RuntimeWarning, match="threads are abandoned"):
        run_async(main())
    backend.release.set()


def test_several_loops_run_side_by_side(bundle: Bundle) -> None:
    seen: tuple[list[Tracks], list[Tracks]] = ([], [])

    async def main() -> None:
        await asyncio.gather(*(collect(streamparts.atrack(ArraySource(20), bundle), results) for results in seen))

    run_async(main())
    assert [len(results) for results in seen] == [20, 20]
