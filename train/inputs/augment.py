"""Turns a sampled batch into network input: floats, silhouettes, colour jitter, rotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..frames.clips import ClipFolder
from ..frames.spread import spread
from ..frames.transforms import Draws, jitter_colour, jitter_hue, random_similarity, to_images, warp_images
from .pairs import Known, PairBatch, Pictures


@dataclass(frozen=True)
class Pair:
    """A batch of pairs for the losses; images are (B, 3, S, S) in [0, 1]."""

    source: Tensor
    target: Tensor
    source_silhouette: Tensor
    """(B, 1, S, S) in [0, 1]: difference of a pixel from its frame's background."""
    target_silhouette: Tensor
    source_background: Tensor
    """(B, 3, S, S) background, transformed and recoloured like the frame."""
    target_background: Tensor
    source_known: Tensor
    """(B, 1, S, S) 1 where background and silhouette are reliable, 0 where they are unknown."""
    target_known: Tensor
    before: Tensor | None = None
    """(B, 3, S, S) frames before and after the target, transformed and recoloured like it, if the sampler draws
    triplets."""
    after: Tensor | None = None
    turn: Tensor | None = None
    """(B, 2, 3) the stored frame -> the frame as it is here."""
    anchors: Tensor | None = None
    """(2B, K, S, S) of all sources, then all targets: how much a pixel belongs to each anchor if it is the subject."""
    close_up: bool = False
    """True if the images are crops that follow the subject. Their background then carries no information about its
    motion, and need not be learned."""


def silhouette(images: Tensor, background: Tensor) -> Tensor:
    """Return sigmoid(60 (|I - background| - 0.07)) of the largest difference over the colour channels."""
    return (images - background).abs_().amax(dim=1, keepdim=True).sub_(0.07).mul_(60).sigmoid_()


def prepare_pair(
    batch: PairBatch, device: torch.device, draws: Draws, degrees: float, colour: float, hue: float = 0.0
) -> Pair:
    """Apply the same rotation (+-degrees) and the same jitter of colour and hue to both frames of a pair."""
    turn = random_similarity(draws, degrees, (1.0, 1.0), 0.0)
    # arrays (B, S, S, 3) uint8, in the order of the frames axis of `images` (B, F, 3, S, S)
    stored = [batch.source, batch.target, batch.source_background]
    # without a moving camera both frames share one background, which is warped once
    if batch.target_background is not batch.source_background:
        stored.append(batch.target_background)
    num_sides = len(stored)
    if batch.before is not None and batch.after is not None:
        stored += [batch.before, batch.after]
    num_pictures = len(stored)
    if batch.source_maps is not None and batch.target_maps is not None:
        stored += [batch.source_maps, batch.target_maps]
    images = turned(stored, turn, device)
    if len(stored) > num_pictures:
        silhouettes, known = masks_of(images[:, num_pictures:])
        images = images[:, :num_pictures].contiguous()
    else:
        silhouettes = [silhouette(images[:, i], images[:, j]) for i, j in ((0, 2), (1, num_sides - 1))]
        known = torch.stack([tensor_of(x, device) for x in (batch.source_known, batch.target_known)], dim=1)
        if not batch.known_wholly:
            # interpolated pixels next to unknown ones are unknown, too
            known = warp_images(known.float(), turn.to(device)) > 0.99
        known = trusted(torch.cat(silhouettes, dim=1), known)
    coloured = jitter_colour(images, draws, colour)
    if hue:
        coloured = jitter_hue(coloured, draws, hue)
    return Pair(
        source=coloured[:, 0],
        target=coloured[:, 1],
        source_silhouette=silhouettes[0],
        target_silhouette=silhouettes[1],
        source_background=coloured[:, 2],
        target_background=coloured[:, num_sides - 1],
        source_known=known[:, :1],
        target_known=known[:, 1:],
        before=coloured[:, -2] if num_pictures > num_sides else None,
        after=coloured[:, -1] if num_pictures > num_sides else None,
        turn=turn,
        close_up=batch.source_maps is not None,
    )


def masks_of(maps: Tensor) -> tuple[list[Tensor], Tensor]:
    """Split maps (B, 2, 3, S, S) of source and target, see CloseUp.maps, into both silhouettes (B, 1, S, S) and their
    known pixels (B, 2, S, S)."""
    return [maps[:, side, :1] for side in (0, 1)], (maps[:, :, 1] > 0.99).float()


def tensor_of(values: Pictures | Known, device: torch.device) -> Tensor:
    """The values on the device, wherever they are."""
    return (values if isinstance(values, Tensor) else torch.from_numpy(values)).to(device)


def turned(stored: Sequence[Pictures], transform: Tensor, device: torch.device) -> Tensor:
    """Convert F arrays (B, S, S, 3) uint8 to (B, F, 3, S, S) in [0, 1] on `device`, warped as by `warp_images` with the
    similarity `transform` (B, 2, 3). On a CPU, OpenCV writes into memory that is touched once, which takes a third of
    the time."""
    frames_of = [x for x in stored if not isinstance(x, Tensor)]
    if device.type != "cpu" or len(frames_of) < len(stored):
        on_device = [warp_images(to_images(tensor_of(x, device)), transform.to(device)) for x in stored]
        return torch.stack(on_device, dim=1)
    batch, side = frames_of[0].shape[:2]
    middle = (side - 1) / 2
    moves = transform.double().numpy()
    # from normalised coordinates to OpenCV's pixel indices: u = (x + 1) S / 2 - 1 / 2
    shift = middle - moves[:, :, :2].sum(-1) * middle + (middle + 0.5) * moves[:, :, 2]
    moves = np.concatenate([moves[:, :, :2], shift[..., None]], axis=-1)
    # `as_image` (3, S, S) is a view of `moved`: every warp is copied from it into its place
    images, moved = torch.empty(batch, len(stored), 3, side, side), np.empty((side, side, 3), np.uint8)
    as_image = torch.from_numpy(moved).permute(2, 0, 1)
    for row, move in enumerate(moves):
        for column, frames in enumerate(frames_of):
            cv2.warpAffine(frames[row], move, (side, side), dst=moved, borderMode=cv2.BORDER_REPLICATE)
            images[row, column].copy_(as_image)
    return images.div_(255)


def subject_share(folder: ClipFolder, num_frames: int = 256) -> tuple[float, float]:
    """Return the moving subject's share of the known pixels, and the share of known pixels, over frames sampled evenly
    from the clips."""
    moving, seen = 0.0, 0.0
    per_clip = max(1, num_frames // len(folder.clips))
    chosen = [(clip, i) for clip in folder.clips for i in spread(len(clip.frames), per_clip)]
    for clip, index in chosen:
        background, known = clip.behind(index)
        if clip.close_up:
            moved = torch.from_numpy(clip.close_up.maps(index, len(known))[None, None, ..., 0].astype(np.float32) / 255)
            counted = torch.from_numpy(known)[None, None]
        else:
            image, behind = (to_images(torch.from_numpy(np.array(x))[None]) for x in (clip.frames[index], background))
            moved = silhouette(image, behind)
            # (1, 1, S, S)
            counted = trusted(moved, torch.from_numpy(known)[None, None])
        moving, seen = moving + float((moved * counted).mean()), seen + float(counted.float().mean())
    return moving / max(seen, 1e-9), seen / len(chosen)


def trusted(silhouettes: Tensor, known: Tensor) -> Tensor:
    """Return `known` as (B, C, S, S) floats, with 0 for pairs of which half would be foreground."""
    # (B,) the foreground's share of the known pixels; if it is half, the background was not found
    share = (silhouettes * known).mean((1, 2, 3)) / known.float().mean((1, 2, 3)).clamp(min=1e-6)
    return known * (share < 0.5).float()[:, None, None, None]
