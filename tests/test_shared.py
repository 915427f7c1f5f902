"""One network shared by several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from streamparts.arrays import ByteArray
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.backends.shared import SharedBackend
from streamparts.bundle.load import Bundle
from streamparts.data import NetworkOutputs
from streamparts.errors import ModelError
from tests.live import GatedBackend, wait_for_threads, wait_until
from tests.media import picture

pytestmark = [pytest.mark.usefixtures("no_threads_left"), pytest.mark.timeout(120)]


def images(number: int, count: int = 1) -> ByteArray:
    return np.stack([picture(number + offset, 64, 64) for offset in range(count)])


class Callers:
    """Threads that each ask once and keep what they got."""

    def __init__(self, run: Callable[[ByteArray], NetworkOutputs]) -> None:
        self._run = run
        self.results: dict[int, NetworkOutputs | BaseException] = {}
        self._threads: list[threading.Thread] = []

    def ask(self, key: int, pictures: ByteArray) -> None:
        def work() -> None:
            try:
                self.results[key] = self._run(pictures)
            except BaseException as error:
                self.results[key] = error

        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    def wait(self) -> None:
        def join() -> None:
            for thread in self._threads:
                thread.join()

        join()


def num_waiting(shared: SharedBackend) -> int:
    return len(shared._waiting)


def ask_while_busy(shared: SharedBackend, backend: GatedBackend, sizes: list[int]) -> Callers:
    """One caller is in the network; then callers with the given numbers of images queue up, in order."""
    callers = Callers(shared.run)
    callers.ask(0, images(0))
    wait_until(backend.entered.is_set, "the first caller was in the network")
    for number, size in enumerate(sizes, 1):
        callers.ask(number, images(10 * number, size))
        wait_until(lambda number=number: num_waiting(shared) == number, "the caller waited")  # type: ignore[misc]
    return callers


def test_whatever_waits_goes_through_the_network_together_and_comes_back_apart(bundle: Bundle) -> None:
    backend, plain = GatedBackend(bundle), OnnxRuntimeBackend(bundle, threads=1)
    shared = SharedBackend(backend)
    callers = ask_while_busy(shared, backend, [1, 2, 3])
    backend.release.set()
    callers.wait()
    assert shared.close()
    assert backend.batches == [1, 6]
    for number, size in ((0, 1), (1, 1), (2, 2), (3, 3)):
        outputs, alone = callers.results[number], plain.run(images(10 * number, size))
        assert isinstance(outputs, NetworkOutputs)
        assert outputs.evidence is None
        np.testing.assert_array_equal(outputs.labels, alone.labels)
        np.testing.assert_allclose(outputs.affines, alone.affines, atol=1e-6)
        np.testing.assert_allclose(outputs.scores, alone.scores, atol=1e-6)


@pytest.mark.parametrize(("sizes", "batches"), [([2, 2, 1], [1, 4, 1]), ([3, 3], [1, 3, 3]), ([9, 1], [1, 9, 1])])
def test_a_batch_is_no_larger_than_allowed_unless_one_caller_wants_it(
    bundle: Bundle, sizes: list[int], batches: list[int]
) -> None:
    backend = GatedBackend(bundle)
    shared = SharedBackend(backend, max_batch=4)
    callers = ask_while_busy(shared, backend, sizes)
    backend.release.set()
    callers.wait()
    assert shared.close()
    assert backend.batches == batches


def test_one_caller_does_not_wait_for_others(bundle: Bundle) -> None:
    backend = GatedBackend(bundle, stuck_at=100)
    shared = SharedBackend(backend)
    [shared.run(images(number)) for number in range(5)]
    assert shared.close()
    assert backend.batches == [1] * 5


class FailsOnBatches(GatedBackend):
    def run(self, images: ByteArray) -> NetworkOutputs:
        outputs = super().run(images)
        if len(images) == 2:
            raise ModelError("no pairs")
        return outputs


def test_an_error_reaches_the_callers_of_its_batch_and_nobody_else(bundle: Bundle) -> None:
    backend = FailsOnBatches(bundle)
    shared = SharedBackend(backend, max_batch=2)
    callers = ask_while_busy(shared, backend, [1, 1, 1])
    backend.release.set()
    callers.wait()
    assert shared.close()
    assert backend.batches == [1, 2, 1]
    kinds = [type(callers.results[number]) for number in range(4)]
    assert kinds == [NetworkOutputs, ModelError, ModelError, NetworkOutputs]


def test_closing_ends_all_who_wait_also_where_the_network_hangs(bundle: Bundle) -> None:
    backend = GatedBackend(bundle)
    shared = SharedBackend(backend)
    callers = ask_while_busy(shared, backend, [1, 1])
    assert not shared.close(), "the network hangs, its thread is left behind"
    callers.wait()
    assert all(isinstance(result, ModelError) for result in callers.results.values())
    with pytest.raises(ModelError, match="was closed"):
        shared.run(images(0))
    backend.release.set()
    wait_for_threads()


def test_the_limit_of_the_backend_is_kept(bundle: Bundle) -> None:
    backend = GatedBackend(bundle)
    backend.max_batch = 2  # type: ignore[attr-defined]
    shared = SharedBackend(backend)
    callers = ask_while_busy(shared, backend, [1, 1, 1])
    backend.release.set()
    callers.wait()
    assert shared.close()
    assert backend.batches == [1, 2, 1]
    with pytest.raises(ValueError, match="max_batch"):
        SharedBackend(backend, max_batch=0)


class TwoSlots:
    """A backend that can start on a batch before the one before it is done; each result waits for a permit."""

    name, max_batch = "two slots", 4

    def __init__(self, bundle: Bundle) -> None:
        self._inner = OnnxRuntimeBackend(bundle, threads=1)
        self._free = [np.zeros((self.max_batch, 64, 64, 3), np.uint8) for _ in range(2)]
        self._under_way: list[tuple[ByteArray, int]] = []
        self.permits = threading.Semaphore(0)
        self.log: list[str] = []
        self.fails: set[str] = set()

    def rows(self, batch: int) -> ByteArray:
        return self._free[0][:batch]

    def submit(self, images: ByteArray) -> None:
        assert np.shares_memory(images, self._free[0]), "images are written where they are uploaded from"
        self.log.append(f"start {len(images)}")
        if "submit" in self.fails:
            raise ModelError("cannot start")
        self._under_way.append((self._free.pop(0), len(images)))

    def collect(self) -> NetworkOutputs:
        self.permits.acquire()
        memory, batch = self._under_way.pop(0)
        self.log.append(f"end {batch}")
        try:
            if "collect" in self.fails:
                raise ModelError("failed under way")
            return self._inner.run(memory[:batch])
        finally:
            self._free.append(memory)

    def run(self, images: ByteArray) -> NetworkOutputs:
        assert not self._under_way, "a batch is under way"
        self.log.append(f"all of {len(images)}")
        return self._inner.run(images)


def test_the_next_batch_starts_while_one_is_under_way(bundle: Bundle) -> None:
    backend, plain = TwoSlots(bundle), OnnxRuntimeBackend(bundle, threads=1)
    shared = SharedBackend(backend)
    callers = Callers(shared.run)
    sizes = [1, 2, 3, 9]
    for number, size in enumerate(sizes):
        callers.ask(number, images(10 * number, size))
        started, left = min(number + 1, 2), max(0, number - 1)
        wait_until(lambda n=started: len(backend.log) == n, "two at most were under way")  # type: ignore[misc]
        wait_until(lambda n=left: num_waiting(shared) == n, "the others waited")  # type: ignore[misc]
    assert backend.log == ["start 1", "start 2"]
    backend.permits.release(3)
    callers.wait()
    assert [line for line in backend.log if line[0] != "e"] == ["start 1", "start 2", "start 3", "all of 9"]
    assert [line for line in backend.log if line[0] == "e"] == ["end 1", "end 2", "end 3"]
    for number, size in enumerate(sizes):
        result = callers.results[number]
        assert isinstance(result, NetworkOutputs)
        np.testing.assert_array_equal(result.labels, plain.run(images(10 * number, size)).labels)
    assert shared.close()


@pytest.mark.parametrize("where", ["submit", "collect"])
def test_a_batch_that_fails_under_way_is_its_callers_error(bundle: Bundle, where: str) -> None:
    backend = TwoSlots(bundle)
    backend.permits.release(10)
    shared = SharedBackend(backend)
    backend.fails.add(where)
    with pytest.raises(ModelError, match=r"cannot start|failed under way"):
        shared.run(images(0))
    backend.fails.clear()
    assert isinstance(shared.run(images(1)), NetworkOutputs)
    assert shared.close()
