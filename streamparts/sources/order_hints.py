"""Finds frames that are missing from AV1 video by the numbers in frame headers (order_hint, AV1 bitstream, 6.8.2).

An encoder counts the frames that it shows. The decoder reports no missing ones, and decodes on from others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from av.packet import Packet
from av.video.stream import VideoStream

from streamparts.sources.bits import Bits
from streamparts.sources.pauses import PAUSE, Pauses

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6
"""Types of OBUs."""
_KEY, _INTRA_ONLY, _SWITCH = 0, 2, 3
"""Types of frames."""
_CHOSEN = 2
"""Value of a sequence's field that leaves the choice to each frame."""
_MOST_SEQUENCE_BYTES, _MOST_FRAME_BYTES = 1024, 64
"""Bytes examined of an OBU."""
_NUM_SLOTS = 8
_LEAST, _LEAST_ALONE = 2, 8
"""Frames that must have been counted one by one, if the times pause, too, and if they do not."""


@dataclass(frozen=True, slots=True)
class _SequenceHeader:
    """Fields of a sequence header (5.5.1)."""

    hint_bits: int
    """Bits of a frame's number; 0 if it has none."""
    id_bits: int
    presentation_bits: int
    """Bits of a shown frame's time; 0 if it has none."""
    removal_bits: tuple[int, ...]
    """Bits that follow the flag of the removal time, by operating point; empty if there is no flag."""
    screen_tools: int
    integer_vectors: int
    is_still: bool


class OrderHints:
    """Follows one AV1 stream's packets."""

    def __init__(self) -> None:
        self._is_new = True
        self._sequence: _SequenceHeader | None = None
        self._slots: list[tuple[int, bool] | None] = [None] * _NUM_SLOTS
        """Number of each stored frame, and whether it is a keyframe."""
        self._shown: int | None = None
        """Number of the last shown frame."""
        self._is_hurt = False
        """True if a frame is missing since the last keyframe: stored frames may be others than the headers mean."""
        self._num_regular = 0
        self._is_irregular = False
        """True if the numbers do not count the frames, or if there are layers, of which some may be left out."""
        self._pauses = Pauses()

    def jump(self) -> None:
        """Forget the last frame, because the next packet does not continue it."""
        self._slots, self._shown = [None] * _NUM_SLOTS, None
        self._pauses.jump()

    def missing(self, packet: Packet[VideoStream]) -> int:
        """Number of shown frames that are missing before the packet."""
        pause = self._pauses.length(packet.pts)
        if self._is_new:
            self._is_new = False
            self._read(memoryview(packet.stream.codec_context.extradata or b"")[4:], 1.0)  # behind the av1C fields
        return 0 if self._is_irregular else self._read(memoryview(packet), pause)

    def _read(self, data: memoryview, pause: float) -> int:
        num_missing = 0
        try:
            for kind, unit in self._units(data):
                if kind == _SEQUENCE_HEADER:
                    self._sequence = _sequence(Bits(bytes(unit[:_MOST_SEQUENCE_BYTES])))
                elif kind in (_FRAME_HEADER, _FRAME) and self._sequence is not None:
                    num_missing += self._before_frame(Bits(bytes(unit[:_MOST_FRAME_BYTES])), self._sequence, pause)
        except (ValueError, IndexError):  # damaged, or of another framing
            self._shown = None
        return num_missing

    def _units(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Type and content of the OBUs (5.3.2)."""
        place = 0
        while place < len(data):
            kind, has_layers, has_size = data[place] >> 3 & 15, data[place] & 4, data[place] & 2
            self._is_irregular |= bool(has_layers)
            place += 2 if has_layers else 1
            size, shift = len(data) - place, 0
            if has_size:
                size = 0
                while True:  # leb128: seven bits a byte, the lowest first
                    size |= (data[place] & 127) << shift
                    place, shift = place + 1, shift + 7
                    if data[place - 1] < 128:
                        break
            yield kind, data[place : place + size]
            place += size

    def _before_frame(self, bits: Bits, sequence: _SequenceHeader, pause: float) -> int:
        """Read a frame's header (5.9.2) up to the slots that it is stored in."""
        if sequence.is_still or not sequence.hint_bits:
            return 0
        if bits.flag():  # shows a stored frame
            stored = self._slots[bits.take(3)]
            if stored is None:
                self._shown = None
                return 0
            if stored[1]:
                self._slots = [stored] * _NUM_SLOTS
            return self._before_shown(*stored, sequence, pause)
        kind, is_shown = bits.take(2), bits.flag()
        bits.take(sequence.presentation_bits if is_shown else 1)  # or if it can be shown later
        is_robust = kind == _SWITCH or (kind == _KEY and is_shown) or bits.flag()
        bits.flag()  # its symbols' statistics are not kept
        has_screen_tools = bits.flag() if sequence.screen_tools == _CHOSEN else sequence.screen_tools
        if has_screen_tools and sequence.integer_vectors == _CHOSEN:
            bits.flag()
        bits.take(sequence.id_bits)
        if kind != _SWITCH:
            bits.flag()  # has a size of its own
        hint = bits.take(sequence.hint_bits)
        if kind not in (_KEY, _INTRA_ONLY) and not is_robust:
            bits.take(3)
        if sequence.removal_bits and bits.flag():
            for length in sequence.removal_bits:
                bits.take(length)
        stored_in = 255 if kind == _SWITCH or (kind == _KEY and is_shown) else bits.take(_NUM_SLOTS)
        frame = hint, kind == _KEY
        self._slots = [frame if stored_in >> slot & 1 else old for slot, old in enumerate(self._slots)]
        return self._before_shown(*frame, sequence, pause) if is_shown else 0

    def _before_shown(self, hint: int, is_key: bool, sequence: _SequenceHeader, pause: float) -> int:
        previous, self._shown = self._shown, hint
        if is_key or previous is None:
            self._is_hurt = False
            return 0
        period = 1 << sequence.hint_bits
        ahead, in_pause = (hint - previous) % period, round(pause) - 1 if pause > PAUSE else 0
        if ahead == 1:
            self._num_regular += 1
            return 0
        if ahead == 0 or ahead > period // 2:  # a stored frame that was shown before, because another is missing
            self._shown = (previous + 1 + in_pause) % period
            number = in_pause if self._num_regular >= _LEAST else 0
        elif self._num_regular < (_LEAST if in_pause else _LEAST_ALONE):
            self._is_irregular = True
            return 0
        else:
            stored = {slot[0] for slot in self._slots if slot}  # of these, only the order to show them is missing
            number = sum((previous + step) % period not in stored for step in range(1, ahead))
            number = min(number, in_pause or int(not self._is_hurt))
        self._is_hurt |= number > 0
        return number


def _sequence(bits: Bits) -> _SequenceHeader:
    bits.take(3)  # profile
    bits.flag()
    if bits.flag():  # a still image with a short header
        return _SequenceHeader(0, 0, 0, (), 0, 0, True)
    presentation, removal = _timing_and_points(bits)
    width, height = bits.take(4) + 1, bits.take(4) + 1
    bits.take(width + height)
    id_bits = bits.take(4) + bits.take(3) + 3 if bits.flag() else 0
    bits.take(3 + 4)  # coding tools
    has_hints = bits.flag()
    bits.take(2 if has_hints else 0)
    screen_tools = _CHOSEN if bits.flag() else bits.take(1)
    integer_vectors = _CHOSEN
    if screen_tools:
        integer_vectors = _CHOSEN if bits.flag() else bits.take(1)
    hint_bits = bits.take(3) + 1 if has_hints else 0
    return _SequenceHeader(hint_bits, id_bits, presentation, removal, screen_tools, integer_vectors, False)


def _timing_and_points(bits: Bits) -> tuple[int, tuple[int, ...]]:
    """Read the timing and the operating points: `presentation_bits` and `removal_bits`."""
    has_model, delay_bits, removal_bits, presentation_bits = False, 0, 0, 0
    if bits.flag():
        bits.take(64)
        is_even = bits.flag()
        if is_even:
            bits.unsigned()
        has_model = bits.flag()
        if has_model:
            delay_bits = bits.take(5) + 1
            bits.take(32)
            removal_bits, presentation_bits = bits.take(5) + 1, bits.take(5) + 1
            presentation_bits = 0 if is_even else presentation_bits
    has_delays, removal = bits.flag(), list[int]()
    for _ in range(bits.take(5) + 1):
        layers = bits.take(12)
        if bits.take(5) > 7:
            bits.flag()
        has_own_model = has_model and bits.flag()
        bits.take(2 * delay_bits + 1 if has_own_model else 0)
        if has_delays and bits.flag():
            bits.take(4)
        # Without layers in a frame's header, it is in layer 0 of both kinds.
        applies = has_own_model and (layers == 0 or layers & 0x101 == 0x101)
        removal.append(removal_bits if applies else 0)
    return presentation_bits, tuple(removal) if has_model else ()
