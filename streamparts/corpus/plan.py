"""Plans the videos of a corpus, and the base name of each one's outputs."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from streamparts.errors import VideoError
from streamparts.files import short_name
from streamparts.sources import expand_sources
from streamparts.sources.folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from streamparts.sources.kinds import kind_of
from streamparts.sources.network import ADDRESS
from streamparts.sources.redact import redact
from streamparts.sources.words import MOST_STEM_BYTES, Say, fixed_folder, is_sequence, output_stem
from streamparts.texts import readable

ONLY_FILES = (
    "a corpus consists of video files and folders of images; track cameras and streams in a separate run, without "
    "--workers and --cluster"
)


_STREAMED = (
    *("file", "http", "https", "hls", "ftp", "sftp", "mmsh", "mmst", "rtsp", "rtsps", "rtp", "srtp", "srt"),
    *("rist", "rtmp", "rtmps", "rtmpt", "rtmpe", "udp", "tcp", "tls", "unix", "icecast", "gopher", "data"),
)
"""Schemes that FFmpeg or streamparts plays; all others are stores for fsspec."""


@dataclass(frozen=True, slots=True)
class Item:
    """One video of a corpus."""

    source: str
    """Absolute path, or address."""
    name: str
    """Base name of its outputs, with slashes."""


@dataclass(frozen=True, slots=True)
class _Found:
    source: str
    root: str
    """Folder below which its outputs' names start."""


def plan(
    words: Sequence[str | Path], taken: Mapping[str, str] | None = None, say: Say = lambda line: None
) -> list[Item]:
    """Return the videos of `words`, each once.

    Names keep the folders below the common root of all words: the part of a glob before its first *, a given folder, or
    the folder of a file. `taken` has the names that sources got in earlier runs, by their address without credentials;
    they keep them. `say` receives notes on skipped files. Raises VideoError for words that are not files, and if there
    is nothing to process.
    """
    found = {item.source: item for word in words for item in _found(word, say)}
    if not found:
        raise VideoError("a corpus run needs at least one video")
    root = _common(sorted({item.root for item in found.values()}))
    return _named([(source, _below(item, root)) for source, item in found.items()], taken or {})


def is_file_word(word: str) -> bool:
    """True if an expanded word can be part of a corpus."""
    if is_remote(word):
        return True
    try:
        return not ADDRESS.match(word) and kind_of(word).name in ("file", "picture", "folder")
    except VideoError:
        return False


def is_remote(word: str | Path) -> bool:
    """True for the address of a file in a store, read through fsspec, and not a stream that FFmpeg plays."""
    scheme = ADDRESS.match(word) if isinstance(word, str) else None
    if scheme is None or kind_of(str(word)).name != "address":  # other kinds of sources may have schemes of their own
        return False
    return scheme[0].removesuffix("://").lower() not in _STREAMED


def _found(word: str | Path, say: Say) -> list[_Found]:
    if is_remote(word):
        from streamparts.corpus.remote import expand_address

        root, sources = expand_address(str(word))
        return [_Found(source, root) for source in sources]
    text = os.path.abspath(word) if isinstance(word, Path) else word  # noqa: PTH100 - no word for a camera, links kept
    paths = [os.path.abspath(source) for source in _expanded(text, say)]  # noqa: PTH100
    return [_Found(path, str(Path(path).parent) if text.startswith("@") else _root(text)) for path in paths]


def _expanded(word: str, say: Say) -> list[str]:
    sources = expand_sources([word], say)
    for source in sources:
        if not is_file_word(source) and not _is_missing_file(source):
            raise VideoError(f"{redact(source)}: is not a file; {ONLY_FILES}")
    return sources


def _is_missing_file(word: str) -> bool:
    """True for a missing file, which fails when its turn comes, like any other failure."""
    suffixes = VIDEO_SUFFIXES | IMAGE_SUFFIXES
    return not ADDRESS.match(word) and "%" not in word and not has_magic(word) and Path(word).suffix.lower() in suffixes


def _root(word: str) -> str:
    path = Path(os.path.abspath(word))  # noqa: PTH100
    if path.is_dir() and not is_sequence(path):
        return str(path)
    if path.exists() or not has_magic(word):
        return str(path.parent)
    return str(fixed_folder(str(path)))


def _common(roots: Sequence[str]) -> str | None:
    """The folder that contains all of them; None if there is none."""
    if len(roots) == 1:
        return roots[0]
    schemes = {ADDRESS.match(root)[0] if ADDRESS.match(root) else "" for root in roots}  # type: ignore[index]
    if len(schemes) > 1:
        return None
    try:
        (scheme,) = schemes
        if scheme:
            return scheme + os.path.commonpath([PurePosixPath(root.removeprefix(scheme)) for root in roots])
        return os.path.commonpath(roots)
    except ValueError:
        return None


def _below(item: _Found, root: str | None) -> str:
    """Name of a source relative to the root, without its extension."""
    if ADDRESS.match(item.source):
        path = PurePosixPath(item.source.partition("?")[0].removeprefix(root or item.root).lstrip("/"))
        parts = [piece for piece in path.parts if piece not in ("/", "..")]  # keys in a store can be any text
        pieces = [_clean(piece) for piece in parts] or [output_stem(item.source)]
        return _short(PurePosixPath(*pieces).with_suffix(""))
    path = PurePosixPath(Path(os.path.relpath(item.source, root or item.root)).as_posix())
    return readable(_short(path if Path(item.source).is_dir() else path.with_suffix("")))


def _short(path: PurePosixPath) -> str:
    return str(path.with_name(short_name(path.name, MOST_STEM_BYTES))) if path.name else str(path)


def _clean(piece: str) -> str:
    return re.sub(r"[^\w.()@+ -]+", "-", piece).strip() or "-"


def _named(wanted: Sequence[tuple[str, str]], taken: Mapping[str, str]) -> list[Item]:
    """Give each video a unique name, also where case does not matter. A video keeps its earlier name; if two need the
    same name, both keep their extension."""
    counts: dict[str, int] = {}
    for _, name in wanted:
        counts[name.lower()] = counts.get(name.lower(), 0) + 1
    here = {redact(source) for source, _ in wanted}
    used = {name.lower() for source, name in taken.items() if source in here}
    items = []
    for source, name in wanted:
        before = taken.get(redact(source))
        if before is None:
            longer = [] if counts[name.lower()] == 1 else [name]
            choices = [choice for choice in (name, *_longer(source, name)) if choice not in longer]
            before = next(choice for choice in choices if choice.lower() not in used)
        used.add(before.lower())
        items.append(Item(source, before))
    return items


def _longer(source: str, name: str) -> tuple[str, str]:
    ending = PurePosixPath(urlsplit(source).path if ADDRESS.match(source) else source).suffix
    return f"{name}{readable(ending)}", f"{name}-{hashlib.sha256(os.fsencode(source)).hexdigest()[:8]}"
