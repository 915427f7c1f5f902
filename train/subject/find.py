"""Finds the subjects of raw clips: evidence in a few frames, a network trained on it, masks of all frames."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from streamparts.arrays import ByteArray
from streamparts.errors import VideoError
from streamparts.models.fuse import fuse_batch_norms
from streamparts.texts import readable

from ..frames.clips import cache_key
from ..frames.readers import find_clips
from .boxes import Followed
from .evidence import MaskOf, ShotEvidence, gather
from .footage import ClipShot, open_footage
from .given import given_subjects
from .kept import keep, read_kept
from .learning import Example, answers, train_network
from .masking import Answers, find_in_shot, look_again, moved, of_others, trusted
from .motion import LOST
from .network import SubjectNetwork, build_network
from .networks import load_network, load_saliency, saliency_file
from .outline import outline_level
from .rounds import own_examples
from .values import SubjectClip, SubjectSource, square_around

VERSION = 5
"""Version of the computation; results of other versions are computed again."""
MOST_LOOKS = 1500
"""Maximum number of whole frames, over all clips, in which the network looks for the subject; boxes of other frames are
interpolated."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """Amount of computation of the search."""

    keys: int = 208
    """Key frames of all clips together, at least 8 and at most 40 per clip."""
    steps: int = 200
    """Optimiser steps of the first round."""
    rounds: int = 2
    """Number of rounds. The second and later ones train on the network's own answers; skipped if a mask network
    provided the masks."""
    again: int = 100
    """Optimiser steps of each later round."""
    batch_size: int = 12
    side: int = 128
    """Side of the training images in pixels."""
    seed: int = 0


@dataclass(frozen=True)
class Cue:
    """The cue for the subject besides motion."""

    words: str
    mask_of: MaskOf | None = None
    gated: bool = True
    """True if only moving components are used."""


def find_subjects(
    clips: Path, source: SubjectSource, cache: Path, *, say: Say, effort: Effort | None = None
) -> tuple[SubjectClip, ...]:
    """Return the subjects of all clips below a folder, one entry for each subject, clip and shot; from the cache if
    nothing has changed. `say` gets a line for each clip. Raises VideoError if no subject is found, ModelError or
    MissingExtraError if a mask network cannot be used."""
    effort = effort or Effort()
    kept_in = cache / f"subjects-{settings_key(clips, source, effort)}"
    kept = read_kept(kept_in)
    if kept is None:
        said: list[str] = []

        def note(line: str) -> None:
            said.append(line)
            say(line)

        given = isinstance(source, Path) and source.suffix != ".onnx"
        found = (
            given_subjects(clips, Path(source), cache, note) if given else search(clips, source, cache, note, effort)
        )
        keep(kept_in, found, said)
        kept = read_kept(kept_in)
        assert kept is not None
    else:
        for line in kept[1]:
            say(line)
    return kept[0]


def settings_key(clips: Path, source: SubjectSource, effort: Effort) -> str:
    """Return a hash of everything that the result depends on."""
    about = [str(VERSION), str(source), str(asdict(effort)), str(saliency_file() is not None)]
    about += [cache_key(clip, 0) for clip in find_clips(clips)]
    if isinstance(source, Path):
        files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
        about += [f"{file}|{file.stat().st_size}|{file.stat().st_mtime_ns}" for file in files]
    return hashlib.sha256("|".join(about).encode()).hexdigest()[:16]


def open_cue(source: SubjectSource) -> Cue:
    """Open the cue that was asked for. Raises ModelError or MissingExtraError."""
    if isinstance(source, Path):
        return Cue(source.name, load_network(source), gated=False)
    if source == "motion" or (source == "auto" and saliency_file() is None):
        return Cue("motion")
    return Cue("U2-Net-p and motion", load_saliency())


def search(clips: Path, source: SubjectSource, cache: Path, say: Say, effort: Effort) -> Iterator[SubjectClip]:
    """Search without the cache."""
    cue = open_cue(source)
    say(f"subject: {cue.words}" + ("; U2-Net-p is not installed" if source == "auto" and not cue.mask_of else ""))
    shots = open_footage(clips, cache, say)
    keys = int(np.clip(effort.keys // len(shots), 8, 40))
    evidence = [
        gather(shot, keys, cue.mask_of, cue.gated) for shot in tqdm(shots, desc="what moves", unit="shot", disable=None)
    ]
    network, decrease = learn(shots, evidence, effort, drawn=cue.mask_of is not None)
    stride = max(1, sum(len(shot.rows) for shot in shots) // MOST_LOOKS)
    for shot, each in zip(tqdm(shots, desc="masks", unit="shot", disable=None), evidence, strict=True):
        found = find_in_shot(shot, lambda pictures: answers(network, pictures), stride)
        say(f"{readable(shot.name)}: {verdict(each, found)}")
        for number in range(len(found)):
            yield masked(shot, found, number, lambda pictures: answers(network, pictures, decrease), each, cue)


def learn(
    shots: Sequence[ClipShot], evidence: Sequence[ShotEvidence], effort: Effort, drawn: bool
) -> tuple[SubjectNetwork, float]:
    """Train the mask network of all clips. Returns it and the level of its outline, see outline_level. Raises
    VideoError if nothing is known about any of them."""
    examples = [
        Example(key.image, enlarged(shot, key.trimap, key.image.shape[:2]), clip)
        for clip, (shot, each) in enumerate(zip(shots, evidence, strict=True))
        for key in each.keys
        if (key.trimap == 255).any() or (key.trimap == 0).any()
    ]
    if not any((example.trimap == 255).any() for example in examples):
        lost = max(each.agreeing for each in evidence) < LOST
        reason = "everything moves in these clips" if lost else "nothing moves in these clips"
        advice = "hold the camera still" if lost else "film it moving"
        raise VideoError(
            f"{reason}, so no subject is found; {advice}, or give --subject a mask network (.onnx) or a folder of masks"
        )
    network = build_network(effort.seed)
    train_network(network, examples, effort.steps, effort.batch_size, effort.side, effort.seed, "subject")
    for number in range(0 if drawn else effort.rounds - 1):
        own = own_examples(shots, evidence, lambda pictures: answers(network, pictures))
        if own:
            seed, what = effort.seed + number + 1, "subject, by its own answers"
            train_network(network, own, effort.again, effort.batch_size, effort.side, seed, what)
    quick: SubjectNetwork = fuse_batch_norms(network)
    return quick, outline_level(network, examples)


def enlarged(shot: ClipShot, trimap: ByteArray, hw: tuple[int, int]) -> ByteArray:
    """Map (h, w) of the shot's small image to (H, W) of the displayed frame; black bars become background."""
    whole = np.zeros(shot.letterbox.model_hw, np.uint8)
    whole[shot.box.top : shot.box.bottom, shot.box.left : shot.box.right] = trimap
    inner = whole[shot.letterbox.inner_slices]
    return np.asarray(cv2.resize(inner, hw[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def masked(
    shot: ClipShot,
    found: list[Followed],
    number: int,
    answers: Answers,
    each: ShotEvidence,
    cue: Cue,
) -> SubjectClip:
    """Return one subject of a shot, with masks at the resolution of its crop."""
    better, masks, seen = look_again(shot, found[number], answers)
    regions = square_around(better.boxes)
    masks = moved(masks, seen, regions)
    others = of_others([*found[:number], better, *found[number + 1 :]], number, regions)
    masks[others] = 0
    source = cue.words if each.believed or cue.mask_of is None else f"motion ({cue.words} did not agree)"
    name = shot.name + (f"@{number + 1}" if len(found) > 1 else "")
    known = trusted(masks) & ~others
    return SubjectClip(
        shot.clip, name, shot.rows, regions, masks, known, better.boxes, better.found, shot.notes, source
    )


def verdict(each: ShotEvidence, found: Sequence[Followed]) -> str:
    """Describe what was found in a shot, and what the user can do."""
    if not found:
        return "nothing moves, and nothing looks like the subject of the other clips; leave this clip out"
    share = float(np.mean([subject.found.mean() for subject in found]))
    seen = "" if share > 0.98 else f", in {share:.0%} of the frames"
    if each.agreeing < LOST and each.believed:
        return f"found by the mask network{seen}; the camera could not be tracked, so check the sheet"
    if each.agreeing < LOST:
        return f"the camera could not be tracked, so little is known about motion{seen}; hold it steadier"
    if not each.moves:
        return f"found by its appearance{seen}; nothing moves in this clip"
    return (f"{len(found)} subjects" if len(found) > 1 else "found") + seen
