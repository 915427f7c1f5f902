"""Files that an attempt leaves beside the outputs, and how the next attempt continues from them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec

from streamparts.corpus.options import CorpusOptions
from streamparts.corpus.places import OWN, Folder, LocalFolder, is_inside
from streamparts.corpus.records import CorpusResult
from streamparts.sinks.overlay.followers import existing_followers


class Finished(msgspec.Struct, frozen=True):
    """Record of a complete attempt, stored beside its files."""

    identity: str
    attempt: str
    """Folder of the files; "" if they are already in place."""
    result: CorpusResult


def work_folder(name: str) -> str:
    """Folder of a name's unfinished work, in the output folder."""
    return f"{OWN}/work/{hashlib.sha256(name.encode()).hexdigest()[:20]}"


def output_names(name: str, options: CorpusOptions) -> list[str]:
    """The files that every result has."""
    return [f"{name}.{path.name}" for path in options.outputs.paths]


def is_begun(folder: Folder, name: str) -> bool:
    """True if files under the names of this result belong to a run of ours that was killed before it wrote its line."""
    return folder.read(finished_name(name)) is not None


def finished_name(name: str) -> str:
    return f"{work_folder(name)}/finished.json"


def finish(folder: Folder, name: str, identity: str) -> CorpusResult | None:
    """Return the result of a complete attempt without a line yet, and move its files into place."""
    data = folder.read(finished_name(name))
    if data is None:
        return None
    try:
        finished = msgspec.json.decode(data, type=Finished)
    except msgspec.DecodeError:
        return None
    if finished.identity != identity or not is_inside(finished.attempt or "here"):
        return None
    if isinstance(folder, LocalFolder) and finished.attempt:
        scratch = folder.path / work_folder(name) / finished.attempt
        for file, place in outputs_in(scratch, name) if scratch.is_dir() else ():
            folder.put(file, place)
    complete = all(folder.size(file.path) == file.bytes for file in finished.result.outputs)
    return finished.result if complete else None


def take_over(work: Path, scratch: Path, identity: str, options: CorpusOptions) -> None:
    """Start with the longest tracks that an attempt at the same video left. They are copied: a machine assumed lost may
    still be writing. An overlay cannot be continued in one file, and starts over."""
    before = [
        folder / "tracks.jsonl"
        for folder in work.iterdir()
        if folder != scratch
        and folder.is_dir()
        and (folder / "identity").is_file()
        and (folder / "identity").read_text(encoding="utf-8") == identity
        and (folder / "tracks.jsonl").is_file()
    ]
    if before and options.outputs.tracks and not options.outputs.overlay:
        longest = max(before, key=lambda path: path.stat().st_size)
        shutil.copyfile(longest, scratch / "tracks.jsonl")


def outputs_in(scratch: Path, name: str) -> list[tuple[Path, str]]:
    """(file, target): the overlay, its continuations after changes of the frame size, and the tracks."""
    overlay = scratch / "overlay.mp4"
    files = [overlay, *existing_followers(overlay), scratch / "tracks.jsonl"]
    return [(file, f"{name}.{file.name}") for file in files if file.is_file()]
