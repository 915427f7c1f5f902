"""A complete COCO data set: the results of coco.py as annotations of images with file names such as frame_000012.png.

Categories: 1 is the subject, with the centre of every part as a keypoint and the skeleton's edges; 2 + k is part k.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from streamparts.formats.coco import FIRST_PART, SUBJECT, results
from streamparts.formats.shots import Shot, Survey, edges_of, shots
from streamparts.tracksfile.reading import TracksFile


def write(tracks: TracksFile, survey: Survey, path: Path) -> list[str]:
    """Every tracked frame is an image, with annotations for visible parts."""
    header, encode = tracks.header, msgspec.json.encode
    names = header.model.parts
    about = {"description": f"{header.source.name}, parts by {header.model.name}", "version": header.streamparts}
    with path.open("wb") as file:
        file.write(b'{"info":' + encode(about) + b',\n"licenses":[],\n"categories":' + encode(_categories(tracks)))
        begin = b',\n"images":[\n'
        for shot in shots(tracks):
            file.write(begin + encode(_image(shot)))
            begin = b",\n"
        file.write((begin if begin != b",\n" else b"") + b'],\n"annotations":[')
        begin, number = b"\n", 0
        for shot in shots(tracks):
            for result in (result | _track(one, survey) for one in shot.subjects for result in results(one, names)):
                number += 1
                file.write(begin + encode(_annotation(result, number)))
                begin = b",\n"
        file.write(b"\n]}\n")
    return survey.size_notes()


def _categories(tracks: TracksFile) -> list[dict[str, Any]]:
    names = tracks.header.model.parts
    edges = [[parent + 1, child + 1] for parent, child in edges_of(tracks)]  # COCO counts keypoints from 1
    subject = {"id": SUBJECT, "name": "subject", "supercategory": "", "keypoints": names, "skeleton": edges}
    parts = [{"id": FIRST_PART + k, "name": name, "supercategory": "part"} for k, name in enumerate(names)]
    return [subject, *parts]


def _track(shot: Shot, survey: Survey) -> dict[str, int]:
    return {"track_id": shot.subject} if survey.num_subjects > 1 else {}


def _image(shot: Shot) -> dict[str, Any]:
    number = shot.frame.frame
    size = {"width": shot.setting.width, "height": shot.setting.height}
    return {"id": number, "file_name": f"frame_{number:06d}.png", **size, "pts_seconds": float(shot.seconds)}


def _annotation(result: dict[str, Any], number: int) -> dict[str, Any]:
    width, height = result["bbox"][2:]
    kept = {key: value for key, value in result.items() if key not in ("name", "pts", "pts_seconds")}
    area = _mask_area(result["segmentation"]) if "segmentation" in result else width * height
    if "keypoints" in kept:
        kept["num_keypoints"] = sum(seen > 0 for seen in kept["keypoints"][2::3])
    return {"id": number, "iscrowd": 0, "area": area, **kept}


def _mask_area(encoded: dict[str, Any]) -> int:
    from streamparts.tracksfile.rle import decode_mask

    return int(decode_mask(tuple(encoded["size"]), encoded["counts"]).sum())
