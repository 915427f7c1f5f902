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
