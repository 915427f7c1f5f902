"""MCAP, for Foxglove and Rerun: Foxglove's image annotations, every line of the tracks as JSON, and on request the
images."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from streamparts.errors import TracksError, need
from streamparts.formats.film import film_of
from streamparts.formats.hints import Hints
from streamparts.formats.shots import Shot, Survey, growing
from streamparts.geometry import outline
from streamparts.tracksfile.reading import TracksFile
from streamparts.tracksfile.records import HeaderRecord, Record, tracks_schema

WHAT = "MCAP"
ANNOTATIONS, TRACKS, VIDEO = "/streamparts/annotations", "/streamparts/tracks", "/streamparts/video"
METADATA = "streamparts"
BILLION = 1_000_000_000
FONT_PX, POINT_PX, LINE_PX = 12, 6, 2


def write(tracks: TracksFile, survey: Survey, path: Path) -> list[str]:
    """Log times never decrease and are not below 0; annotations have the source's times."""
    mcap, schema = need("mcap.writer", WHAT), need("mcap_protobuf.schema", WHAT)
    annotations = need("foxglove_schemas_protobuf.ImageAnnotations_pb2", WHAT).ImageAnnotations
    video = need("foxglove_schemas_protobuf.CompressedVideo_pb2", WHAT).CompressedVideo
    with path.open("wb") as file, film_of(tracks.path, survey.wishes.video) as film:
        writer = mcap.Writer(file)
        writer.start(library=f"streamparts {tracks.header.streamparts}")
        writer.add_metadata(METADATA, {"header": msgspec.json.encode(tracks.header).decode()})
        drawn = writer.register_channel(ANNOTATIONS, "protobuf", schema.register_schema(writer, annotations))
        lines = writer.register_schema("streamparts.tracks", "jsonschema", msgspec.json.encode(tracks_schema()))
        told = writer.register_channel(TRACKS, "json", lines)
        if film is not None:
            filmed = writer.register_channel(VIDEO, "protobuf", schema.register_schema(writer, video))
        names, start, setting, last = tracks.header.model.parts, Fraction(0), 0, 0
        for number, (shot, seconds) in enumerate(growing(tracks, survey)):
            start = min(seconds, Fraction(0)) if number == 0 else start
            last, own = round((seconds - start) * BILLION), round(shot.seconds * BILLION)
            for record in _lines(shot, setting):
                writer.add_message(told, last, msgspec.json.encode(record), max(own, 0), shot.frame.frame)
            setting = shot.segment
            data = _annotations(annotations, shot, names, own).SerializeToString()
            writer.add_message(drawn, last, data, max(own, 0), shot.frame.frame)
            if film is not None:
                data = _filmed(video, film.picture(shot), own).SerializeToString()
                writer.add_message(filmed, last, data, max(own, 0), shot.frame.frame)
        writer.finish()
    return survey.size_notes() + (["times before 0 become 0 in the log"] if start else [])


def _lines(shot: Shot, setting: int) -> Iterator[Record]:
    if shot.gap is not None:
        yield shot.gap
    if shot.segment != setting:
        yield shot.setting
    yield shot.frame


def _annotations(message: Any, shot: Shot, names: list[str], nanoseconds: int) -> Any:
    """A point, an outline and a name for each visible part; with several subjects, the number precedes the name."""
    from streamparts.bundle.colours import part_color

    out = _at(message, nanoseconds)
    for one, part in ((subject, part) for subject in shot.subjects for part in subject.seen):
        name = f"{one.subject} {names[part.id]}" if shot.others else names[part.id]
        color = [value / 255 for value in part_color(part.id)]
        (x, y), circle, loop, text = part.center, out.circles.add(), out.points.add(), out.texts.add()
        for item, paint in (
            (circle, "outline_color"),
            (circle, "fill_color"),
            (loop, "outline_color"),
            (text, "text_color"),
        ):
            target = getattr(item, paint)
            target.r, target.g, target.b, target.a = *color, 1.0
        for item in (circle, loop, text):
            item.timestamp.CopyFrom(out.timestamp)
        circle.position.x, circle.position.y, circle.diameter, circle.thickness = x, y, POINT_PX, LINE_PX
        loop.type, loop.thickness = loop.LINE_LOOP, LINE_PX
        for at_x, at_y in outline(part.affine).tolist():
            loop.points.add(x=at_x, y=at_y)
        text.position.x, text.position.y, text.text, text.font_size = x, y, name, FONT_PX
    return out


def _filmed(message: Any, picture: bytes, nanoseconds: int) -> Any:
    out = _at(message, nanoseconds)
    out.frame_id, out.format, out.data = "camera", "h264", picture
    return out


def _at(message: Any, nanoseconds: int) -> Any:
    """A message with that time."""
    out = message()
    out.timestamp.seconds, out.timestamp.nanos = divmod(nanoseconds, BILLION)
    return out


def read(path: Path, hints: Hints) -> Iterator[HeaderRecord | Record]:
    """Read files made by `write`."""
    reader = need("mcap.reader", WHAT)
    line: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
    try:
        with path.open("rb") as file:
            opened = reader.make_reader(file)
            header = next((item.metadata["header"] for item in opened.iter_metadata() if item.name == METADATA), None)
            if header is None:
                raise TracksError(f"{path}: contains no tracks of streamparts; other MCAP files cannot be read")
            yield msgspec.json.decode(header, type=HeaderRecord)
            for _, _, message in opened.iter_messages(TRACKS):
                yield line.decode(message.data)
    except TracksError:
        raise
    except Exception as error:  # for damaged files, the library passes on errors of struct, zstd and others
        raise TracksError(f"{path}: cannot be read as MCAP ({error})") from error
