"""Lines of a manifest, schema streamparts.manifest/1."""

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
    """Result of one video. In a manifest, the status is done or failed; a skipped video keeps its earlier line, an
    interrupted one has none."""

    schema: str = SCHEMA
    """Version of this line."""
    status: Status
    """"done": the outputs are complete; "failed": see `error`; "skipped": complete outputs exist, made from the same
    content with the same model and options; "interrupted": not finished, and can be continued."""
    name: str
    """Base name of its outputs, relative to the output folder, with slashes."""
    source: str
    """Source, without credentials."""
    outputs: tuple[OutputFile, ...] = ()
    """The files written."""
    frames: int = 0
    """Frames in the outputs."""
    seconds: float = 0.0
    """Wall time of the attempt that finished it: reading, tracking, writing."""
    fps: float = 0.0
    """Frame rate of that attempt."""
    content_sha256: str | None = None
    """Hash of the video's bytes; for a folder of images, of their names and bytes. None if it could not be read."""
    source_bytes: int | None = None
    """Size of the video."""
    source_version: str | None = None
    """Modification time in nanoseconds, or a store's version identifier."""
    model: str
    """Name of the model."""
    model_sha256: str
    """Hash of the model's file."""
    options_sha256: str
    """Hash of the options that affect the outputs, and of the tracks schema."""
    backend: str | None = None
    """Backend that ran the network."""
    resumed_at: int | None = None
    """First frame not written by an earlier, interrupted attempt; None without one."""
    attempts: int = 0
    """Number of attempts in this run."""
    error: str | None = None
    """Error of a failed video, in one line."""
    notes: tuple[str, ...] = ()
    """Remarks about the outputs, in sentences."""
    host: str | None = None
    """Machine that processed it."""
    began: str | None = None
    """Start of the last attempt: UTC, ISO 8601."""
    ended: str | None = None
    """End of the last attempt."""
    streamparts: str
    """Version of streamparts."""


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
