"""The kernels of readout_kernel.py. Importing this module needs Triton, which takes annotations for values."""

# mypy: disable-error-code="no-untyped-def, misc, untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def read_slots(
    logits,
    labels,
    sums,
    image_stride,
    slot_stride,
    quarter_stride,
    row_stride,
    column_stride,
    NUM_SLOTS: tl.constexpr,
    QUARTERS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PIECE: tl.constexpr,
    SLOTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program for each image and each of its pieces of PIECE pixels: logits (B, NUM_SLOTS, QUARTERS, HEIGHT, WIDTH),
    background first, to labels, and to sums (B, pieces, 3, SLOTS): of the probabilities of each slot's pixels, the
    number of these, and the largest. QUARTERS is 4, the pixels of every two by two, or 1; SLOTS is NUM_SLOTS or the
    next power of 2."""
    image, piece = tl.program_id(0).to(tl.int64), tl.program_id(1)
    num_pixels: tl.constexpr = QUARTERS * HEIGHT * WIDTH
    slots = tl.arange(0, SLOTS)
    # for each slot and place in a block: summed up over the places once, at the end
    total = tl.zeros((SLOTS, BLOCK), tl.float32)
    count = tl.zeros((SLOTS, BLOCK), tl.float32)
    peak = tl.zeros((SLOTS, BLOCK), tl.float32)
    for start in range(0, PIECE, BLOCK):
        # the four pixels of a place lie side by side in memory where channels are last
        offset = start + tl.arange(0, BLOCK)
        number = piece * PIECE + offset
        inside = (offset < PIECE) & (number < num_pixels)
        quarter, place = number % QUARTERS, number // QUARTERS
        row, column = place // WIDTH, place % WIDTH
        pixel = logits + image * image_stride + quarter * quarter_stride + row * row_stride + column * column_stride
        best = tl.load(pixel, mask=inside, other=0.0).to(tl.float32)
        label = tl.zeros((BLOCK,), tl.int32)
        for slot in tl.static_range(1, NUM_SLOTS):
            value = tl.load(pixel + slot * slot_stride, mask=inside, other=0.0).to(tl.float32)
            label = tl.where(value > best, slot, label)
            best = tl.where(value > best, value, best)
        weight = tl.zeros((BLOCK,), tl.float32)
        for slot in tl.static_range(0, NUM_SLOTS):  # from the cache
            weight += tl.exp(tl.load(pixel + slot * slot_stride, mask=inside, other=0.0).to(tl.float32) - best)
        # the label's own probability, as in readout.read_out
        owned = (label[None, :] == slots[:, None]) & inside[None, :]
        sure = tl.where(owned, (1 / weight)[None, :], 0.0)
        total += sure
        count += tl.where(owned, 1.0, 0.0)
        peak = tl.where(sure > peak, sure, peak)
        at = (2 * row + quarter // 2) * (2 * WIDTH) + 2 * column + quarter % 2 if QUARTERS == 4 else place
        tl.store(labels + image * num_pixels + at, label.to(tl.uint8), mask=inside)
    first = sums + (image * tl.num_programs(1) + piece) * (3 * SLOTS) + slots
    tl.store(first, tl.sum(total, axis=1))
    tl.store(first + SLOTS, tl.sum(count, axis=1))
    tl.store(first + 2 * SLOTS, tl.max(peak, axis=1))


@triton.jit
def join_pieces(
    sums,
    scores,
    evidence,
    NUM_SLOTS: tl.constexpr,
    NUM_PIXELS: tl.constexpr,
    PIECES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    """A program for each image: the sums of its pieces, always added in the same order, to scores and evidence as in
    readout.Readout."""
    image = tl.program_id(0).to(tl.int64)
    slots = tl.arange(0, SLOTS)
    total = tl.zeros((SLOTS,), tl.float32)
    count = tl.zeros((SLOTS,), tl.float32)
    peak = tl.zeros((SLOTS,), tl.float32)
    for piece in range(0, PIECES):
        first = sums + (image * PIECES + piece) * (3 * SLOTS) + slots
        total += tl.load(first)
        count += tl.load(first + SLOTS)
        peak = tl.maximum(peak, tl.load(first + 2 * SLOTS))
    # slot 0 is the background
    part = image * (NUM_SLOTS - 1) + slots - 1
    is_part = (slots > 0) & (slots < NUM_SLOTS)
    tl.store(scores + part, total / tl.maximum(count, 1.0), mask=is_part)
    tl.store(evidence + 2 * part, total / NUM_PIXELS, mask=is_part)
    tl.store(evidence + 2 * part + 1, peak, mask=is_part)
