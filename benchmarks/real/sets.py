"""The sets: their clips, labels and kind of subject, and the clips that models are trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.place import ROOT
from benchmarks.real.clips import copy_beside, crop_top_half
from streamparts.errors import StreampartsError
from streamparts.sources import find_videos
from train.labels import EvaluationSet, LabelledFrame, PuppetOptions, open_set
from train.labels.pictures import list_images, read_rgb, video_frames
from train.labels.points import open_points
from train.labels.values import TRUE

DATA = ROOT.parent / "shared" / "data"
NEW_PEOPLE = ("0", "12", "18")
"""Tai-chi clips of three people who appear in no other clip: seven of the rest show one woman, two one man, one another
man."""
EMPTY = {
    "decoder/cockatoo.mp4": "bird",
    "decoder/realshort.mp4": "plant",
    "decoder/newtonscradle.gif": "thing",
    "decoder/nasa_13013.mp4": "person",  # small, in the lift on the left; later near the camera
    "decoder/video_0.mov": "thing",
    "decoder/av1_video.mkv": "pattern",
    "decoder/bt709_full_range.mp4": "pattern",
    "quadruped/bear.mp4": "quadruped",
    "quadruped/davis/camel/frames": "quadruped",
    "quadruped/davis/goat/frames": "quadruped",
    "mouse/m3v1mp4.mp4": "mouse",
    "mouse/mirror_mouse/test_vid.mp4": "mouse",
    "fly/centered_pair_small.mp4": "fly",
    "robot/fetch_sim/push.gif": "robot",
}
"""Clips and what they show, as inspected; only the one labelled so shows people."""
EMPTY_STEP, EMPTY_FRAMES = 5, 15
"""Maximum number of frames per clip, every fifth from the first on."""


class NoDataError(StreampartsError):
    """The clips of a set are missing."""


@dataclass(frozen=True)
class Case:
    """One labelled set, as one row of the table."""

    name: str
    labelled: EvaluationSet
    training: tuple[Path, ...] = ()
    """Clips for training a model; empty if no trainer applies."""
    run: str = ""
    """Name of the run; cases with the same one share its training."""


@dataclass(frozen=True)
class RealSet:
    """A set of labelled clips or stills, named by --sets."""

    name: str
    kind: str
    """Kind of subject: models for one kind are evaluated on sets of that kind."""
    about: str
    needs: tuple[str, ...]
    """Subfolder of the data folder."""
    open: Callable[[Path, Path, int], list[Case]]
    """Takes the data folder, the cache folder and the maximum number of frames of each case."""

    def cases(self, data: Path, cache: Path, max_frames: int) -> list[Case]:
        """Raises NoDataError or LabelsError."""
        missing = next((path for path in self.needs if not (data / path).exists()), None)
        if missing:
            raise NoDataError(f"set {self.name} needs {data / missing}, which is not here; --data names another folder")
        return self.open(data, cache, max_frames)


def _labels(text: str, max_frames: int) -> EvaluationSet:
    return open_set(text, max_frames, PuppetOptions())


def _tai_chi_clips(data: Path, cache: Path, keep: Callable[[str], bool], name: str) -> Path:
    """Write the upper halves of the clips with a wanted stem, and their labels, to a folder."""
    folder = cache / name
    for video in find_videos(data / "human_taichi"):
        if keep(video.stem):
            crop_top_half(video, folder / video.name)
    copy_beside((data / "human_taichi" / "pseudo_gt").glob("*.npz"), folder / "pseudo_gt")
    return folder


def tai_chi(data: Path, cache: Path, max_frames: int) -> list[Case]:
    folder = _tai_chi_clips(data, cache, lambda stem: True, "taichi")
    return [Case("taichi", open_points(folder, max_frames, top_half=False), tuple(find_videos(folder)), "taichi")]


def tai_chi_new(data: Path, cache: Path, max_frames: int) -> list[Case]:
    seen = _tai_chi_clips(data, cache, lambda stem: stem not in NEW_PEOPLE, "taichi-seen")
    new = _tai_chi_clips(data, cache, lambda stem: stem in NEW_PEOPLE, "taichi-unseen")
    return [Case("taichi-new", open_points(new, max_frames, top_half=False), tuple(find_videos(seen)), "taichi-new")]


def _one(name: str, labels: str, *training: str) -> Callable[[Path, Path, int], list[Case]]:
    """A set of one case; `labels` as for open_set, with @ for the data folder."""

    def open_case(data: Path, cache: Path, max_frames: int) -> list[Case]:
        clips = tuple(data / clip for clip in training)
        return [Case(name, _labels(labels.replace("@", f"{data}/"), max_frames), clips, name if clips else "")]

    return open_case


def _davis(folder: str, names: Sequence[str]) -> Callable[[Path, Path, int], list[Case]]:
    """Clips with a mask for every frame; each has its own model."""

    def open_cases(data: Path, cache: Path, max_frames: int) -> list[Case]:
        places = {name: data / folder / name for name in names}
        return [
            Case(f"davis {name}", _labels(f"davis:{place}", max_frames), (place / "frames",), f"davis-{name}")
            for name, place in places.items()
        ]

    return open_cases


def badja(data: Path, cache: Path, max_frames: int) -> list[Case]:
    """Joints in the clips on which the DAVIS models are trained, and in one of a bear."""
    joints, davis = data / "quadruped" / "badja", data / "quadruped" / "davis"
    cases = [
        Case(
            f"badja {name}",
            _labels(f"badja:{joints / name}.json,{davis / name}", max_frames),
            (davis / name / "frames",),
            f"davis-{name}",
        )
        for name in ("camel", "dog")
    ]
    bear = data / "quadruped" / "bear.mp4"
    return [*cases, Case("badja bear", _labels(f"badja:{joints / 'bear.json'},{bear}", max_frames), (bear,), "bear")]


def flies(data: Path, cache: Path, max_frames: int) -> list[Case]:
    """Two videos of a pair."""
    videos = {"fly pair": "20190128_113421.120s.mp4", "fly centred": "centered_pair_small.mp4"}
    labels = {"fly pair": "predictions.analysis.h5", "fly centred": "centered_pair_predictions.slp"}
    return [
        Case(
            name,
            _labels(f"sleap:{data / 'fly' / labels[name]},{data / 'fly' / video}", max_frames),
            (data / "fly" / video,),
            name.replace(" ", "-"),
        )
        for name, video in videos.items()
    ]


def empty(kind: str, data: Path) -> list[Case]:
    """Some frames of every clip of another kind of subject; the truth is an empty frame."""
    clips = [data / name for name, shows in EMPTY.items() if shows != kind and (data / name).exists()]
    wanted = [EMPTY_STEP * n for n in range(EMPTY_FRAMES)]

    def read() -> Iterator[LabelledFrame]:
        for number, clip in enumerate(clips):
            for index, image in _frames(clip, wanted):
                yield LabelledFrame(image, number, mask=np.zeros(image.shape[:2], np.bool_), index=index)

    labelled = EvaluationSet(f"no {kind}", TRUE, len(clips) * EMPTY_FRAMES, read, sources=tuple(clips))
    return [Case(f"no {kind}", labelled)] if clips else []


def _frames(clip: Path, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """The wanted frames that exist in a short clip."""
    if clip.is_dir():
        files = list_images(clip)
        yield from ((index, read_rgb(files[index])) for index in wanted if index < len(files))
        return
    try:
        yield from video_frames(clip, wanted)
    except StreampartsError as error:
        if "ends after" not in str(error):
            raise


SETS = {
    each.name: each
    for each in (
        RealSet("taichi", "person", "13 tai-chi clips of 6 people", ("human_taichi",), tai_chi),
        RealSet("taichi-new", "person", "3 of them, of people in no training clip", ("human_taichi",), tai_chi_new),
        RealSet(
            "dance", "person", "one dancer, portrait", ("human/dance.mp4",),
            _one("dance", "sleap:@human/dance.mp4.labels.slp,@human/dance.mp4", "human/dance.mp4"),
        ),
        RealSet(
            "pose_1", "person", "one person, exercising", ("human/pose_1.json",),
            _one("pose_1", "keypoints:@human/pose_1.json", "human/pose_1.mp4"),
        ),
        RealSet(
            "davis-people", "person", "two dancers, camera and crowd move", ("human/davis",),
            _davis("human/davis", ("dance-twirl", "breakdance")),
        ),
        RealSet(
            "davis-animals", "quadruped", "four animals, moving camera", ("quadruped/davis",),
            _davis("quadruped/davis", ("camel", "dog", "goat", "libby")),
        ),
        RealSet("badja", "quadruped", "joints of two of them and of a bear", ("quadruped/badja",), badja),
        RealSet(
            "horses", "quadruped", "228 photographs", ("images_horse",), _one("horses", "horses:@images_horse"),
        ),
        RealSet(
            "openfield", "mouse", "a mouse in an arena, 1 % of the picture", ("mouse/openfield_labeled",),
            _one("openfield", "dlc:@mouse/openfield_labeled", "mouse/m3v1mp4.mp4"),
        ),
        RealSet(
            "mirror", "mouse", "a mouse running, with its mirror image", ("mouse/mirror_mouse",),
            _one("mirror", "dlc:@mouse/mirror_mouse/labeled", "mouse/mirror_mouse/test_vid.mp4"),
        ),
        RealSet("fly", "fly", "two videos of two flies", ("fly",), flies),
        RealSet(
            "hand", "hand", "one signing hand", ("hand",),
            _one("hand", "keypoints:@hand/asl_hand.frames000-229.json", "hand/asl_hand.25fps.mp4"),
        ),
    )
}  # fmt: skip
