"""Expands the words of the command line."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from streamparts.errors import VideoError
from streamparts.files import short_name
from streamparts.sources.base import Source
from streamparts.sources.devices import CAMERA, SCREEN
from streamparts.sources.folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES, content_of, files_below, find_videos, is_own
from streamparts.sources.network import ADDRESS
from streamparts.sources.pictures import NUMBERED, natural_order, pictures_in
from streamparts.sources.redact import redact
from streamparts.texts import listed_lines

MOST_STEM_BYTES = 200
"""Bytes of an output's base name; most file systems allow 255 for a name, with extensions and what locks add."""

Say = Callable[[str], object]
"""Receives lines for the user."""


def expand_sources(arguments: Sequence[str], say: Say = lambda line: None) -> list[str]:
    """Expand each argument into words for `open_source`: a glob into matching files, a folder into the videos in and
    below it, @list.txt into its lines (except blank ones and those that start with #; paths are relative to the list's
    folder). Single sources stay: a folder of images only, a glob of images only, an address. Every word occurs once,
    and none is an overlay of ours, unless all are. `say` receives lines on skipped files. Raises VideoError if there
    is nothing.
    """
    words = dict.fromkeys(word for argument in arguments for word in _expanded(argument, say))
    own = [word for word in words if not _is_no_path(word) and is_own(Path(word))] if len(words) > 1 else []
    if len(own) == len(words):
        return list(words)
    for word in own:  # d/*.mp4, expanded by the shell
        say(f"{word}: skipped, an overlay written by streamparts; to track it, give it alone")
    return [word for word in words if word not in own]


def output_stem(word: str) -> str:
    """Short base name for the outputs of a source, without credentials and characters that file names cannot
    contain."""
    if ADDRESS.match(word):
        parts = urlsplit(redact(word))
        path = Path(unquote(parts.path))
        words = (parts.hostname or parts.scheme, *path.parts[1:])
        name = path.stem if path.suffix else "-".join(words)
    elif word == "-":
        name = "stdin"
    elif CAMERA.fullmatch(word) or SCREEN.fullmatch(word):
        name = word.partition("?")[0]
    else:
        name = Path(word).stem or Path(word).resolve().name
    return short_name(re.sub(r"[^\w.() -]+", "-", name.replace("***@", "")).strip("-. ") or "source", MOST_STEM_BYTES)


def output_stems(sources: Sequence[str | Path | Source]) -> list[str]:
    """The same for several; if two are equal, the later one gets a number."""
    stems: list[str] = []
    for source in sources:
        stem = unique = output_stem(str(source) if isinstance(source, str | Path) else source.name)
        number = 2
        while unique.lower() in (other.lower() for other in stems):
            unique, number = f"{stem}-{number}", number + 1
        stems.append(unique)
    return stems


def _expanded(argument: str, say: Say, base: Path = Path(), may_list: bool = True) -> Iterator[str]:
    if argument.startswith("@") and may_list:
        yield from _listed(Path(argument[1:]), say)
        return
    path = base / argument
    if _is_no_path(argument):
        yield argument
    elif path.is_dir():
        yield from _in_folder(path, say)
    elif path.exists() or _is_numbered(path) or not glob.has_magic(argument):
        yield _as_word(path)
    else:
        yield from _matches(path, say)


def _listed(path: Path, say: Say) -> Iterator[str]:
    try:
        words = listed_lines(path)
    except OSError as error:
        raise VideoError(f"@{path}: this list of sources cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise VideoError(f"@{path}: {error}; a list of sources is a text file with one source per line") from error
    if not words:
        raise VideoError(f"@{path}: this list of sources is empty")
    for word in words:
        yield from _expanded(word, say, path.parent, may_list=False)


def _is_no_path(word: str) -> bool:
    special = any(pattern.fullmatch(word) for pattern in (CAMERA, SCREEN))
    return word == "-" or special or ADDRESS.match(word) is not None


def _as_word(path: Path) -> str:
    """A file may have the name of a camera word."""
    return f"./{path}" if _is_no_path(str(path)) else str(path)


def _is_numbered(path: Path) -> bool:
    return NUMBERED.search(path.name) is not None and path.suffix.lower() in IMAGE_SUFFIXES


def is_sequence(folder: Path) -> bool:
    """True if a folder is a single source: images, and no video in or below it."""
    if not pictures_in(folder):
        return False
    return not any(path.suffix.lower() in VIDEO_SUFFIXES and not is_own(path) for path in files_below(folder))


def _in_folder(folder: Path, say: Say) -> list[str]:
    alone = is_sequence(folder)
    words = [folder] if alone else find_videos(folder)
    for line in content_of(folder).left_out(folder if alone else None):
        say(f"{folder}: {line}")
    return [str(word) for word in words]


def _matches(pattern: Path, say: Say) -> Iterator[str]:
    found = matching(str(pattern))
    if not found:
        raise VideoError(f"{pattern}: no file has such a name")
    if all(path.suffix.lower() in IMAGE_SUFFIXES for path in found):
        yield str(pattern)
        return
    for path in found:
        if path.is_dir():
            yield from _in_folder(path, say)
        elif is_own(path):
            say(f"{path}: skipped, an overlay written by streamparts")
        else:
            yield str(path)


def matching(pattern: str) -> list[Path]:
    """Matches of a glob, in natural order. A folder whose exact name is given, such as "exp [A]", is not a pattern."""
    names = glob.glob(_with_literal_folders(pattern), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute patterns
    return sorted((Path(name) for name in names), key=natural_order)


def fixed_folder(pattern: str) -> Path:
    """The folder that contains all matches of a glob: the path before its first piece with a wildcard."""
    place = Path(Path(pattern).anchor)
    for piece in Path(pattern).relative_to(place).parts if place.parts else Path(pattern).parts:
        if glob.has_magic(piece) and not (place / piece).is_dir():
            break
        place /= piece
    return place


def _with_literal_folders(pattern: str) -> str:
    fixed = fixed_folder(pattern)
    rest = Path(pattern).relative_to(fixed) if fixed != Path() else Path(pattern)
    return str(Path(glob.escape(str(fixed))) / rest) if fixed != Path() else pattern
