"""All frames of a folder in a device's memory, with their backgrounds and maps made once: a step then picks rows there,
where it would read files, fill backgrounds and upload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from streamparts.arrays import ByteArray
from streamparts.machine import usable_cores

from ..frames.clips import Clip, ClipFolder
from .pairs import PairBatch, wholly

MOST_MEMORY = 0.3
"""Share of the device's free memory that frames may take; the rest is the training's."""
PICTURES = 4
"""Arrays of the size of a frame that are kept for each at most: itself, background, maps, and where it is known."""
TOGETHER = 256
"""Frames that are prepared at once, one per thread."""

Row = tuple[ByteArray, ByteArray, NDArray[np.bool_], ByteArray | None]
"""A frame, its background, where that is known, and its maps if it is a crop."""


class ResidentFrames:
    """The frames of a folder by their index over all clips, as tensors on a device."""

    def __init__(self, folder: ClipFolder, device: torch.device) -> None:
        """Read and prepare all frames, with as many threads as cores."""
        places = [(clip, index) for clip in folder.clips for index in range(len(clip.frames))]
        side = folder.clips[0].frames[0].shape[0]
        shape = (len(places), side, side)
        self.frames = torch.empty(*shape, 3, dtype=torch.uint8, device=device)
        self.background = torch.empty_like(self.frames)
        self.known = torch.empty(shape, dtype=torch.bool, device=device)
        self.maps: Tensor | None = None
        if all(clip.close_up for clip in folder.clips):
            self.maps = torch.empty_like(self.frames)
        # otherwise, all frames of a clip have one background
        self._moves = any(clip.scenery.moves or clip.close_up for clip in folder.clips)
        self._wholly = np.empty(len(places), np.bool_)
        start = 0
        for rows in _in_threads(places, side):
            self._put(start, rows)
            start += len(rows)

    def _put(self, start: int, rows: Sequence[Row]) -> None:
        end = start + len(rows)
        frames, backgrounds, known, maps = zip(*rows, strict=True)
        self.frames[start:end] = torch.from_numpy(np.stack(frames)).to(self.frames.device)
        self.background[start:end] = torch.from_numpy(np.stack(backgrounds)).to(self.frames.device)
        self.known[start:end] = torch.from_numpy(np.stack(known)).to(self.frames.device)
        self._wholly[start:end] = [wholly(each[None]) for each in known]
        if self.maps is not None:
            self.maps[start:end] = torch.from_numpy(np.stack(maps)).to(self.frames.device)

    def batch(
        self,
        sources: NDArray[np.int64],
        targets: NDArray[np.int64],
        around: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    ) -> PairBatch:
        """See pairs.Resident."""
        source, target = (torch.from_numpy(index).to(self.frames.device) for index in (sources, targets))
        background = self.background[source]
        before, after = (None, None)
        if around is not None:
            before, after = (self.frames[torch.from_numpy(index).to(self.frames.device)] for index in around)
        return PairBatch(
            source=self.frames[source],
            target=self.frames[target],
            source_background=background,
            target_background=self.background[target] if self._moves else background,
            source_known=self.known[source],
            target_known=self.known[target],
            known_wholly=bool(self._wholly[sources].all() and self._wholly[targets].all()),
            source_maps=None if self.maps is None else self.maps[source],
            target_maps=None if self.maps is None else self.maps[target],
            source_index=sources,
            target_index=targets,
            before=before,
            after=after,
        )


def resident(folder: ClipFolder, device: torch.device) -> ResidentFrames | None:
    """The frames in a GPU's memory; None, with a line that gives the reason, if they take too much of it. None for a
    CPU, which reads them as quickly where they are."""
    if device.type != "cuda":
        return None
    side = folder.clips[0].frames[0].shape[0]
    wanted = PICTURES * 3 * side * side * folder.num_frames
    free = MOST_MEMORY * torch.cuda.mem_get_info(device)[0]
    if wanted > free:
        tqdm.write(f"note: {wanted / 1e9:.1f} GB of frames do not fit into the GPU's memory; each step reads its own")
        return None
    return ResidentFrames(folder, device)


def _in_threads(places: Sequence[tuple[Clip, int]], side: int) -> Iterator[list[Row]]:
    def prepared(place: tuple[Clip, int]) -> Row:
        clip, index = place
        maps = clip.close_up.maps(index, side) if clip.close_up else None
        return np.asarray(clip.frames[index]), *clip.behind(index), maps

    with ThreadPoolExecutor(usable_cores(), "resident") as pool:
        for start in tqdm(range(0, len(places), TOGETHER), desc="frames to the GPU", disable=None):
            yield list(pool.map(prepared, places[start : start + TOGETHER]))
