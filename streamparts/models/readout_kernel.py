"""The readout as a kernel that passes over the logits once, and a tiny one that joins the sums of an image's pieces.
PyTorch's 25 kernels pass over them and over a mask for each part. Both are written in Triton, which PyTorch for CUDA
includes."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from streamparts.models.layers import Affine
from streamparts.models.readout import ExportedStudent, Readout, read_out

BLOCK, WARPS = 256, 8
"""Pixels that a program holds at once, and its groups of 32 threads: even 32 slots fit into its registers."""
PROGRAMS = 256
"""Programs that fill a GPU, of 50 to 150 processors. Images are cut into pieces until there are as many."""
MOST_PIECES = 16
"""Largest number of pieces of an image. Those of an image of 128 pixels a side have four blocks; smaller ones cost more
than they save."""

_log = logging.getLogger(__name__)


class FusedReadout:
    """readout.read_out, on a GPU by the kernel. Where that cannot be compiled, PyTorch's kernels do it, with a
    notice."""

    def __init__(self) -> None:
        self.reason: str | None = None if find_spec("triton") else "triton is not installed"
        """Why PyTorch's kernels are used; None while the kernel works."""

    def __call__(self, logits: Tensor, affine: Affine) -> Readout:
        # Triton's interpreter, for tests, takes the host's memory too
        if self.reason is None and (logits.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"):
            try:
                return _by_kernel(logits, affine)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # the compiler's errors have no common base
                self.reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                _log.warning("the readout runs as PyTorch's kernels, and slower (%s)", self.reason)
        return read_out(logits, affine)


def fuse_readout(network: nn.Module) -> nn.Module:
    """Let a student read its logits by the kernel, in place; other networks have other readouts, and stay."""
    if isinstance(network, ExportedStudent):
        network.readout = FusedReadout()
    return network


def _by_kernel(logits: Tensor, affine: Affine) -> Readout:
    """`logits` as for read_out, of any strides."""
    from streamparts.models.readout_triton import join_pieces, read_slots

    four = logits if logits.dim() == 5 else logits.unsqueeze(2)
    batch, num_slots, quarters, height, width = four.shape
    num_pixels, slots = quarters * height * width, 1 << (num_slots - 1).bit_length()
    pieces = max(1, min(MOST_PIECES, PROGRAMS // batch, num_pixels // BLOCK))
    side = 2 if quarters == 4 else 1
    labels = torch.empty(batch, side * height, side * width, dtype=torch.uint8, device=logits.device)
    sums = torch.empty(batch, pieces, 3, slots, device=logits.device)
    scores = torch.empty(batch, num_slots - 1, device=logits.device)
    evidence = torch.empty(batch, num_slots - 1, 2, device=logits.device)
    read_slots[(batch, pieces)](
        four, labels, sums, *four.stride(), NUM_SLOTS=num_slots, QUARTERS=quarters, HEIGHT=height, WIDTH=width,
        PIECE=-(-num_pixels // pieces), SLOTS=slots, BLOCK=BLOCK, num_warps=WARPS, enable_fp_fusion=True,
    )  # fmt: skip
    join_pieces[(batch,)](
        sums, scores, evidence, NUM_SLOTS=num_slots, NUM_PIXELS=num_pixels, PIECES=pieces, SLOTS=slots, num_warps=1,
        enable_fp_fusion=True,
    )  # fmt: skip
    return Readout(labels, affine.matrix(), scores, evidence)
