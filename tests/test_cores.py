"""Threads of processes that share a machine."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import pytest

from streamparts import cores
from streamparts.sinks.encoders import choose_encoder
from streamparts.sources import open_source


def test_processes_that_share_a_machine_decode_and_encode_with_the_threads_they_are_given(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = cv2.getNumThreads()
    monkeypatch.setattr(cores, "_shared", None)
    try:
        for threads in (1, 3):
            cores.share_machine(threads)
            with open_source(video) as source:
                assert source._stream.codec_context.thread_count == threads  # type: ignore[attr-defined]
            codec = av.CodecContext.create("libx264", "w")
            choose_encoder().configure(codec, 96, 128, Fraction(30))  # type: ignore[arg-type]
            assert codec.thread_count == threads
    finally:
        cv2.setNumThreads(drawing)
