"""Threads of processes on a shared machine."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import pytest

from streamparts import machine
from streamparts.machine import num_threads
from streamparts.sinks.overlay.encoders import choose_encoder
from streamparts.sources import open_source


def test_processes_that_share_a_machine_decode_and_encode_with_the_threads_they_are_given(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = cv2.getNumThreads()
    monkeypatch.setattr(machine, "_shared", None)
    try:
        for threads in (1, 3):
            machine.share_machine(threads)
            with open_source(video) as source:
                assert source._stream.codec_context.thread_count == threads  # type: ignore[attr-defined]
            codec = av.CodecContext.create("libx264", "w")
            choose_encoder().configure(codec, 96, 128, Fraction(30))  # type: ignore[arg-type]
            assert codec.thread_count == threads
    finally:
        cv2.setNumThreads(drawing)


@pytest.mark.parametrize(("limit", "expected"), [(None, 8), (0.5, 1), (2.5, 2), (100.0, 8)])
def test_a_container_uses_the_cores_that_it_may_and_not_those_of_its_host(
    monkeypatch: pytest.MonkeyPatch, limit: float | None, expected: int
) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "core_limit", lambda: limit)
    assert machine.usable_cores() == expected
    assert num_threads(None) == machine.encoder_threads() == max(1, expected // 2)
