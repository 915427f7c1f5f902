"""Reads another tool's masks: one image or .npy file per frame, under the clip's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.errors import VideoError
from streamparts.sources.folders import IMAGE_SUFFIXES, files_in

from ..frames.pictures import PictureError, read_grey
from ..frames.readers import natural_key


class MasksOfAnotherTool:
    """FOLDER/CLIP/*.png, one for each frame in natural order or, if there are fewer, named by the frame's number from
    0; CLIP is the clip's path within its folder, without suffix. Or FOLDER/CLIP.npy with shape (F, H, W)."""

    def __init__(self, folder: Path) -> None:
        """Raises VideoError if the folder does not exist."""
        if not folder.is_dir():
            raise VideoError(f"{folder}: neither an .onnx file nor a folder of masks")
        self.folder = folder

    def open(self, name: str, num_frames: int) -> FrameMasks:
        """Open the masks of the clip `name`, which has `num_frames` frames. Raises VideoError if they do not fit."""
        stem = Path(name).with_suffix("") if Path(name).suffix else Path(name)
        whole = self.folder / f"{stem}.npy"
        if whole.is_file():
            return FrameMasks(name, stack=read_stack(whole, num_frames))
        place = next((p for p in (self.folder / stem, self.folder / name) if p.is_dir()), None)
        if place is None:
            raise VideoError(f"{name}: no masks {stem}/ and no {stem}.npy in {self.folder}")
        suffixes = {*IMAGE_SUFFIXES, ".npy"}
        files = sorted((p for p in files_in(place) if p.suffix.lower() in suffixes), key=natural_key)
        if len(files) == num_frames:
            return FrameMasks(name, files=dict(enumerate(files)))
        numbered = {int(p.stem): p for p in files if p.stem.isdecimal()}
        if len(numbered) != len(files) or not files or max(numbered) >= num_frames:
            raise VideoError(
                f"{name}: {len(files)} masks in {place} for {num_frames} frames; name them 0.png, 1.png, ..."
            )
        return FrameMasks(name, files=numbered)


class FrameMasks:
    """The masks of one clip."""

    def __init__(
        self,
        name: str,
        files: dict[int, Path] | None = None,
        stack: np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None = None,
    ) -> None:
        self.name, self._files, self._stack = name, files or {}, stack

    def __contains__(self, frame: int) -> bool:
        return self._stack is not None or frame in self._files

    def __getitem__(self, frame: int) -> ByteArray:
        """Return (H, W) probabilities of the subject, 255 for 1. Raises VideoError with the file's name."""
        if self._stack is not None:
            return to_bytes(self._stack[frame])
        file = self._files[frame]
        try:
            return read_grey(file) if file.suffix.lower() != ".npy" else to_bytes(read_array(file))
        except (PictureError, ValueError, OSError) as error:
            raise VideoError(f"{self.name}: its mask {file.name}: {error}") from error


def read_array(file: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]] = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def read_stack(file: Path, num_frames: int) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Read (F, H, W) masks. Raises VideoError."""
    try:
        stack = read_array(file)
    except (ValueError, OSError) as error:
        raise VideoError(f"{file}: not a .npy file of masks ({error})") from error
    if stack.ndim != 3 or len(stack) != num_frames:
        raise VideoError(f"{file}: its shape is {stack.shape}, expected ({num_frames}, H, W): one mask per frame")
    return stack


def to_bytes(mask: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> ByteArray:
    """Convert booleans, probabilities in [0, 1], or 0 and 255, to 0 to 255. Raises ValueError for anything else."""
    if mask.ndim != 2:
        raise ValueError(f"a mask must have the shape (H, W), got {mask.shape}")
    if mask.dtype == np.uint8:
        top = int(mask.max(initial=0))
        return np.asarray(mask * (255 if top == 1 else 1), np.uint8)
    if mask.dtype != bool and not np.issubdtype(mask.dtype, np.floating):
        raise ValueError(f"a mask must be bool, uint8 or float, got {mask.dtype}")
    return np.asarray(np.round(np.clip(mask.astype(np.float32), 0, 1) * 255), np.uint8)
