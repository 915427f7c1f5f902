"""Live preview of tracks, limited to spare time: it never delays the network."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.bundle.colours import part_color
from streamparts.data import Tracks
from streamparts.sinks.overlay.canvas import rgb_canvas
from streamparts.sinks.overlay.drawing import Painter
from streamparts.sinks.overlay.style import DEFAULT_STYLE, OverlayStyle
from streamparts.sources.rescale import Rescaler
from streamparts.threads import DaemonThread

MAX_RATE = 30.0
"""Maximum frame rate."""
MAX_SIDE = 1280
"""Longer side of the preview, in pixels; larger frames are shown smaller."""
_POLL_SECONDS = 0.05
_CLOSE_SECONDS = 1.0


class Viewer(Protocol):
    """Displays images. All calls come from one thread."""

    def poll(self) -> bool:
        """Called continuously. Returns False once the user has closed it."""

    def wanted(self) -> bool:
        """True if a viewer is watching; otherwise nothing is drawn."""

    def show(self, picture: ByteArray) -> None:
        """(h, w, 3) uint8 RGB."""

    def close(self) -> None: ...


@runtime_checkable
class Talking(Protocol):
    """A viewer that can show text below the image."""

    def tell(self, text: str, parts: Sequence[tuple[str, str, bool]]) -> None:
        """Set a line of text, and each part's name, CSS colour and visibility."""


class PreviewSink:
    """Shows the newest frame. `write` only stores it: a separate thread draws, and skips frames it has no time for, so
    that a slow or stuck viewer costs nothing."""

    def __init__(
        self,
        viewer: Viewer,
        style: OverlayStyle = DEFAULT_STYLE,
        on_closed: Callable[[], None] | None = None,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        """`on_closed` is called once, in the preview's thread, when the user closes the viewer. `pixel_aspect` is the
        displayed width of a pixel relative to its height."""
        self._pixel_aspect = pixel_aspect
        self._viewer, self._on_closed = viewer, on_closed
        self._painter, self._rescaler = Painter(style), Rescaler()
        self._newest: Tracks | None = None
        self._changed = threading.Condition()
        self._ending = False
        self._shown_at: deque[float] = deque(maxlen=31)
        self.num_shown = 0
        """Images drawn so far."""
        self._thread = DaemonThread("preview", self._work, keeps_error=True)

    def write(self, tracks: Tracks) -> None:
        """Store the frame for the viewer; unseen frames are replaced. Raises the viewer's error."""
        with self._changed:
            self._newest = None if self._ending else tracks
            self._changed.notify_all()
        self._thread.raise_error()

    def close(self) -> None:
        """End the preview; a viewer that hangs is abandoned after a second. Raises the viewer's error, once."""
        with self._changed:
            self._ending, self._newest = True, None
            self._changed.notify_all()
        self._thread.ends(_CLOSE_SECONDS)
        self._thread.raise_error()

    def _work(self) -> None:
        try:
            self._show_until_the_end()
        finally:
            with self._changed:
                self._ending, self._newest = True, None
            self._viewer.close()

    def _show_until_the_end(self) -> None:
        earliest = 0.0
        while not self._ending:
            if not self._viewer.poll():
                if self._on_closed:
                    self._on_closed()
                return
            tracks = self._take(earliest - time.monotonic())
            if tracks is not None and self._viewer.wanted():
                earliest = time.monotonic() + 1 / MAX_RATE
                picture = self._draw(tracks)
                if isinstance(self._viewer, Talking):
                    self._viewer.tell(self._line(tracks), _seen_parts(tracks))
                self._viewer.show(picture)
                self.num_shown += 1

    def _line(self, tracks: Tracks) -> str:
        """Frame rate of the preview, and the latency of this frame."""
        now = time.perf_counter()
        self._shown_at.append(now)
        steps = len(self._shown_at) - 1
        rate = f"{steps / (now - self._shown_at[0]):.0f} fps, " if steps else ""
        return f"{rate}latency {1000 * (now - tracks.frame.decoded_at):.0f} ms, frame {tracks.index}"

    def _take(self, pause: float) -> Tracks | None:
        """Return the newest frame, after `pause` seconds; None if none arrives soon."""
        with self._changed:
            if pause > 0:
                self._changed.wait_for(lambda: self._ending, min(pause, _POLL_SECONDS))
            if not (self._newest or self._ending):
                self._changed.wait(_POLL_SECONDS)
            tracks, self._newest = self._newest, None
            return tracks

    def _draw(self, tracks: Tracks) -> ByteArray:
        small = shrunk(tracks, self._rescaler, pixel_aspect=self._pixel_aspect)
        plain = small.frame.image
        assert isinstance(plain, np.ndarray)
        picture = plain.copy()
        self._painter.paint(rgb_canvas(picture), small)
        return np.concatenate([plain, picture], axis=1) if self._painter.style.side_by_side else picture


def _seen_parts(tracks: Tracks) -> list[tuple[str, str, bool]]:
    colors = ("#{:02x}{:02x}{:02x}".format(*part_color(part)) for part in range(tracks.num_parts))
    return [(name, color, bool(seen)) for name, color, seen in zip(tracks.names, colors, tracks.visible, strict=True)]


def shrunk(
    tracks: Tracks, rescaler: Rescaler, max_side: int = MAX_SIDE, pixel_aspect: Fraction = Fraction(1)
) -> Tracks:
    """The same tracks with an image of at most `max_side` square pixels, as an upright RGB array. Areas are
    unchanged."""
    frame = tracks.frame
    wide = frame.width * float(pixel_aspect)
    share = min(1.0, max_side / max(frame.height, wide))
    height, width = max(1, round(frame.height * share)), max(1, round(wide * share))
    scale = np.array([[width / frame.width], [height / frame.height]], np.float32)
    small = replace(frame, image=rescaler.rgb(frame, (height, width)), rotation=0, height=height, width=width)

    def resized(one: Tracks) -> Tracks:
        return replace(
            one,
            frame=small,
            letterbox=one.letterbox.resized((height, width)),
            affines=one.affines * scale,
            others=tuple(map(resized, one.others)),
        )

    return resized(tracks)
