"""Label formats, one file each, all read into the values of `values.py`."""

from __future__ import annotations

from pathlib import Path

from .badja import open_badja
from .davis import open_davis
from .dlc import open_dlc
from .horses import open_horses
from .keypoints_json import open_keypoints
from .points import open_points
from .puppets import PuppetOptions, open_folder, open_rendered
from .sleap import open_sleap
from .values import EvaluationSet, LabelledFrame, LabelsError

__all__ = ["KINDS", "EvaluationSet", "LabelledFrame", "LabelsError", "PuppetOptions", "open_set"]

KINDS = {
    "puppets": "puppets, puppets:KIND (rendered) or puppets:FOLDER (clips with .npz truth)",
    "dlc": "dlc:FOLDER (DeepLabCut stills with CollectedData*.csv)",
    "sleap": "sleap:LABELS[,VIDEO] (.slp or analysis .h5; needs the extra sleap)",
    "davis": "davis:FOLDER (frames/ and masks/, or folders of them)",
    "badja": "badja:JOINTS.json,CLIP (a folder with frames/ and masks/, or a video)",
    "keypoints": "keypoints:FILE.json[,VIDEO] (a list of points, or of {name: {x, y}}, for each frame)",
    "taichi": "taichi:FOLDER (stacked clips and pseudo_gt/*.npz)",
    "face": "face:FOLDER (clips and pseudo_gt/*.npz)",
    "horses": "horses:FOLDER[,fit|,test] (rgb/ and mask/; every second image by name, from the first or the second)",
}
"""Opener of each kind of set."""


def open_set(text: str, max_frames: int, puppets: PuppetOptions) -> EvaluationSet:
    """Open a set by its name on the command line. Raises LabelsError with the expected form."""
    kind, _, where = text.partition(":")
    if kind not in KINDS or not (where or kind == "puppets"):
        raise LabelsError(f"{text!r} is not a set; write one of: {'; '.join(KINDS.values())}")
    path = Path(where)
    match kind:
        case "puppets":
            return (
                open_folder(path, max_frames) if where and path.is_dir() else open_rendered(where or "human", puppets)
            )
        case "dlc":
            return open_dlc(path, max_frames)
        case "sleap":
            labels, _, video = where.partition(",")
            return open_sleap(Path(labels), Path(video) if video else None, max_frames)
        case "badja":
            joints, _, clip = where.partition(",")
            if not clip:
                raise LabelsError(f"{text!r} has no clip; write {KINDS['badja']}")
            return open_badja(Path(joints), Path(clip), max_frames)
        case "keypoints":
            labels, _, video = where.partition(",")
            return open_keypoints(Path(labels), Path(video) if video else None, max_frames)
        case "davis":
            return open_davis(path, max_frames)
        case "horses":
            folder, _, half = where.partition(",")
            return open_horses(Path(folder), max_frames, half)
        case _:
            return open_points(path, max_frames, top_half=kind == "taichi")
