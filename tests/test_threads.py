"""Components shared between threads: channel, prefetch, background sink, meters."""

import gc
import itertools
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pytest

from streamparts.bundle.load import Bundle
from streamparts.data import Tracks
from streamparts.meter import AgeMeter, StageClock
from streamparts.runtime.loop import track
from streamparts.sinks.background import BackgroundSink
from streamparts.threads import Channel, DaemonThread, Prefetch
from tests.media import ArraySource
from tests.test_data import make_tracks

pytestmark = pytest.mark.usefixtures("no_threads_left")


class Broken(Exception):
    """Raised by the stage under test."""


def test_prefetch_gives_the_same_items() -> None:
    assert list(Prefetch(range(100), 3)) == list(range(100))


def test_prefetch_of_nothing_ends() -> None:
    assert list(Prefetch([], 1)) == []


def test_prefetch_closed_while_its_thread_waits_for_room_ends_the_thread() -> None:
    numbers = Prefetch(itertools.count(), 2)
    assert next(iter(numbers)) == 0
    time.sleep(0.05)
    assert numbers.close()


@dataclass
class Item:
    number: int


class Owner:
    """Of a prefetch whose items come from its own generator, as in a pipeline."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.prefetch = Prefetch(self.items(), 1)
        self.fails_at = fails_at

    def items(self) -> Iterator[Item]:
        for number in itertools.count():
            if number == self.fails_at:
                raise Broken
            yield Item(number)


@pytest.mark.parametrize("fails_at", [None, 3])
def test_a_prefetch_that_was_left_early_or_failed_keeps_nothing_in_memory(fails_at: int | None) -> None:
    """At once, not when the garbage collector comes: the items are images, and the generator has the decoder."""
    gc.collect()
    gc.disable()
    try:
        owner = Owner(fails_at)
        items, seen = iter(owner.prefetch), list[weakref.ref[Item]]()
        with suppress(Broken):
            for item in items:
                seen.append(weakref.ref(item))
                if item.number == 5:
                    break
        del item, items
        assert owner.prefetch.close()
        ref = weakref.ref(owner)
        del owner
        assert [each for each in (ref, *seen) if each() is not None] == []
    finally:
        gc.enable()


def test_a_channel_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="depth"):
        Channel(0)


def test_of_larger_items_fewer_wait() -> None:
    channel: Channel[int] = Channel(9, weigh=lambda mb: mb << 20)
    assert [channel.put(mb, timeout=0.01) for mb in (60, 60, 60, 60, 60, 16)] == [True] * 4 + [False, True]
    assert next(iter(channel)) == 60
    assert [channel.put(mb, timeout=0.01) for mb in (61, 60, 0)] == [False, True, True]


def test_a_heavy_item_is_handed_over_and_never_waits() -> None:
    channel: Channel[int] = Channel(4, weigh=lambda mb: mb << 20)
    assert not channel.put(1000, timeout=0.05), "nobody asks"
    taken: list[int] = []
    taker = threading.Thread(target=lambda: taken.extend(itertools.islice(channel, 2)))
    taker.start()
    assert channel.put(1000, timeout=30)
    assert channel.put(1001, timeout=30)
    taker.join(30)
    assert taken == [1000, 1001]
    assert not channel.put(1002, timeout=0.05), "the consumer has left"


def test_a_channel_that_replaces_has_as_little_room_for_heavy_items() -> None:
    channel: Channel[int] = Channel(3, lambda waiting, newer: newer, weigh=lambda mb: mb << 20)
    assert all(channel.put(mb) for mb in (200, 100, 101, 102))
    channel.finish()
    assert list(channel) == [100, 102]


def test_of_huge_pictures_only_one_waits_for_each_stage(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit below the size of a single image, instead of huge images."""

    def most_ahead() -> int:
        source, ahead = ArraySource(30), []
        for number, _ in enumerate(track(source, bundle, backend="onnxruntime")):
            time.sleep(0.02)
            ahead.append(source.num_made - number)
        return max(ahead[:20])

    usual = most_ahead()
    monkeypatch.setattr("streamparts.threads.MOST_BYTES", 1)
    assert most_ahead() == usual - 1


def test_a_channel_gives_what_was_put_before_an_error_first() -> None:
    channel: Channel[int] = Channel(3)
    channel.put(1)
    channel.put(2)
    channel.finish(Broken("after"))
    seen = []
    with pytest.raises(Broken):
        for item in channel:
            seen.append(item)
    assert seen == [1, 2]


def test_putting_into_a_cancelled_channel_says_so() -> None:
    channel: Channel[int] = Channel(1)
    channel.cancel()
    assert not channel.put(1)


class SlowSink:
    def __init__(self) -> None:
        self.indices: list[int] = []
        self.closed = False

    def write(self, tracks: Tracks) -> None:
        time.sleep(0.01)
        self.indices.append(tracks.index)

    def close(self) -> None:
        self.closed = True


def test_closing_a_background_sink_writes_what_is_queued() -> None:
    slow = SlowSink()
    sink = BackgroundSink(slow, depth=4)
    for _ in range(6):
        sink.write(make_tracks())
    sink.close()
    assert len(slow.indices) == 6
    assert slow.closed


def test_an_error_of_a_background_sink_is_raised_once() -> None:
    class FailingSink(SlowSink):
        def write(self, tracks: Tracks) -> None:
            raise Broken("sink")

    inner = FailingSink()
    sink = BackgroundSink(inner)
    with pytest.raises(Broken):
        for _ in range(100):
            sink.write(make_tracks())
    sink.close()
    assert inner.closed


def test_ages_are_known_to_two_percent_once_the_last_sink_has_written() -> None:
    meter = AgeMeter(num_sinks=2)
    for index in range(100):
        decoded_at = time.perf_counter() - (index + 1) / 10
        meter.written(index, decoded_at)
        if index == 0:
            assert np.isnan(meter.quantile_ms(0.5))
        meter.written(index, decoded_at)
    assert meter.quantile_ms(0.5) == pytest.approx(5000, rel=0.03)
    assert meter.quantile_ms(0.95) == pytest.approx(9500, rel=0.03)


def test_a_clock_means_over_the_turns_of_each_stage() -> None:
    clock = StageClock()
    clock.add("a", 0.001)
    clock.add("a", 0.003)
    assert clock.mean_ms() == {"a": 2.0}
    assert list(clock.time_each("b", "xyz")) == ["x", "y", "z"]
    assert clock.mean_ms()["b"] < 1


def test_a_thread_is_waited_for_as_long_as_patience_lasts() -> None:
    release = threading.Event()
    thread = DaemonThread("test", release.wait)
    assert not thread.ends(0.01), "it hangs, and is given up"
    left = iter([None, 0.01, 5.0, 0.0])
    assert not thread.ends(lambda: next(left)), "asked again and again until nothing is left"
    assert next(left, "all") == "all"
    release.set()
    assert thread.ends() and thread.ends(0)


def test_an_error_of_a_thread_is_kept_and_raised_once() -> None:
    def fail() -> None:
        raise KeyError("lost")

    thread = DaemonThread("test", fail, keeps_error=True)
    assert thread.ends()
    with pytest.raises(KeyError, match="lost"):
        thread.raise_error()
    thread.raise_error()


def test_an_error_that_is_not_kept_is_printed_by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: seen.append(str(hook.exc_value)))

    def fail() -> None:
        raise ValueError("of a driver")

    assert DaemonThread("test", fail).ends()
    assert seen == ["of a driver"]
