"""`test://`: a moving puppet with a burnt-in frame counter, for demonstrations and tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from urllib.parse import parse_qsl, urlsplit

from streamparts.data import Frame
from streamparts.errors import VideoError
from streamparts.sources.base import Closing
from streamparts.sources.container import ticks_at
from streamparts.sources.pattern import Puppet, burn_number

DEFAULTS = {"size": "640x360", "fps": "30", "seconds": "10", "seed": "0", "live": "0"}


class PatternSource(Closing):
    """Frames drawn on demand; live ones are paced by the clock and, by default, never end.

    Any thread may close it. `pattern.read_number` reads a frame's `index`, modulo 2 ** 16, from its image.
    """

    decode_errors = 0
    repaired_times = 0

    def __init__(
        self,
        height: int,
        width: int,
        rate: Fraction,
        num_frames: int | None,
        seed: int = 0,
        live: bool = False,
    ) -> None:
        """`num_frames` None is unlimited."""
        if height < 16 or width < 64 or rate <= 0:
            raise ValueError(f"test:// needs at least 64x16 pixels and a positive rate, got {width}x{height} at {rate}")
        self.name = "test"
        self.height, self.width = height, width
        self.rate: Fraction | None = rate
        self.time_base = 1 / rate
        self.num_frames = num_frames
        self.live = live
        length = "endless" if num_frames is None else f"{num_frames} frames"
        self.description = f"{width}x{height} test pattern, {float(rate):.4g} fps, {length}" + (
            ", live" if live else ""
        )
        self._puppet = Puppet(height, width, seed)
        self._first = 0
        self._iterated = False
        self._closed = threading.Event()

    def start_at(self, seconds: float) -> None:
        """Begin with the first frame at or after `seconds`. Raises VideoError without one."""
        self._first = max(0, ticks_at(seconds, self.time_base))
        if self.num_frames is not None and self._first >= self.num_frames:
            raise VideoError(f"{self.name}: has no frame at or after {seconds:g} s; start earlier")

    def close(self) -> None:
        self._closed.set()

    def __iter__(self) -> Iterator[Frame]:
        if self._iterated:
            raise ValueError(f"{self.name} was already read; open it again to read it again")
        self._iterated = True
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        index, began = self._first, time.perf_counter()
        while self.num_frames is None or index < self.num_frames:
            due = began + float((index - self._first) * self.time_base)
            if self._closed.wait(max(0.0, due - time.perf_counter()) if self.live else 0):
                return
            image = self._puppet.draw(float(index * self.time_base))
            burn_number(image, index)
            yield Frame(index, index, self.time_base, image, 0, self.height, self.width, decoded_at=time.perf_counter())
            del image
            index += 1


def open_pattern(word: str) -> PatternSource:
    """`test://?size=640x360&fps=30&seconds=10&seed=0&live=1`, each optional. Raises VideoError."""
    parts = urlsplit(word)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.netloc or parts.path.strip("/") or not given.keys() <= DEFAULTS.keys():
        raise VideoError(f"{word}: write test:// or test://?{'&'.join(f'{k}={v}' for k, v in DEFAULTS.items())}")
    options = DEFAULTS | given
    try:
        width, height = (int(number) for number in options["size"].lower().split("x"))
        rate, seconds = Fraction(options["fps"]), Fraction(options["seconds"])
        live = {"0": False, "1": True}[options["live"]]
        endless = live and "seconds" not in given
        num_frames = None if endless else max(1, round(seconds * rate))
        return PatternSource(height, width, rate, num_frames, int(options["seed"]), live)
    except (ValueError, KeyError, ZeroDivisionError) as error:
        wanted = "size=640x360, fps=30 (or 30000/1001), seconds=10, seed=0, live=0 or 1"
        raise VideoError(f"{word}: valid options are {wanted}") from error
