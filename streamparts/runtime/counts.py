"""The counts of a run: frames and results that were lost, left out or repaired. Statistics and summary contain them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Counts(msgspec.Struct, kw_only=True):
    """Totals since the start of the run. Each is written by one thread and may be read by any."""

    dropped: int = 0
    """Frames replaced by a newer one before they were tracked."""
    skipped: int = 0
    """Frames left out because they came faster than the run may track."""
    segments: int = 0
    """Unbroken stretches of the stream: one, unless it was lost or changed its size."""
    gaps: int = 0
    """Number of times the source was lost and came back."""
    gap_seconds: float = 0.0
    """Total wall time of the gaps."""
    decode_errors: int = 0
    """Packets that could not be decoded."""
    packets_lost: int = 0
    """Packets known to be lost in transit, or missing from a file."""
    damaged: int = 0
    """Damaged frames, marked or left out."""
    repaired_times: int = 0
    """Frames whose time was missing or not increasing, and was repaired."""
    callback_lost: int = 0
    """Results that a slow callback missed."""
    messages_lost: int = 0
    """Results that were not sent or that a slow receiver missed, as far as known; over all addresses."""

    def lines(self) -> Iterator[str]:
        """Yield a line for people about each count that is not zero. Lost messages and results have lines elsewhere: in
        the notes of the outputs, and in the warnings."""
        for name, words in _LINES.items():
            if number := getattr(self, name):
                yield words.format(number)
            if name == "skipped" and self.segments > 1:
                yield f"the stream has {self.segments} segments and {self.gaps} gaps"


_LINES = {
    "dropped": "{} frames were dropped: newer ones arrived before they could be tracked",
    "skipped": "{} frames were skipped because of --max-fps",
    "decode_errors": "{} corrupt packets of the video were skipped",
    "packets_lost": "{} packets of the video were lost",
    "damaged": "{} frames are damaged: some of their data was lost",
    "repaired_times": "{} frames had no usable timestamp; their times were estimated",
}
"""Words for each count."""
