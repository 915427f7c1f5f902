"""The choice of a backend, and the errors if none can be used."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from streamparts.arrays import ByteArray
from streamparts.backends import choice, measuring, remembered
from streamparts.backends.choice import BACKENDS, Entry, choose_backend, find_backends, open_backend
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, NetworkOutputs
from streamparts.errors import BackendError, ModelError
from streamparts.machine import num_threads


class FakeBackend:
    """Gives nothing, and counts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.num_runs = 0

    def run(self, images: ByteArray) -> NetworkOutputs:
        self.num_runs += 1
        empty = np.zeros(0, np.float32)
        return NetworkOutputs(empty.astype(np.uint8), empty, empty)


def fails(bundle: Bundle, threads: int | None) -> Backend:
    raise BackendError("out of order")


def fake(name: str, auto: choice.Role) -> Entry:
    return Entry(lambda bundle: None, lambda bundle, threads: FakeBackend(name), auto)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Puts other rows in the place of BACKENDS, and forgets what was chosen in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def replace(**entries: Entry) -> None:
        monkeypatch.setattr(choice, "BACKENDS", entries)
        monkeypatch.setattr(choice, "_names_chosen", {})

    replace(**BACKENDS)
    return replace


def never(*_: object) -> dict[str, float]:
    raise AssertionError("measured without need")


def test_auto_measures_the_cpu_engines_and_says_what_it_found(bundle: Bundle, table: Callable[..., None]) -> None:
    table(one=fake("one", "cpu"), two=fake("two", "cpu"), asked=fake("asked", "never"))
    chosen = choose_backend(bundle)
    other = {"one": "two", "two": "one"}[chosen.backend.name]
    assert f"here, {other} " in chosen.why
    assert "asked" not in chosen.why


def test_what_was_measured_is_remembered_for_the_model(
    bundle: Bundle, table: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    table(one=fake("one", "cpu"), two=fake("two", "cpu"))
    first = choose_backend(bundle)
    monkeypatch.setattr(choice, "measure", never)
    again = choose_backend(bundle)
    assert (again.backend.name, again.why) == (first.backend.name, first.why)
    assert again.backend is not first.backend
    with pytest.raises(AssertionError, match="measured without need"):
        choose_backend(bundle, threads=num_threads(None) + 1)


def test_what_was_measured_is_remembered_for_later_processes(
    bundle: Bundle, table: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"one": fake("one", "cpu"), "two": fake("two", "cpu")}
    table(**rows)
    first = choose_backend(bundle)
    table(**rows)  # as in a new process
    with monkeypatch.context() as patched:
        patched.setattr(choice, "measure", never)
        again = choose_backend(bundle)
        assert (again.backend.name, again.why) == (first.backend.name, f"{first.why}, measured before")
        table(**rows, three=fake("three", "cpu"))
        with pytest.raises(AssertionError, match="measured without need"):
            choose_backend(bundle)
        table(**rows)
        patched.setattr(remembered, "MOST_DAYS", 0)
        with pytest.raises(AssertionError, match="measured without need"):
            choose_backend(bundle)


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"name":"other","why":"x"}', b'{"name":"one","why":"\\u0007"}'])
def test_a_damaged_memory_is_measured_anew(
    bundle: Bundle, table: Callable[..., None], monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    rows = {"one": fake("one", "cpu"), "two": fake("two", "cpu")}
    table(**rows)
    choose_backend(bundle)
    (path,) = remembered.folder().glob("*.json")
    path.write_bytes(damage)
    table(**rows)
    assert "measured before" not in choose_backend(bundle).why
    table(**rows)
    assert "measured before" in choose_backend(bundle).why


def test_a_remembered_backend_that_no_longer_opens_is_measured_anew(bundle: Bundle, table: Callable[..., None]) -> None:
    table(one=fake("one", "cpu"), two=fake("two", "cpu"))
    gone = choose_backend(bundle).backend.name
    left = {"one": "two", "two": "one"}[gone]
    rows = {"one": fake("one", "cpu"), "two": fake("two", "cpu"), gone: Entry(lambda bundle: None, fails, "cpu")}
    table(**rows)
    assert choose_backend(bundle).backend.name == left


def test_a_single_engine_is_not_measured(
    bundle: Bundle, table: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    table(one=fake("one", "cpu"), two=Entry(lambda bundle: "not installed", fails, "cpu"))
    monkeypatch.setattr(choice, "measure", never)
    chosen = choose_backend(bundle)
    assert (chosen.backend.name, chosen.why) == ("one", "the only available CPU backend")


def test_a_gpu_engine_comes_first(bundle: Bundle, table: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    table(cpu=fake("cpu", "cpu"), gpu=fake("gpu", "gpu"), later=fake("later", "gpu"))
    monkeypatch.setattr(choice, "measure", never)
    chosen = choose_backend(bundle)
    assert (chosen.backend.name, chosen.why) == ("gpu", "the first available GPU backend")


@pytest.mark.parametrize("off", [0.0, 0.5])
def test_half_precision_comes_first_where_it_agrees_with_the_model(
    bundle: Bundle, table: Callable[..., None], off: float
) -> None:
    class Half:
        name = "half"

        def __init__(self) -> None:
            self._exact = OnnxRuntimeBackend(bundle)

        def run(self, images: ByteArray) -> NetworkOutputs:
            outputs = self._exact.run(images)
            return outputs._replace(affines=outputs.affines + np.float32(off))

    half = Entry(lambda bundle: None, lambda bundle, threads: Half(), "gpu", exact=False)
    table(half=half, full=fake("full", "gpu"), cpu=fake("cpu", "cpu"))
    chosen = choose_backend(bundle)
    if off:
        assert chosen.backend.name == "full" and "half failed: half differs from the model: " in chosen.why
    else:
        assert (chosen.backend.name, chosen.why) == ("half", "the first available GPU backend")


def test_on_a_gpu_auto_asks_for_half_precision_before_full() -> None:
    on_gpu = [name for name, entry in BACKENDS.items() if entry.auto == "gpu"]
    assert on_gpu == ["tensorrt-fp16", "tensorrt", "torch-cuda-fp16", "torch-cuda", "onnxruntime-cuda"]


def test_an_engine_that_fails_under_auto_is_named(bundle: Bundle, table: Callable[..., None]) -> None:
    table(gpu=Entry(lambda bundle: None, fails, "gpu"), cpu=fake("cpu", "cpu"))
    assert choose_backend(bundle).why.endswith("; gpu failed: out of order")


def test_when_all_fail_the_first_failure_is_told(bundle: Bundle, table: Callable[..., None]) -> None:
    table(one=Entry(lambda bundle: None, fails, "cpu"))
    with pytest.raises(BackendError, match="out of order"):
        choose_backend(bundle)


def test_a_backend_asked_for_is_never_replaced(bundle: Bundle, table: Callable[..., None]) -> None:
    table(one=fake("one", "cpu"), two=Entry(lambda bundle: None, fails, "cpu"))
    assert choose_backend(bundle, "one").why == "requested"
    with pytest.raises(BackendError, match="out of order"):
        choose_backend(bundle, "two")


def test_a_name_that_no_backend_has_lists_the_names_there_are(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match=r"'tpu'.*auto.*onnxruntime.*openvino"):
        open_backend(bundle, "tpu")


@pytest.mark.parametrize(
    ("times", "name", "why"),
    [
        ({"a": 8.0, "b": 5.0}, "b", "5.0 ms per image here, a 8.0 ms"),
        ({"a": 5.0, "b": 8.0, "c": 9.0}, "a", "5.0 ms per image here, b 8.0 ms, c 9.0 ms"),
        ({"a": 8.0, "b": 7.9}, "a", "8.0 ms per image here, b 7.9 ms, which is not 10 % faster"),
    ],
)
def test_the_quickest_is_taken_if_it_is_so_by_a_tenth(times: dict[str, float], name: str, why: str) -> None:
    assert choice.quickest(times) == (name, why)


def test_all_are_measured_equally_often(bundle: Bundle) -> None:
    backends = {name: FakeBackend(name) for name in ("one", "two")}
    times = choice.measure(dict(backends), measuring.noise(bundle))
    assert set(times) == {"one", "two"}
    assert 1 <= backends["one"].num_runs == backends["two"].num_runs <= measuring.MOST_RUNS


def test_every_backend_is_found_with_the_reason_against_it(bundle: Bundle) -> None:
    found = {item.name: item.reason for item in find_backends(bundle)}
    assert set(found) == set(BACKENDS)
    assert found["onnxruntime"] is None
    assert found["torch-cpu"] == "the model file does not describe its network; export it again"
    for name, reason in found.items():
        if reason is None:
            open_backend(bundle, name)
        elif name != "torch":
            with pytest.raises((BackendError, ModelError, ImportError)):
                open_backend(bundle, name)
