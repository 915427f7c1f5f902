"""Finds frames that are missing from H.264 video by the numbers in slice headers (frame_num, ITU-T H.264, 7.4.3).

FFmpeg decodes on from other images if frames that later ones refer to are missing, as in a file from which whole
packets were removed, and says so only in debug messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from av.packet import Packet
from av.video.stream import VideoStream

from streamparts.sources.bits import Bits

_START = re.compile(rb"\x00\x00\x01", re.DOTALL)
_ESCAPED = re.compile(rb"\x00\x00\x03", re.DOTALL)
_SLICE, _IDR_SLICE, _SPS, _PPS = 1, 5, 7, 8
"""Types of NAL units. Only the IDR slice is certain to begin a keyframe."""
_PROFILES_WITH_CHROMA = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
"""Values of profile_idc whose parameter sets state the chroma format."""
_MOST_PARAMETER_BYTES, _MOST_SLICE_BYTES = 1024, 24
"""Bytes examined of a unit; the number is among a slice's first."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """Fields of a sequence parameter set."""

    num_bits: int
    """Bits of a frame's number."""
    has_planes: bool
    """True if a slice states which colour plane it holds."""
    may_skip: bool
    """True if numbers may be left out on purpose (gaps_in_frame_num_value_allowed_flag)."""


class FrameNumbers:
    """Follows one H.264 stream's packets, in decoding order."""

    def __init__(self) -> None:
        self.is_idr = False
        """True if the last packet was a keyframe with number 0, before which no frame can be missing."""
        self._is_new = True
        self._length_bytes = 0
        """Bytes of the length before each unit; 0 for start codes (Annex B)."""
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, int] = {}
        """Picture parameter set -> its sequence parameter set."""
        self._previous: int | None = None
        """Number of the last reference frame."""

    def jump(self) -> None:
        """Forget the last reference frame, because the next packet does not continue the last one."""
        self._previous = None

    def missing(self, packet: Packet[VideoStream]) -> int:
        """Number of reference frames that are missing before the packet, at least."""
        self.is_idr = False
        if self._is_new:
            self._is_new = False
            self._begin(packet.stream.codec_context.extradata or b"")
        try:
            return self._missing(memoryview(packet))
        except (ValueError, IndexError):  # damaged, or of another framing
            return 0

    def _begin(self, extradata: bytes) -> None:
        """Read the parameter sets of an MP4 or Matroska header (ISO/IEC 14496-15, 5.3.3.1), or of Annex B."""
        try:
            if extradata[:1] != b"\1":
                for unit in _units(memoryview(extradata), 0):
                    self._note_parameters(unit)
                return
            self._length_bytes = (extradata[4] & 3) + 1
            place = 5
            for mask in (0x1F, 0xFF):  # sequence, then picture parameter sets
                number, place = extradata[place] & mask, place + 1
                for _ in range(number):
                    end = place + 2 + int.from_bytes(extradata[place : place + 2])
                    self._note_parameters(memoryview(extradata)[place + 2 : end])
                    place = end
        except (ValueError, IndexError):
            return

    def _note_parameters(self, unit: memoryview) -> None:
        kind = unit[0] & 0x1F
        if kind == _SPS:
            number, sequence = _sequence(_bits(unit, _MOST_PARAMETER_BYTES))
            self._sequences[number] = sequence
        elif kind == _PPS:
            bits = _bits(unit, _MOST_SLICE_BYTES)
            self._pictures[bits.unsigned()] = bits.unsigned()

    def _missing(self, data: memoryview) -> int:
        for unit in _units(data, self._length_bytes):
            kind = unit[0] & 0x1F
            if kind in (_SPS, _PPS):
                self._note_parameters(unit)
            elif kind in (_SLICE, _IDR_SLICE):
                return self._before_slice(unit, kind == _IDR_SLICE)
        return 0

    def _before_slice(self, unit: memoryview, is_idr: bool) -> int:
        self.is_idr = is_idr
        bits = _bits(unit, _MOST_SLICE_BYTES)
        bits.unsigned()  # its first macroblock
        bits.unsigned()  # its type
        sequence = self._sequences.get(self._pictures.get(bits.unsigned(), -1))
        if sequence is None:
            self._previous = None
            return 0
        if sequence.has_planes:
            bits.take(2)
        number, period = bits.take(sequence.num_bits), 1 << sequence.num_bits
        is_reference, previous = unit[0] & 0x60, self._previous
        # A frame has the number of the last reference frame (its second field; other frames after one that nothing
        # refers to) or the next one.
        ahead = 0 if is_idr or previous is None else (number - previous) % period
        num_missing = 0 if sequence.may_skip else max(0, ahead - 1)
        if is_reference or previous is None:
            self._previous = number
        elif num_missing:
            self._previous = (number - 1) % period
        # A smaller number than before may also come after a lost keyframe, which has number 0.
        restarts = num_missing > 0 and previous is not None and number < previous
        return min(num_missing, max(1, number)) if restarts else num_missing


def _units(data: memoryview, length_bytes: int) -> Iterator[memoryview]:
    """The NAL units, without start codes or lengths."""
    if length_bytes:
        place = 0
        while place + length_bytes < len(data):
            first = place + length_bytes
            place = first + int.from_bytes(data[place:first])
            if place > first:
                yield data[first:place]
        return
    begin: int | None = None
    for start in _START.finditer(data):
        if begin is not None and start.start() > begin:
            yield data[begin : start.start()]
        begin = start.end()
    if begin is not None and begin < len(data):
        yield data[begin:]


def _bits(unit: memoryview, most_bytes: int) -> Bits:
    """The bits of a NAL unit, after its first byte."""
    return Bits(_ESCAPED.sub(b"\0\0", bytes(unit[1 : 1 + most_bytes])))


def _sequence(bits: Bits) -> tuple[int, _Sequence]:
    """Read a sequence parameter set (7.3.2.1.1) up to what is needed: its number and content."""
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    number, has_planes = bits.unsigned(), False
    if profile in _PROFILES_WITH_CHROMA:
        chroma = bits.unsigned()
        has_planes = chroma == 3 and bits.take(1) == 1
        bits.unsigned(), bits.unsigned()  # bit depths
        bits.take(1)
        if bits.take(1):
            for which in range(8 if chroma != 3 else 12):
                if bits.take(1):
                    _skip_scaling(bits, 16 if which < 6 else 64)
    num_bits = bits.unsigned() + 4
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.take(1)
        bits.unsigned(), bits.unsigned()
        for _ in range(bits.unsigned()):
            bits.unsigned()
    bits.unsigned()  # references
    return number, _Sequence(num_bits, has_planes, bits.take(1) == 1)


def _skip_scaling(bits: Bits, size: int) -> None:
    """A scaling list (7.3.2.1.1.1): differences, until one of them gives 0."""
    last = 8
    for _ in range(size):
        last = (last + bits.signed()) % 256
        if last == 0:
            return
