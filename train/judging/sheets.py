"""Contact sheets of the learned parts over several frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamparts.arrays import ByteArray, FloatArray
from streamparts.bundle.colours import part_color
from streamparts.models.readout import Readout, read_out
from streamparts.models.student import Student

from ..drawing.png import write_png
from ..frames.clips import ClipFolder
from ..frames.spread import spread
from ..frames.transforms import to_images
from ..inputs.augment import Pair
from ..students.merge import spread_frames
from ..terms.pair_forward import PairResult

TILE = 128


def draw_parts(image: ByteArray, labels: ByteArray, affines: FloatArray, only: int | None = None) -> ByteArray:
    """Draw the (S, S, 3) image with its parts coloured and their ellipses; `only` shows a single part on a dimmed
    frame."""
    colours = np.array([(0, 0, 0), *map(part_color, range(len(affines)))], np.uint8)
    size = (TILE, TILE)
    large = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
    marked = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    chosen = marked > 0 if only is None else marked == only + 1
    dimmed = large * (0.7 if only is None else 0.35)
    out = np.where(chosen[..., None], 0.45 * large + 0.55 * colours[marked], dimmed).astype(np.uint8)
    for k in range(len(affines)) if only is None else [only]:
        if (labels == k + 1).any():
            _draw_ellipse(out, affines[k])
    return out


def _draw_ellipse(image: NDArray[np.uint8], affine: FloatArray) -> None:
    turns = np.linspace(0, 2 * np.pi, 25)
    circle = np.stack([np.cos(turns), np.sin(turns)])
    points = (affine[:, :2] @ circle + affine[:, 2:] + 1) * (TILE / 2)
    outline = np.concatenate([points.T[:-1], ((affine[:, 2:] + 1) * (TILE / 2)).T, points.T[:1]])
    fixed = np.round(outline * 16).astype(np.int32)
    cv2.polylines(image, [fixed], False, (255, 255, 255), 1, cv2.LINE_AA, shift=4)


@torch.no_grad()
def contact_sheet(find: Callable[[Tensor], Readout], frames: NDArray[np.uint8], device: torch.device) -> ByteArray:
    """Build a sheet with one column per frame of (F, S, S, 3); the first row shows all parts, then one row per part.
    `find` takes images (F, 3, S, S) in [0, 1]."""
    read = find(to_images(torch.from_numpy(frames).to(device)))
    labels, affines = read.labels.cpu().numpy(), read.affines.cpu().numpy()
    rows = [None, *range(affines.shape[1])]
    tiles = [[draw_parts(*column, only=row) for column in zip(frames, labels, affines, strict=True)] for row in rows]
    return np.concatenate([np.concatenate(row, axis=1) for row in tiles], axis=0)


def reconstruction_sheet(pair: Pair, result: PairResult, rows: int = 4) -> ByteArray:
    """Build a sheet with one row per pair: source, target, target from the source's parts, and its masks in colours."""
    count = result.retargeted.masks.shape[1] - 1
    colours = torch.tensor([(20, 20, 20), *map(part_color, range(count))], dtype=torch.float32) / 255
    masks = torch.einsum("bkhw,kc->bchw", result.retargeted.masks[:rows].detach().float().cpu(), colours)
    images = [pair.source, pair.target, result.retargeted.image.detach()]
    columns = [image[:rows].float().cpu().clamp(0, 1) for image in images] + [masks]
    sheet = torch.cat([torch.cat(list(column), dim=1) for column in columns], dim=2)
    return np.ascontiguousarray((sheet * 255).round().byte().permute(1, 2, 0).numpy())


def write_contact_sheet(path: Path, student: Student, folder: ClipFolder, columns: int = 10) -> None:
    """Write the sheet of `columns` frames, spread over the clips, as PNG."""
    frames = spread_frames(folder, columns)
    chosen = frames[spread(len(frames), columns)]
    device = next(student.parameters()).device
    write_png(path, contact_sheet(lambda images: read_out(*student(images)), chosen, device))


def write_names(path: Path, num_parts: int, near: Sequence[tuple[int, int, float]] = ()) -> None:
    """Write a file to edit, unless it exists: one name per part, in the order of the contact sheet's rows. `near` are
    the merges that PartGroups suggests."""
    if path.exists():
        return
    notes = ["One name per part, in the order of the rows of parts.png; export stores them with the model."]
    notes += [f"Parts {i} and {j} nearly move together ({times:.1f} times the limit)." for i, j, times in near]
    names = [f"part{k}" for k in range(num_parts)]
    path.write_text("\n".join([*(f"# {note}" for note in notes), *names]) + "\n", encoding="utf-8")
