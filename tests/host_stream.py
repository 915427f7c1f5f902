"""The host in the place of a GPU's stream, for streamparts/backends/torch_graph.py where there is no GPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch

from streamparts.backends.capture import CAPTURING


class HostStream:
    """The host in the place of a GPU's stream: a captured graph reads and fills the same memory at each replay."""

    device = torch.device("cpu")
    pinned = False

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.captures, self.waits, self.follows = failures, 0, 0, 0

    def on(self) -> nullcontext[None]:
        return nullcontext()

    def follow(self) -> None:
        self.follows += 1

    def wait(self) -> None:
        self.waits += 1

    def capture(self, work: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
        assert CAPTURING.locked(), "no other graph may be captured meanwhile"
        self.captures += 1
        if self.captures <= self.failures:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        filled = work()
        return lambda: self._fill(filled, work()), filled

    def _fill(self, filled: torch.Tensor, results: torch.Tensor) -> None:
        filled.copy_(results)
