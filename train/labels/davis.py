"""DAVIS clips: FOLDER/frames/*.jpg with FOLDER/masks/*.png of the same stems, or a folder of such folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from streamparts.sources.folders import is_hidden

from ..frames.spread import spread
from .pictures import list_images, read_mask, read_rgb
from .values import TRUE, EvaluationSet, LabelledFrame, LabelsError, set_name


def open_davis(folder: Path, max_frames: int) -> EvaluationSet:
    """Open the clips, subsampled evenly to `max_frames` in total."""
    below = sorted(path.parent for path in folder.glob("*/frames") if not is_hidden(path.parent.name))
    clips = [folder] if (folder / "frames").is_dir() else below
    if not clips:
        raise LabelsError(f"{folder}: neither it nor its folders contain frames/ and masks/")
    images = [list_images(clip / "frames") for clip in clips]
    chosen = [
        (number, row, files[row])
        for number, files in enumerate(images)
        for row in spread(len(files), max(1, max_frames // len(clips)))
    ]

    def read() -> Iterator[LabelledFrame]:
        for number, row, path in chosen:
            image = read_rgb(path)
            mask = read_mask(clips[number] / "masks" / f"{path.stem}.png", image.shape[:2], threshold=0)
            yield LabelledFrame(image, number, mask=mask, index=row)

    sources = tuple(clip / "frames" for clip in clips)
    return EvaluationSet(set_name("davis", folder), TRUE, len(chosen), read, sources=sources)
