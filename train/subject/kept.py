"""Cache of subjects: masks as mapped arrays, the rest beside them, under a hash of clips and settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from streamparts.files import whole

from .values import SubjectClip

INDEX = "index.json"


def keep(folder: Path, subjects: Iterable[SubjectClip], said: Sequence[str]) -> None:
    """Write subjects one by one to a temporary folder, which is renamed when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole(folder) as partial:
        partial.mkdir()
        index = [keep_one(partial, number, subject) for number, subject in enumerate(subjects)]
        (partial / INDEX).write_text(json.dumps({"subjects": index, "said": list(said)}, indent=1), encoding="utf-8")


def keep_one(folder: Path, number: int, subject: SubjectClip) -> dict[str, object]:
    for name in ("masks", "known"):
        np.save(folder / f"{number}.{name}.npy", getattr(subject, name), allow_pickle=False)
    arrays = {name: getattr(subject, name) for name in ("rows", "regions", "boxes", "found")}
    np.savez_compressed(folder / f"{number}.npz", allow_pickle=False, **arrays)
    return {
        "clip": str(subject.clip), "name": subject.name, "notes": list(subject.notes), "source": subject.source,
    }  # fmt: skip


def read_kept(folder: Path) -> tuple[tuple[SubjectClip, ...], list[str]] | None:
    """Read the subjects and the lines about the clips; None if they are not in the cache."""
    if not (folder / INDEX).exists():
        return None
    stored = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    subjects = []
    for number, about in enumerate(stored["subjects"]):
        masks, known = (np.load(folder / f"{number}.{name}.npy", mmap_mode="r") for name in ("masks", "known"))
        with np.load(folder / f"{number}.npz", allow_pickle=False) as arrays:
            rows, regions, boxes, found = (arrays[name] for name in ("rows", "regions", "boxes", "found"))
        clip, notes = Path(about["clip"]), tuple(about["notes"])
        subjects.append(
            SubjectClip(clip, about["name"], rows, regions, masks, known, boxes, found, notes, about["source"])
        )
    return tuple(subjects), stored["said"]
