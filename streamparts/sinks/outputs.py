"""All outputs of a run: one value that says which, and their sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from streamparts.bundle import Bundle
from streamparts.data import Tracks, picture_bytes
from streamparts.errors import VideoError
from streamparts.meter import StageClock
from streamparts.sinks.background import BackgroundSink
from streamparts.sinks.group import Member, Report, SinkGroup
from streamparts.sinks.naming import existing_followers
from streamparts.sinks.style import DEFAULT_STYLE, OverlayStyle
from streamparts.sources import Source
from streamparts.tracking.roi import WHOLE_PICTURE, Following

if TYPE_CHECKING:
    from streamparts.sinks.messages.address import Address
    from streamparts.sinks.preview import Viewer
    from streamparts.sinks.resume import ResumePoint

Show = Literal["auto", "window", "page"]
"""Kinds of preview; "auto" is a window where one can be, else a page."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a run writes and shows."""

    overlay: Path | None = None
    """The overlay video."""
    tracks: Path | None = None
    """The tracks as JSON lines."""
    masks: bool = False
    """Whether the tracks have a mask for every part."""
    style: OverlayStyle = DEFAULT_STYLE
    """What overlay and preview show."""
    encoder: str = "auto"
    """Of the overlay: auto, or a name that FFmpeg has."""
    audio: bool = True
    """Whether the overlay carries the source's sound."""
    show: Show | None = None
    """A live preview: in a window, on a page, or where it can be."""
    show_port: int = 0
    """Of the page; 0 for any that is free."""
    send: tuple[Address, ...] = ()
    """Where live messages go."""
    following: Following = WHOLE_PICTURE
    """What the network sees, for the headers of tracks and messages."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files asked for."""
        return tuple(path for path in (self.overlay, self.tracks) if path is not None)


def check_followers(overlay: Path, force: bool) -> None:
    """Raise VideoError where names that the overlay may go on under are taken."""
    if not force and (found := existing_followers(overlay)):
        raise VideoError(
            f"{found[0]}: exists already, and {overlay.name} may have to go on there; use --force (in Python: "
            "force=True) to replace it"
        )


def open_outputs(
    outputs: Outputs,
    source: Source,
    bundle: Bundle,
    *,
    clock: StageClock | None = None,
    written: Callable[[Tracks], None] | None = None,
    failed: Callable[[Member, Exception], None] | None = None,
    say: Callable[[str], None] | None = None,
    on_closed: Callable[[], None] | None = None,
    policy: str | None = None,
    resume: ResumePoint | None = None,
    start_seconds: float | None = None,
    depth: int = 2,
    endless: bool = False,
    replace: bool = False,
) -> SinkGroup:
    """Open every output; each has a thread of its own.

    `written` is called for each frame by each file when it is written; `failed` as by SinkGroup; `say` gets lines on
    where the preview is, and where receivers of messages are waited for; `on_closed` is called when the user closes
    the preview. `policy` goes into the header of tracks and messages. `resume` is a point of `outputs.tracks`, after
    which tracks and overlay go on; `start_seconds` is where in the source the run starts; `depth` frames may wait for
    an output; `endless` as by Mp4Writer; `replace` as by OverlaySink. Raises VideoError, or TracksError where
    `resume` is of another source; nothing is left open then.
    """
    try:
        outputs.style.check_parts(bundle.spec.num_parts)
    except ValueError as error:
        raise VideoError(f"the overlay cannot be drawn, {bundle.spec.name} has other parts: {error}") from error
    if resume is not None:
        resume.check_source(source)
    clock = clock or StageClock()
    with ExitStack() as opened:
        members = list[Member]()

        def keep(member: Member) -> None:
            opened.enter_context(closing(member.sink))
            members.append(member)

        for member in _messages(outputs, source, bundle, say, policy):
            keep(member)
        if outputs.show is not None:
            keep(_preview(outputs, outputs.show, source, say, on_closed))
        if outputs.overlay is not None:
            begin = start_seconds if resume is None else max(start_seconds or 0.0, resume.pts_seconds)
            keep(_overlay(outputs, outputs.overlay, source, clock, written, resume, begin, depth, endless, replace))
        if outputs.tracks is not None:
            keep(_tracks(outputs, outputs.tracks, source, bundle, clock, written, policy, resume, depth))
        opened.pop_all()
    return SinkGroup(members, failed)


def _overlay(
    outputs: Outputs,
    path: Path,
    source: Source,
    clock: StageClock,
    written: Callable[[Tracks], None] | None,
    resume: ResumePoint | None,
    start_seconds: float | None,
    depth: int,
    endless: bool,
    replace: bool,
) -> Member:
    from streamparts.sinks.overlay import OverlaySink  # loads OpenCV

    sink = OverlaySink(
        path,
        source.rate,
        clock,
        written,
        style=outputs.style,
        encoder=outputs.encoder,
        audio=_sound_file(source) if outputs.audio else None,
        start_seconds=start_seconds,
        replace=replace,
        resume=resume is not None,
        endless=endless,
        pixel_aspect=_pixel_aspect(source),
    )
    return Member(str(path), BackgroundSink(sink, depth, weigh=_weight), lambda: Report(sink.paths, sink.notes))


def _tracks(
    outputs: Outputs,
    path: Path,
    source: Source,
    bundle: Bundle,
    clock: StageClock,
    written: Callable[[Tracks], None] | None,
    policy: str | None,
    resume: ResumePoint | None,
    depth: int,
) -> Member:
    from streamparts.sinks.jsonl import JsonlSink

    following = outputs.following
    sink = JsonlSink(path, bundle, source, outputs.masks, clock, policy=policy, following=following, resume=resume)
    notes = (f"{path}: resumed at frame {resume.next_index}",) if resume else ()
    return Member(str(path), BackgroundSink(sink, depth, written, _weight), lambda: Report((path,), notes))


def _weight(tracks: Tracks) -> int:
    return picture_bytes(tracks.frame)


def _messages(
    outputs: Outputs, source: Source, bundle: Bundle, say: Callable[[str], None] | None, policy: str | None
) -> Iterator[Member]:
    if outputs.send:
        from streamparts.sinks.messages import open_messages
        from streamparts.sinks.recording import Recording
    for address in outputs.send:
        masks = address.options.get("masks") == "1"
        sink = open_messages(address, Recording(bundle, source, masks, policy=policy, following=outputs.following))
        yield Member(sink.address, sink, sink.report, is_file=False, num_lost=partial(getattr, sink, "num_lost"))
        if say and sink.listens:
            say(f"messages: {sink.address} waits for receivers")


def _preview(
    outputs: Outputs,
    show: Show,
    source: Source,
    say: Callable[[str], None] | None,
    on_closed: Callable[[], None] | None,
) -> Member:
    from streamparts.sinks.preview import PreviewSink

    viewer, line = open_viewer(show, outputs.show_port)
    if say:
        say(line)
    return Member("preview", PreviewSink(viewer, outputs.style, on_closed, _pixel_aspect(source)), is_file=False)


def open_viewer(show: Show, port: int = 0) -> tuple[Viewer, str]:
    """(viewer, a line that says where it is). "auto" is a window where one can be, else a page, and the line says why.

    Raises VideoError where a window is asked for and cannot be, or the port is taken.
    """
    from streamparts.sinks.page import Page
    from streamparts.sinks.window import Window, window_problem

    problem = None if show == "page" else window_problem()
    if show != "page" and problem is None:
        return Window(), "preview: in a window; close it, or press q in it, to end the run"
    if show == "window":
        raise VideoError(f"no preview window: {problem}; --show page works without")
    page = Page(port)
    why = f" (no window: {problem})" if problem else ""
    far = f"from another machine first: ssh -L {page.port}:127.0.0.1:{page.port} THIS_MACHINE"
    return page, f"preview: {page.address} in a browser{why}; {far}"


def _pixel_aspect(source: Source) -> Fraction:
    """How wide a pixel is shown for its height; 1 where the source does not say."""
    return getattr(source, "pixel_aspect", None) or Fraction(1)


def _sound_file(source: Source) -> Path | None:
    """The file that a source reads, if it reads one."""
    path = getattr(source, "path", None)
    return path if isinstance(path, Path) and path.is_file() else None
