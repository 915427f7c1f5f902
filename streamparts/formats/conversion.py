"""Converts one tracks file to one file of another format, or back."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import msgspec

from streamparts.errors import StreampartsError, TracksError, VideoError, need
from streamparts.files import check_outputs, whole
from streamparts.formats.hints import Hints, Wishes
from streamparts.formats.openpose import foreign_files
from streamparts.formats.shots import survey
from streamparts.formats.table import FORMATS, Format, format_of
from streamparts.tracksfile.reading import TracksFile, read_tracks
from streamparts.tracksfile.records import FrameRecord, HeaderRecord, Record

TRACKS_SUFFIX = ".jsonl"
_ONLY_FOR = {"joints": ("trc", "openpose"), "metres_per_pixel": ("trc",)}
"""Formats that take these options."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """Result of a conversion."""

    path: Path
    """The output file or folder."""
    format: Format
    """Format that was written or, if the output is a tracks file, read."""
    num_frames: int
    notes: tuple[str, ...] = ()
    """Warnings about data that the format could not store, one line each."""


def convert(
    tracks: str | Path | TracksFile,
    output: str | Path,
    format: str | None = None,
    force: bool = False,
    *,
    video: str | Path | None = None,
    rate: Fraction | float | None = None,
    size: tuple[int, int] | None = None,
    joints: bool = False,
    metres_per_pixel: float | None = None,
) -> Conversion:
    """Convert a tracks file to another format or, if `output` ends in .jsonl, a file of another format to tracks.

    Args:
        format: a name in `formats.FORMATS`; by default the one given by the suffix.
        force: replace an existing output, which is written atomically.
        video: the video of the poses, for formats without times; .slp names it, MCAP and .rrd store its images.
        rate: instead of `video`, its constant frame rate.
        size: instead of `video`, its height and width.
        joints: write the skeleton's joints to TRC or OpenPose, instead of the parts.
        metres_per_pixel: scale of a TRC.

    Raises TracksError for input that cannot be converted or an ambiguous format, VideoError for an output that cannot
    be written, MissingExtraError naming the extra of a missing library, ValueError for a `rate` or `size` that is not
    positive.
    """
    if metres_per_pixel is not None and not 0 < metres_per_pixel < float("inf"):
        raise ValueError(f"metres_per_pixel must be positive, got {metres_per_pixel}")
    if (rate is not None and not 0 < rate < float("inf")) or (size is not None and min(size) < 1):
        raise ValueError(f"rate and size must be positive, got {rate} and {size}")
    source, output = tracks.path if isinstance(tracks, TracksFile) else Path(tracks), Path(output)
    to_tracks = output.suffix.lower() == TRACKS_SUFFIX and source.suffix.lower() != TRACKS_SUFFIX
    hints = Hints(video, None if rate is None else Fraction(rate).limit_denominator(1_000_000), size)
    kind = _read_format(source, format) if to_tracks else format_of(output, format)
    for name, value in (("joints", joints), ("metres_per_pixel", metres_per_pixel)):
        if value and (to_tracks or kind.name not in _ONLY_FOR[name]):
            flag = name.replace("_", "-")
            raise TracksError(f"{output}: --{flag} is for {' and '.join(_ONLY_FOR[name])} only; leave it out")
    _check_output(source, output, kind, to_tracks, force)
    try:
        with whole(output) as made:
            if to_tracks:
                num_frames, notes = _write_records(kind.implementation.read(source, hints), made), list[str]()
            else:
                file = tracks if isinstance(tracks, TracksFile) else read_tracks(tracks)
                wishes = Wishes(None if video is None else Path(video), joints, metres_per_pixel)
                known = replace(survey(file), wishes=wishes)
                num_frames, notes = known.num_frames, kind.implementation.write(file, known, made)
    except StreampartsError:
        raise
    except OSError as error:
        raise VideoError(f"{output}: cannot be written ({error.strerror or error})") from error
    return Conversion(output, kind, num_frames, tuple(notes))


def _check_output(source: Path, output: Path, kind: Format, to_tracks: bool, force: bool) -> None:
    """Raise VideoError if the output cannot be written. A folder may be replaced only if it contains nothing but files
    of that format."""
    if to_tracks or kind.suffixes or not output.is_dir():
        check_outputs([output], [source], force)
        return
    foreign = next(foreign_files(output), None)
    if foreign is not None:
        raise VideoError(f"{output}: contains {foreign.name}, which is not a {kind.name} output; name another folder")
    if not force:
        raise VideoError(f"{output}: exists already; use --force (in Python: force=True) to replace it")


def _read_format(path: Path, name: str | None) -> Format:
    """Return the format of `path`. Raises TracksError."""
    kind = format_of(path, name or _recognised(path))
    if not kind.is_read:
        can = ", ".join(one.name for one in FORMATS if one.is_read)
        raise TracksError(
            f"{path}: {kind.name} does not contain enough to be converted to tracks; these formats do: {can}"
        )
    return kind


def _recognised(path: Path) -> str | None:
    """Recognise a file whose suffix several formats share by its first bytes; None if that fails."""
    suffix = path.suffix.lower()
    if suffix == ".csv" and path.is_file():
        with path.open("rb") as file:
            return "dlc" if file.read(10).removeprefix(b"\xef\xbb\xbf").startswith(b"scorer") else "csv"
    if suffix == ".h5" and path.is_file():
        h5py = need("h5py", "HDF5")
        with suppress(OSError, RuntimeError), h5py.File(path, "r") as opened:
            return "sleap-analysis" if "tracks" in opened else "dlc"
    return None


def _write_records(records: Iterable[HeaderRecord | Record], path: Path) -> int:
    """Write a tracks file; return its number of frames."""
    encoder, num_frames = msgspec.json.Encoder(), 0
    with path.open("wb") as file:
        for record in records:
            num_frames += isinstance(record, FrameRecord)
            file.write(encoder.encode(record) + b"\n")
    return num_frames
