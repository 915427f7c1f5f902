"""Detects damaged frames: FFmpeg conceals missing data without setting a flag; only its log reports it."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from av import VideoFrame
from av.logging import WARNING
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from streamparts.errors import VideoError
from streamparts.sources import log_messages as log
from streamparts.sources.ffmpeg_log import Message, messages, size_refused
from streamparts.sources.held import HeldImages
from streamparts.sources.missing import MissingFrames
from streamparts.sources.nal_units import first_unit, starts_whole
from streamparts.sources.residues import Residues

_ONE_TOO_LARGE = "an image of {} exceeds the limit of pixels; --max-pixels (max_pixels=) raises it"
_TOGETHER_TOO_LARGE = "decoding it takes {}; --max-pixels (max_pixels=) raises the limit"

_MOST_PENDING = 128
"""Packets whose frames may still be in the decoder; codecs hold back at most sixteen."""
_DOUBT = 4.0
"""FFmpeg reads ahead while it opens a stream. Unless it logs these packets (READ_AHEAD), their times are assumed to be
within this multiple of the opening time."""
_DOUBT_SECONDS = 1.0
"""Seconds added to that time."""


@dataclass(slots=True)
class Stamp:
    """State of a packet, and thus of its frame."""

    number: int
    """Position in decoding order."""
    heard_at: float
    """`time.perf_counter()` on arrival."""
    damaged: bool
    """True if data of it, or of a frame it depends on, is missing."""
    heals: bool = False
    """True if it is the keyframe that ends the damage before it."""
    is_key: bool = False
    leads: bool = False
    """True if it is shown before that keyframe but comes after it: no later frame refers to it."""


class DamageWatch:
    """Follows one stream through reading and decoding, in one thread at a time.

    After a loss, all frames count as damaged up to an intact keyframe. FFmpeg reports lost RTP packets while it
    assembles the packet before them: what is missing then is between that packet's first byte and the first byte of the
    next that arrived. So the next one is intact if it has its beginning. A flag of a container may be one packet early:
    neither of the two ends the damage.
    """

    def __init__(self, max_pixels: int, idle_seconds: float = math.inf) -> None:
        """`max_pixels` is the limit of one image, `idle_seconds` the container's timeout for data."""
        self._idle_seconds = idle_seconds
        self.packets_lost = 0
        """Packets lost by the network or missing in the container, as far as known."""
        self.heard_at = time.perf_counter()
        """Time at which the last packet arrived."""
        self.has_ended = False
        """True if the input has ended, and the last packet read is the remainder."""
        self.fell_silent = False
        """True if it ended because no data came for `idle_seconds`."""
        self.too_large: str | None = None
        """Line about images that were not decoded because they have too many pixels."""
        self.too_large_pixels = 0
        """Pixels of that image; 0 if many together are too large."""
        self._held = HeldImages(max_pixels)
        self._missing, self._residues = MissingFrames(), Residues()
        self._counts_packets = False
        """True if the losses of this stream are known from FFmpeg; then missing frames are not counted, too."""
        self._number, self._num_pieces = 0, 1
        self._event = False
        """True if data was lost since the previous packet."""
        self._was_hurt = self._was_corrupt = False
        """True if the log, or the container's flag, reported a loss with the previous packet."""
        self._key_start: int | None = None
        """Type of the NAL unit that intact keyframes begin with."""
        self._damaged = False
        self._clean_from: int | None = None
        """Time of the keyframe that ended the damage: frames shown before it may depend on earlier ones."""
        self._doubtful_seconds = 0.0
        self._first_seconds: float | None = None
        self._hurt_ahead: set[tuple[int, int]] = set()
        """Stream number, and which of its packets that were read ahead, counted from 1, came after a loss."""
        self._timed: dict[int, Stamp] = {}
        self._untimed: list[Stamp] = []
        self._healing = False
        self._key_ahead: int | None = None
        """Time of a keyframe that ended damage and has not come out yet."""

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Context for opening the stream."""
        began = time.perf_counter()
        try:
            with messages(wordy=True) as said:
                yield
        except OSError as error:
            texts = [text for level, _, text in said if level <= WARNING]
            if any(map(log.NOT_VERIFIED.search, texts)) or "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise VideoError(log.UNVERIFIED) from error
            raise
        knows = self._note_read_ahead(said)
        self.has_ended = False  # packets read ahead are still to come
        if self._event and not knows:
            self._damaged = True
            self._doubtful_seconds = _DOUBT * (time.perf_counter() - began) + _DOUBT_SECONDS

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Context for reading one packet."""
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
        """Context for decoding one packet; exceptions in the block also count as damage. Raises ValueError instead, and
        sets `too_large`, if the decoder would keep too many large images."""
        stamp = self._arrived(packet)
        if excess := self._held.excess(packet):
            self.too_large = _TOGETHER_TOO_LARGE.format(excess)
            raise ValueError(self.too_large)
        try:
            with messages(of_workers=True) as said:
                yield
        except BaseException:
            self._hit(stamp)
            width, height = size_refused(said) or (0, 0)
            self.too_large_pixels = width * height
            self.too_large = _ONE_TOO_LARGE.format(f"{width}x{height}") if width else None
            raise
        finally:
            self._residues.note(said)
        if any(log.DAMAGED.search(text) for _, _, text in said):
            self._hit(stamp)

    def images(self, packet: Packet[VideoStream], decode: Callable[[], list[VideoFrame]]) -> list[VideoFrame]:
        """`decode` the packet, within `decoding`."""
        return self._residues.images(packet, self._missing.is_idr, decode)

    def take_event(self) -> bool:
        """True if data was lost since the previous packet, which is forgotten: for a packet that is decoded later."""
        event, self._event = self._event, False
        return event

    def add_event(self, event: bool, num_pieces: int = 1) -> None:
        """Remember what `take_event` returned for the packet that is decoded next, which was read in so many pieces."""
        self._event |= event
        self._num_pieces = num_pieces

    def jump(self) -> None:
        """The packets that follow are from another place of the file."""
        self._missing.jump()

    @property
    def held_pixels(self) -> int:
        """Pixels of all images that the decoder would keep, if they are large; 0 if not."""
        return self._held.pixels

    def stamp_of(self, image: VideoFrame) -> Stamp:
        """Stamp of the packet of a decoded frame. Call it once per frame, in order."""
        stamp = self._found(image)
        if image.is_corrupt and stamp.is_key and image.pict_type == PictureType.I:
            self._spoil_after(stamp)
        if stamp.is_key:  # an intra refresh repairs the frame gradually until the next one starts
            self._healing, self._key_ahead = stamp.heals and image.pict_type in (PictureType.P, PictureType.B), None
        elif self._key_ahead is not None and image.pts is not None and image.pts > self._key_ahead:
            self._healing, self._key_ahead = True, None  # the decoder kept it back, as FFmpeg does with such a frame
        return Stamp(stamp.number, stamp.heard_at, stamp.damaged or self._healing or image.is_corrupt)

    def _note_read_ahead(self, said: Iterable[Message]) -> bool:
        """Count the losses while the stream was opened, and find the packets they came before. Returns False if the log
        does not state these."""
        num_losses = 0
        num_read, num_noted = Counter[int](), Counter[int]()
        for message in said:
            if read := log.WAS_READ_AHEAD.search(message[2]):
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
            if lost := log.LOST.search(text):
                self.packets_lost += int(lost[1] or lost[2] or 1)
                self._counts_packets = True
            self._event |= log.DISTURBED.search(text) is not None
            self.has_ended |= log.CONNECTION_ENDED.search(text) is not None

    def _arrived(self, packet: Packet[VideoStream]) -> Stamp:
        numbers = range(self._number + 1, self._number + 1 + self._num_pieces)
        self._number, self._num_pieces = numbers[-1], 1
        self.heard_at = self.heard_at if self.has_ended else time.perf_counter()
        is_hurt = self._event or any((packet.stream.index, number) in self._hurt_ahead for number in numbers)
        self.packets_lost += packet.is_corrupt
        self._counts_packets |= packet.is_corrupt
        num_missing = self._missing.missing(packet)
        self.packets_lost += 0 if self._counts_packets else num_missing
        is_disturbed = self._is_disturbed(packet, is_hurt)
        self._was_hurt, self._was_corrupt, self._event = is_hurt, packet.is_corrupt, False
        if (is_hurt or packet.is_corrupt or num_missing) and not self._damaged:
            self._damaged, self._clean_from = True, None
        heals = self._damaged and packet.is_keyframe and not is_disturbed and not self._is_doubtful(packet)
        if heals:
            self._damaged, self._clean_from = False, packet.pts
        elif packet.is_keyframe:
            self._clean_from = None
        leads = self._clean_from is not None and packet.pts is not None and packet.pts < self._clean_from
        stamp = Stamp(self._number, self.heard_at, self._damaged or leads, heals, packet.is_keyframe, leads)
        if heals and packet.pts is not None:
            self._key_ahead = packet.pts
        self._keep(packet.pts, stamp)
        return stamp

    def _is_disturbed(self, packet: Packet[VideoStream], is_hurt: bool) -> bool:
        """True if some of it may be missing."""
        disturbed = is_hurt or packet.is_corrupt or self._was_corrupt
        if not packet.is_keyframe:
            return disturbed or self._was_hurt
        if disturbed:
            return True
        codec = packet.stream.codec_context.name
        if self._was_hurt:
            return not starts_whole(codec, packet, self._key_start)
        unit = first_unit(codec, packet)
        self._key_start = unit[0] if unit else None
        return False

    def _is_doubtful(self, packet: Packet[VideoStream]) -> bool:
        """True if it may have been read while the stream was opened, and data was lost then."""
        if not self._doubtful_seconds or packet.pts is None or packet.time_base is None:
            return False
        seconds = float(packet.pts * packet.time_base)
        if self._first_seconds is None:
            self._first_seconds = seconds
        return seconds - self._first_seconds < self._doubtful_seconds

    def _hit(self, stamp: Stamp) -> None:
        """The decoder reported a problem with it."""
        stamp.damaged = True
        if stamp.leads:
            return
        self._damaged = True
        stamp.heals, self._clean_from = False, None

    def _spoil_after(self, stamp: Stamp) -> None:
        """The decoder flags this keyframe, perhaps without a message: what has arrived since depends on it, too."""
        pending = [other for other in (*self._timed.values(), *self._untimed) if other.number > stamp.number]
        for other in sorted(pending, key=lambda each: each.number):
            if other.is_key:
                return
            other.damaged = True
        self._hit(stamp)

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
        """Find the packet by its time; else by its turn, and then as damaged as any packet it may have been reordered
        with."""
        if image.pts is not None and image.pts in self._timed:
            return self._timed.pop(image.pts)
        if image.pts is None and self._untimed:
            stamp = self._untimed.pop(0)
            stamp.damaged |= any(other.damaged for other in self._untimed)
            return stamp
        return Stamp(self._number, self.heard_at, self._damaged)
