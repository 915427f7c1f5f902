"""Keeps a GPU busy: batches are drawn while it computes, steps are replayed as graphs, losses are not waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

import torch
from torch import nn

Batch = TypeVar("Batch")

CHECK_EVERY = 25
"""Steps after which a GPU's losses are checked: each check waits for the device. A loss that is not finite stays so,
because the weights then are not finite either."""

_log = logging.getLogger(__name__)


def drawn_ahead(
    draw: Callable[[int], Batch], start: int, end: int, device: torch.device
) -> Iterator[tuple[int, Batch]]:
    """Yield (step, draw(step)) for each step; on a GPU, a thread draws the next one meanwhile. `draw` must depend on
    the step only."""
    if device.type != "cuda":
        yield from ((step, draw(step)) for step in range(start, end))
        return
    with ThreadPoolExecutor(1, "drawn-ahead") as pool:
        coming = pool.submit(draw, start) if start < end else None
        for step in range(start, end):
            assert coming is not None
            batch = coming.result()
            coming = pool.submit(draw, step + 1) if step + 1 < end else None
            yield step, batch


def checks_at(step: int, due: bool, device: torch.device) -> bool:
    """True if the losses of this step must be finite before training goes on: always on a CPU, and before anything is
    written."""
    return due or device.type != "cuda" or step % CHECK_EVERY == 0


Compiling = Literal["off", "graphs", "fused"]
"""How a module's passes are compiled: as they are, into CUDA graphs, or into fused kernels in such graphs."""


def compiled(module: nn.Module, how: Compiling) -> nn.Module:
    """The module, or a Compiled one."""
    return module if how == "off" else Compiled(module, how)


class Compiled(nn.Module):
    """A module whose passes are replayed as graphs on a GPU: a step is otherwise bound by its launches. If it cannot be
    compiled here, it runs as it is, with a notice."""

    def __init__(self, module: nn.Module, how: Literal["graphs", "fused"]) -> None:
        super().__init__()
        self.module = module
        by: dict[str, str] = {"backend": "cudagraphs"} if how == "graphs" else {"mode": "reduce-overhead"}
        self._quick: Callable[..., object] | None = torch.compile(module, **by)  # type: ignore[call-overload]

    def forward(self, *given: object) -> object:
        if self._quick is not None:
            try:
                if torch.cuda.is_available():
                    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
                return self._quick(*given)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # the compiler's errors have no common base
                self._quick = None
                reason = " ".join(str(error).split())[:200]
                _log.warning("not compiled, and slower: %s: %s", type(error).__name__, reason)
        return self.module(*given)
