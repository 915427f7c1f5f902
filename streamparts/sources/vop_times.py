"""Finds frames that are missing from MPEG-4 Part 2 video from their headers (ISO/IEC 14496-2, 6.3.5).

The decoder reports no missing frames, and decodes on from others. These signs distinguish them from frames that the
encoder left out:

- Encoders change the rounding of motion vectors with every P-frame (vop_rounding_type): one that has the same rounding
  as the last lacks an odd number of frames.
- A B-frame is shown before the last reference frame. If it is later, the reference frame after it is missing.
- The header may state that the frame rate is constant.

An even number of missing P-frames leaves a pause. It is taken for a loss if the rate was constant up to it.
"""

from __future__ import annotations

import re

from av.packet import Packet
from av.video.stream import VideoStream

from streamparts.sources.bits import Bits
from streamparts.sources.pauses import ConstantRate

_START = re.compile(rb"\x00\x00\x01([\x20-\x2f\xb2\xb3\xb6])", re.DOTALL)
"""Start codes of a video object layer, of an encoder's text, of a group of frames, and of a frame (VOP)."""
_TEXT, _GROUP, _FRAME = 0xB2, 0xB3, 0xB6
_ALTERNATING = b"Lavc"
"""Beginning of the text of FFmpeg's encoder, which changes the rounding."""
_INTRA, _PREDICTED, _BIDIRECTIONAL = 0, 1, 2
"""Coding types of a frame."""
_RECTANGULAR = 0
_MOST_LAYER_BYTES, _MOST_FRAME_BYTES = 64, 24
"""Bytes examined after a start code."""
_LEAST_TURNS, _MOST_BREAKS = 3, 0.05
"""Changes of the rounding that must come before its lack is a sign, and the share of frames without one."""
_MOST_IN_PAUSE = 4


class VopTimes:
    """Follows one stream's packets, in decoding order."""

    def __init__(self) -> None:
        self._is_new, self._is_unknown = True, False
        self._resolution = 0
        """Ticks per second; 0 if unknown."""
        self._rate = ConstantRate()
        self._states_rate = self._leaves_out = False
        """Whether the header states a constant rate; whether the encoder has left out frames."""
        self._base = self._base_before = 0
        """Whole seconds of the last two reference frames."""
        self._reference: int | None = None
        """Time of the last reference frame, in ticks."""
        self._rounding: bool | None = None
        """Of the last P-frame; None after a keyframe."""
        self._first_rounding: bool | None = None
        """Of the first P-frame after a keyframe."""
        self._num_turns = self._num_breaks = 0
        self._is_counted = False
        """True if a frame missing after the last reference frame was already counted."""

    def jump(self) -> None:
        """Forget the last frame, because the next packet does not continue it."""
        self._reference = self._rounding = None
        self._is_counted = False

    def missing(self, packet: Packet[VideoStream]) -> int:
        """Number of reference frames that are missing before the packet, at least."""
        if self._is_new:
            self._is_new = False
            self._read(packet.stream.codec_context.extradata or b"", packet.stream)
        return 0 if self._is_unknown else self._read(bytes(packet), packet.stream)

    def _read(self, data: bytes, stream: VideoStream) -> int:
        num_frames = num_missing = 0
        try:
            for start in _START.finditer(data):
                kind = start[1][0]
                content = data[start.end() : start.end() + _MOST_LAYER_BYTES]
                if kind == _FRAME:
                    num_frames += 1
                    num_missing += self._before_frame(Bits(content[:_MOST_FRAME_BYTES]), stream)
                elif kind == _TEXT:
                    if content.startswith(_ALTERNATING):
                        self._num_turns = max(self._num_turns, _LEAST_TURNS)
                elif kind == _GROUP:
                    self.jump()  # it begins with a new time, and an intra frame
                else:
                    self._note_layer(Bits(content))
        except (ValueError, IndexError):  # damaged
            self.jump()
        self._is_unknown |= num_frames > 1  # frames that other packets should hold ("packed bitstream")
        return 0 if self._is_unknown else num_missing

    def _note_layer(self, bits: Bits) -> None:
        """Read a video object layer (6.2.3) up to its times."""
        bits.take(1 + 8)
        if bits.flag():
            bits.take(4 + 3)
        if bits.take(4) == 15:  # an aspect ratio of its own
            bits.take(16)
        if bits.flag():
            bits.take(2 + 1)
            if bits.flag():
                bits.take(79)  # a buffer's parameters
        if bits.take(2) != _RECTANGULAR:
            self._is_unknown = True
            return
        bits.flag()
        self._resolution = bits.take(16)
        bits.flag()
        self._states_rate = bits.flag()

    def _before_frame(self, bits: Bits, stream: VideoStream) -> int:
        """Read a frame's header (6.2.5): the whole seconds since those of the last reference frame, for B-frames since
        those of the one before it, ticks, and the rounding."""
        kind, seconds = bits.take(2), bits.ones()
        bits.flag()
        ticks = bits.take(max(1, (self._resolution - 1).bit_length()))
        bits.flag()
        is_coded = bits.flag()
        if not self._resolution or kind not in (_INTRA, _PREDICTED, _BIDIRECTIONAL):
            self._is_unknown = True
            return 0
        if kind == _BIDIRECTIONAL:
            return self._before_bidirectional((self._base_before + seconds) * self._resolution + ticks)
        self._base_before, self._base = self._base, self._base + seconds
        time = self._base * self._resolution + ticks
        if self._reference is not None and time <= self._reference:  # a missing frame began the second
            self._base += 1
            time += self._resolution
        before, self._reference = self._reference, time
        breaks = self._breaks_turns(bits.flag() if kind == _PREDICTED and is_coded else None)
        is_counted, self._is_counted = self._is_counted, False
        if kind == _INTRA or before is None:
            return 0
        return max(0, self._before_predicted(time - before, breaks, stream) - is_counted)

    def _before_bidirectional(self, time: int) -> int:
        if self._reference is None or self._is_counted or time < self._reference:
            return 0
        self._is_counted = True
        return 1

    def _before_predicted(self, ticks: int, breaks: bool, stream: VideoStream) -> int:
        """`ticks` since the last reference frame, and whether the turns of the rounding are broken."""
        number = self._rate.missing(ticks, stream, self._resolution)
        if breaks or (number and self._states_rate):
            return max(1, number)
        if number % 2:
            self._leaves_out = True
        may_be_loss = self._alternates() and not self._leaves_out and number <= _MOST_IN_PAUSE
        return number if may_be_loss else 0

    def _alternates(self) -> bool:
        return self._num_turns >= _LEAST_TURNS and self._num_breaks <= _MOST_BREAKS * self._num_turns

    def _breaks_turns(self, rounding: bool | None) -> bool:
        """True if an odd number of P-frames is missing before one with this rounding. It is None for others."""
        before, self._rounding = self._rounding, rounding
        if rounding is None:
            return False
        if before is None:
            first, self._first_rounding = self._first_rounding, rounding
            if first is None:
                return False
            before = not first
        alternates = self._alternates()
        self._num_turns += rounding != before
        self._num_breaks += rounding == before
        return alternates and rounding == before
