"""The outputs of a run: one value that selects them, and their sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from streamparts.bundle.load import Bundle
from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.meter import StageClock, picture_bytes
from streamparts.sinks.background import BackgroundSink
from streamparts.sinks.group import Member, SinkGroup, SinkReport
from streamparts.sinks.overlay.followers import existing_followers
from streamparts.sinks.overlay.style import DEFAULT_STYLE, OverlayStyle
from streamparts.sources import Source
from streamparts.sources.base import details
from streamparts.tracking.roi import WHOLE_PICTURE, Following

if TYPE_CHECKING:
    from streamparts.sinks.messages.address import Address
    from streamparts.sinks.preview.sink import Viewer
    from streamparts.tracksfile.resume import ResumePoint

Show = Literal["auto", "window", "page"]
"""Kinds of preview; "auto" is a window if possible, else a page."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Outputs of a run."""

    overlay: Path | None = None
    """File of the overlay video."""
    tracks: Path | None = None
    """File of the tracks as JSON lines."""
    masks: bool = False
    """Add a mask for every part to the tracks."""
    style: OverlayStyle = DEFAULT_STYLE
    """Style of overlay and preview."""
    encoder: str = "auto"
    """Encoder of the overlay: auto, or FFmpeg's name."""
    audio: bool = True
    """Copy the source's audio into the overlay."""
    show: Show | None = None
    """Live preview: in a window, on a page, or whichever is possible."""
    show_port: int = 0
    """Port of the page; 0 for any free one."""
    send: tuple[Address, ...] = ()
    """Addresses of live messages."""
    following: Following = WHOLE_PICTURE
    """Region that the network sees, for the headers of tracks and messages."""
    force: bool = False
    """Replace existing files."""
    resume: bool = False
    """Continue after the last frame in `tracks`, if that file exists."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files to write."""
        return tuple(path for path in (self.overlay, self.tracks) if path is not None)

    def named(self, folder: Path, stem: str = "") -> Outputs:
        """Return the same outputs with their files in `folder`; a stem goes before each file's name, with a dot."""
        overlay, tracks = (
            None if path is None else folder / (f"{stem}.{path.name}" if stem else path.name)
            for path in (self.overlay, self.tracks)
        )
        return replace(self, overlay=overlay, tracks=tracks)


def check_followers(overlay: Path, force: bool) -> None:
    """Raise VideoError if names for continuations of the overlay are taken."""
    if not force and (found := existing_followers(overlay)):
        raise VideoError(
            f"{found[0]}: exists already, and {overlay.name} may have to continue there; use --force (in Python: "
            "force=True) to replace it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The run that the outputs are opened for."""

    source: Source
    bundle: Bundle
    clock: StageClock
    """Times the stages of the outputs."""
    policy: Literal["all", "latest"]
    """For the headers of tracks and messages."""
    resume: ResumePoint | None = None
    """Position in the tracks file after which tracks and overlay continue."""
    replace: bool = False
    """True if continuations of the overlay may replace existing files."""
    written: Callable[[Tracks], None] | None = None
    """Called by each file for every written frame."""
    say: Callable[[str], None] | None = None
    """Receives lines with the addresses of the preview and of messages."""
    on_closed: Callable[[], None] | None = None
    """Called when the user closes the preview."""

    @property
    def depth(self) -> int:
        """Maximum number of frames queued for an output; if the newest counts, queued ones get old."""
        return 1 if self.policy == "latest" else 2

    @property
    def start_seconds(self) -> float | None:
        """Time in the source at which the outputs start; None for its beginning."""
        start = details(self.source).start_seconds
        return start if self.resume is None else max(start or 0.0, self.resume.pts_seconds)


def open_outputs(
    outputs: Outputs, run: RunContext, failed: Callable[[Member, Exception], None] | None = None
) -> SinkGroup:
    """Open every output; each has its own thread. `failed` as for SinkGroup. Raises VideoError, or TracksError if the
    resumed file belongs to another source; nothing is left open then."""
    try:
        outputs.style.check_parts(run.bundle.spec.num_parts)
    except ValueError as error:
        raise VideoError(
            f"the overlay cannot be drawn, because {run.bundle.spec.name} has other parts: {error}"
        ) from error
    if run.resume is not None:
        run.resume.check_source(run.source)
    with ExitStack() as opened:
        members = list[Member]()
        for member in _members(outputs, run):
            opened.enter_context(closing(member.sink))
            members.append(member)
        opened.pop_all()
    return SinkGroup(members, failed)


def _members(outputs: Outputs, run: RunContext) -> Iterator[Member]:
    yield from _messages(outputs, run)
    if outputs.show is not None:
        yield _preview(outputs, outputs.show, run)
    if outputs.overlay is not None:
        yield _overlay(outputs, outputs.overlay, run)
    if outputs.tracks is not None:
        yield _tracks(outputs, outputs.tracks, run)


def _overlay(outputs: Outputs, path: Path, run: RunContext) -> Member:
    from streamparts.sinks.overlay.sink import OverlaySink  # loads OpenCV

    sink = OverlaySink(
        path,
        run.source.rate,
        run.clock,
        run.written,
        style=outputs.style,
        encoder=outputs.encoder,
        audio=_sound_file(run.source) if outputs.audio else None,
        start_seconds=run.start_seconds,
        replace=run.replace,
        resume=run.resume is not None,
        endless=run.source.live,
        pixel_aspect=details(run.source).pixel_aspect,
    )
    return Member(str(path), BackgroundSink(sink, run.depth, weigh=_weight), lambda: SinkReport(sink.paths, sink.notes))


def _tracks(outputs: Outputs, path: Path, run: RunContext) -> Member:
    from streamparts.tracksfile.writing import JsonlSink

    sink = JsonlSink(
        path,
        run.bundle,
        run.source,
        outputs.masks,
        run.clock,
        policy=run.policy,
        following=outputs.following,
        resume=run.resume,
    )
    notes = (f"{path}: resumed at frame {run.resume.next_index}",) if run.resume else ()
    return Member(str(path), BackgroundSink(sink, run.depth, run.written, _weight), lambda: SinkReport((path,), notes))


def _weight(tracks: Tracks) -> int:
    return picture_bytes(tracks.frame)


def _messages(outputs: Outputs, run: RunContext) -> Iterator[Member]:
    if outputs.send:
        from streamparts.sinks.messages import open_messages
        from streamparts.tracksfile.recording import Recording
    for address in outputs.send:
        masks = address.options.get("masks") == "1"
        recording = Recording(run.bundle, run.source, masks, policy=run.policy, following=outputs.following)
        sink = open_messages(address, recording)
        yield Member(sink.address, sink, sink.report, is_file=False, num_lost=partial(getattr, sink, "num_lost"))
        if run.say and sink.listens:
            run.say(f"messages: {sink.address} waits for receivers")


def _preview(outputs: Outputs, show: Show, run: RunContext) -> Member:
    from streamparts.sinks.preview.sink import PreviewSink

    viewer, line = open_viewer(show, outputs.show_port)
    if run.say:
        run.say(line)
    sink = PreviewSink(viewer, outputs.style, run.on_closed, details(run.source).pixel_aspect)
    return Member("preview", sink, is_file=False)


def open_viewer(show: Show, port: int = 0) -> tuple[Viewer, str]:
    """(viewer, a line with its location). "auto" is a window if possible, else a page, and the line gives the reason.

    Raises VideoError if a requested window is not possible, or the port is in use.
    """
    from streamparts.sinks.preview.page import Page
    from streamparts.sinks.preview.window import PreviewWindow, window_problem

    problem = None if show == "page" else window_problem()
    if show != "page" and problem is None:
        return PreviewWindow(), "preview: in a window; close it, or press q in it, to end the run"
    if show == "window":
        raise VideoError(f"no preview window: {problem}; --show page works without")
    page = Page(port)
    why = f" (no window: {problem})" if problem else ""
    far = f"from another machine, first run: ssh -L {page.port}:127.0.0.1:{page.port} THIS_MACHINE"
    return page, f"preview: {page.address} in a browser{why}; {far}"


def _sound_file(source: Source) -> Path | None:
    """The file that a source reads, if any."""
    path = details(source).path
    return path if isinstance(path, Path) and path.is_file() else None
