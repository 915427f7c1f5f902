"""The lines of a manifest, schema streamparts.manifest/1."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

SCHEMA = "streamparts.manifest/1"

Status = Literal["done", "failed", "skipped", "interrupted"]


class OutputFile(Struct, frozen=True):
    """A file that was written."""

    path: Annotated[str, Meta(description="Below the folder of the outputs, with slashes.")]
    bytes: Annotated[int, Meta(ge=0)]


class CorpusResult(Struct, frozen=True, kw_only=True):
    """What became of one video. In a manifest the status is done or failed; who skips a video keeps its line, and one
    that was interrupted has none."""

    schema: str = SCHEMA
    """Version of this line."""
    status: Status
    """"done": its outputs are complete; "failed": see `error`; "skipped": they were there already, made from the same
    content with the same model and options; "interrupted": it was begun or not, and can be gone on with."""
    name: str
    """What its outputs are called after, below the folder of the outputs, with slashes."""
    source: str
    """Where it was read from, without credentials."""
    outputs: tuple[OutputFile, ...] = ()
    """The files written."""
    frames: int = 0
    """Frames in the outputs."""
    seconds: float = 0.0
    """Wall time of the attempt that ended it: reading, tracking, writing."""
    fps: float = 0.0
    """Frames of that attempt for each of these seconds."""
    content_sha256: str | None = None
    """Of the video's bytes; of a folder of pictures, of their names and bytes. None where it could not be read."""
    source_bytes: int | None = None
    """Size of the video."""
    source_version: str | None = None
    """What tells that it was changed: time of modification in nanoseconds, or what a store calls its version."""
    model: str
    """Name of the model."""
    model_sha256: str
    """Of the model's file."""
    options_sha256: str
    """Of the options that decide the outputs, and of the schema of the tracks."""
    backend: str | None = None
    """Who ran the network."""
    resumed_at: int | None = None
    """First frame that an earlier, interrupted attempt had not written; None where there was none."""
    attempts: int = 0
    """How often this run tried."""
    error: str | None = None
    """Of a failed one: what is wrong, in one line."""
    notes: tuple[str, ...] = ()
    """What is to be known of the outputs, in sentences."""
    host: str | None = None
    """The machine that worked on it."""
    began: str | None = None
    """When the last attempt began: UTC, ISO 8601."""
    ended: str | None = None
    """When it ended."""
    streamparts: str
    """Version of the program."""


def manifest_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one line of a manifest."""
    _, definitions = msgspec.json.schema_components([CorpusResult], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA.replace('/', ':')}",
        "title": SCHEMA,
        **definitions.pop(CorpusResult.__name__),
        "$defs": definitions,
    }
