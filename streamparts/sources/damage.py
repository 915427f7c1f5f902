"""Which pictures of a stream are damaged: FFmpeg fills in what is missing, sets no flag, and only its log says so."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from av import VideoFrame
from av.logging import WARNING
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from streamparts.errors import VideoError
from streamparts.sources.ffmpeg_log import Message, messages

_LOST = re.compile(r"missed (\d+) packets|skipping (\d+) segments|failed to open segment", re.IGNORECASE)
_DISTURBED = re.compile(
    r"missed \d+ packets|max delay reached|jitter buffer full|failed reading rtsp data", re.IGNORECASE
)
"""The last: nobody knows whether a picture is whole in which the connection ended."""
_ENDED = re.compile(r"failed reading rtsp data", re.IGNORECASE)
"""FFmpeg gives what it has of the last picture then, and would wait for more once again."""
_DAMAGED = re.compile(
    r"error while decoding|concealing|damaged at|error at mb|unavailable for requested|co located pocs unavailable"
    r"|could not find ref|missing reference|reference picture missing|references are available|frame num gap"
    r"|corrupt decoded|decode_slice_header error|invalid nal unit|overread",
    re.IGNORECASE,
)
"""Of decoders. What they say of odd streams that are whole ("mmco: unref short failure") is not in it."""

TOO_LARGE = "a picture of {} has more pixels than are read; --max-pixels (max_pixels=) allows more"
UNVERIFIED = "its certificate cannot be verified"
_UNVERIFIED = re.compile(
    r"certificate.*verif|verif.*certificate|certificate's owner does not match|trust|unknown ca", re.IGNORECASE
)

_TOO_LARGE = re.compile(r"picture size (\d+x\d+) exceeds", re.IGNORECASE)

READ_AHEAD = {"fdebug": "ts"}
"""FFmpeg's option for the message below."""
_READ_AHEAD = re.compile(r"read_frame_internal stream=(\d+)")
"""Says that a packet was read, by this thread, for the stream of that number."""

_MOST_PENDING = 128
"""Packets whose pictures may still be in the decoder; sixteen is the most that a codec holds back."""
_DOUBT = 4.0
"""While it opens a stream FFmpeg reads ahead. Where it does not say what (READ_AHEAD), what it took in then has times
within so often the time that took ..."""
_DOUBT_SECONDS = 1.0
"""... and so much."""


@dataclass(slots=True)
class Stamp:
    """What is known of a packet, and so of its picture."""

    number: int
    """In the order in which they are decoded."""
    heard_at: float
    """`time.perf_counter()` when it came in."""
    damaged: bool
    """Whether something of it, or of what it builds on, is missing."""
    heals: bool = False
    """Whether it is the key frame that ends the damage before it."""
    is_key: bool = False


class DamageWatch:
    """Follows one stream through reading and decoding, in one thread at a time.

    After a loss everything counts as damaged until a key frame that nothing was missing around. A loss shows while a
    packet is put together that was complete, or with the one after it: so neither of the two ends the damage.
    """

    def __init__(self, idle_seconds: float = math.inf) -> None:
        """`idle_seconds` is how long the container waits for data before it gives up."""
        self._idle_seconds = idle_seconds
        self.packets_lost = 0
        """Of the network or of the container, as far as is known."""
        self.heard_at = time.perf_counter()
        """When the last packet came in."""
        self.has_ended = False
        """Whether nothing comes any more, and the packet read last is what was left."""
        self.fell_silent = False
        """Whether that is so because nothing was said for `idle_seconds`."""
        self.too_large: str | None = None
        """Size of a picture that was not decoded because it has too many pixels."""
        self._number = 0
        self._event = False
        """Whether something was lost since the packet before."""
        self._is_disturbed = False
        self._damaged = False
        self._clean_from: int | None = None
        """Time of the key frame that ended the damage: what is shown before it may build on what came before it."""
        self._doubtful_seconds = 0.0
        self._first_seconds: float | None = None
        self._hurt_ahead: set[tuple[int, int]] = set()
        """Stream, and which of its packets, from 1: of those read ahead, these came after a loss."""
        self._timed: dict[int, Stamp] = {}
        self._untimed: list[Stamp] = []
        self._healing = False

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Around opening the stream."""
        began = time.perf_counter()
        try:
            with messages(wordy=True) as said:
                yield
        except OSError as error:
            if any(
                _UNVERIFIED.search(text) for level, _, text in said if level <= WARNING
            ) or "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise VideoError(UNVERIFIED) from error
            raise
        knows = self._note_read_ahead(said)
        self.has_ended = False  # what was read ahead is still to come
        if self._event and not knows:
            self._damaged = True
            self._doubtful_seconds = _DOUBT * (time.perf_counter() - began) + _DOUBT_SECONDS

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around reading one packet."""
        began = time.perf_counter()
        with messages() as said:
            yield
        self._note_losses(said)
        waited = time.perf_counter() - began
        if waited >= self._idle_seconds:
            self.has_ended = self._event = True
        self.fell_silent = self.has_ended and waited > 0.9 * self._idle_seconds

    @contextmanager
    def decoding(self, packet: Packet[VideoStream]) -> Iterator[None]:
        """Around decoding one packet that was read; what the block raises is damage too."""
        stamp = self._arrived(packet)
        try:
            with messages(of_workers=True) as said:
                yield
        except BaseException:
            self._hit(stamp)
            self.too_large = next((found[1] for _, _, text in said if (found := _TOO_LARGE.search(text))), None)
            raise
        if any(_DAMAGED.search(text) for _, _, text in said):
            self._hit(stamp)

    def stamp_of(self, image: VideoFrame) -> Stamp:
        """Of the packet that a decoded picture comes from. To be asked once for every picture, in their order."""
        stamp = self._found(image)
        if stamp.is_key:  # an intra refresh mends the picture bit by bit until the next one begins
            self._healing = stamp.heals and image.pict_type in (PictureType.P, PictureType.B)
        return Stamp(stamp.number, stamp.heard_at, stamp.damaged or self._healing or image.is_corrupt)

    def _note_read_ahead(self, said: Iterable[Message]) -> bool:
        """Losses while the stream was opened, and which packets they came before. False where that is not said."""
        num_losses = 0
        num_read, num_noted = Counter[int](), Counter[int]()
        for message in said:
            if read := _READ_AHEAD.search(message[2]):
                stream = int(read[1])
                num_read[stream] += 1
                if num_noted[stream] < num_losses:
                    self._hurt_ahead.add((stream, num_read[stream]))
                    num_noted[stream] = num_losses
            elif message[0] <= WARNING:
                self._note_losses([message])
            num_losses, self._event = num_losses + self._event, False
        self._event = any(num_noted[stream] < num_losses for stream in num_read) if num_read else num_losses > 0
        return bool(num_read)

    def _note_losses(self, said: Iterable[Message]) -> None:
        for _, _, text in said:
            if lost := _LOST.search(text):
                self.packets_lost += int(lost[1] or lost[2] or 1)
            self._event |= _DISTURBED.search(text) is not None
            self.has_ended |= _ENDED.search(text) is not None

    def _arrived(self, packet: Packet[VideoStream]) -> Stamp:
        self._number += 1
        self.heard_at = self.heard_at if self.has_ended else time.perf_counter()
        event = self._event or packet.is_corrupt or (packet.stream.index, self._number) in self._hurt_ahead
        self.packets_lost += packet.is_corrupt
        is_disturbed, self._is_disturbed, self._event = event or self._is_disturbed, event, False
        if event and not self._damaged:
            self._damaged, self._clean_from = True, None
        heals = self._damaged and packet.is_keyframe and not is_disturbed and not self._is_doubtful(packet)
        if heals:
            self._damaged, self._clean_from = False, packet.pts
        elif packet.is_keyframe:
            self._clean_from = None
        leads = self._clean_from is not None and packet.pts is not None and packet.pts < self._clean_from
        stamp = Stamp(self._number, self.heard_at, self._damaged or leads, heals, packet.is_keyframe)
        self._keep(packet.pts, stamp)
        return stamp

    def _is_doubtful(self, packet: Packet[VideoStream]) -> bool:
        """Whether it may have been read while the stream was opened, when something was lost."""
        if not self._doubtful_seconds or packet.pts is None or packet.time_base is None:
            return False
        seconds = float(packet.pts * packet.time_base)
        if self._first_seconds is None:
            self._first_seconds = seconds
        return seconds - self._first_seconds < self._doubtful_seconds

    def _hit(self, stamp: Stamp) -> None:
        """The decoder had trouble with it."""
        stamp.damaged = self._damaged = True
        stamp.heals, self._clean_from = False, None

    def _keep(self, pts: int | None, stamp: Stamp) -> None:
        if pts is None:
            self._untimed.append(stamp)
        else:
            self._timed[pts] = stamp
        if len(self._untimed) > _MOST_PENDING:
            del self._untimed[0]
        if len(self._timed) > 2 * _MOST_PENDING:
            oldest = self._number - _MOST_PENDING
            self._timed = {pts: stamp for pts, stamp in self._timed.items() if stamp.number > oldest}

    def _found(self, image: VideoFrame) -> Stamp:
        """By its time; else by its turn, and then as damaged as anything that may have changed places with it."""
        if image.pts is not None and image.pts in self._timed:
            return self._timed.pop(image.pts)
        if image.pts is None and self._untimed:
            stamp = self._untimed.pop(0)
            stamp.damaged |= any(other.damaged for other in self._untimed)
            return stamp
        return Stamp(self._number, self.heard_at, self._damaged)
