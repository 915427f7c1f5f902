"""Lab Streaming Layer: one irregular stream of doubles, on LSL's clock. docs/messages.md has the channels."""

from __future__ import annotations

import math
import socket
import time

from streamparts.data import Tracks
from streamparts.errors import MissingExtraError, VideoError
from streamparts.sinks.messages.address import Address
from streamparts.sinks.messages.poses import COLUMNS, poses
from streamparts.tracksfile.recording import Recording
from streamparts.tracksfile.records import HeaderRecord

try:
    import pylsl
except (ImportError, RuntimeError, OSError) as error:  # pylsl without liblsl
    raise MissingExtraError(f"lsl:// cannot be used: pylsl does not load ({' '.join(str(error).split())})") from error

FRAME_CHANNELS = {"frame": "count", "pts_seconds": "seconds", "segment": "count"}
"""Channels before those of the parts, with their units."""
BUFFER_HUNDREDS = 10
"""Samples, in hundreds, queued for a slow inlet; then LSL drops the oldest, for that inlet only."""
_TYPES = {"x": "PositionX", "y": "PositionY", "angle": "Orientation", "score": "Confidence", "visible": "Visible"}
_FLUSH_SECONDS = 0.2


class LslSender:
    """LSL serves its inlets in its own threads; it does not report missed samples."""

    listens = False
    num_missed = 0

    def __init__(self, address: Address, recording: Recording) -> None:
        """Raises VideoError if LSL cannot open the stream."""
        self.address = str(address)
        self._has_scores = _has_scores(recording.header)
        try:
            self._outlet: pylsl.StreamOutlet | None = pylsl.StreamOutlet(
                _info(address.name, recording.header), max_buffered=BUFFER_HUNDREDS
            )
        except (RuntimeError, ValueError) as error:
            raise VideoError(f"{address}: LSL cannot open the stream ({error})") from error

    def announce(self) -> None:
        """Does nothing: the stream's description contains the header."""

    def send(self, tracks: Tracks) -> str | None:
        frame = tracks.frame
        age_seconds = time.perf_counter() - frame.decoded_at
        sample = [float(frame.index), frame.pts_seconds, float(frame.segment)]
        sample += [value for subject in tracks.subjects for value in poses(subject).ravel().tolist()]
        if self._has_scores:
            sample += [math.nan if one.subject_score is None else one.subject_score for one in tracks.subjects]
        assert self._outlet is not None
        self._outlet.push_sample(sample, pylsl.local_clock() - age_seconds)
        return None

    def close(self) -> None:
        if self._outlet is not None and self._outlet.have_consumers():
            time.sleep(_FLUSH_SECONDS)  # LSL cannot report whether everything was sent
        self._outlet = None


def _info(name: str, header: HeaderRecord) -> pylsl.StreamInfo:
    num_channels = len(FRAME_CHANNELS) + header.subjects * (
        len(COLUMNS) * len(header.model.parts) + _has_scores(header)
    )
    source_id = f"streamparts:{socket.gethostname()}:{name}:{header.source.name}"
    info = pylsl.StreamInfo(name, "MoCap", num_channels, pylsl.IRREGULAR_RATE, pylsl.cf_double64, source_id)
    description = info.desc()
    texts = {
        "schema": header.schema,
        "model": header.model.name,
        "model_sha256": header.model.sha256,
        "source": header.source.name,
        "width": str(header.source.width),
        "height": str(header.source.height),
        "coordinates": header.coordinates,
    }
    for key, text in texts.items():
        description.append_child_value(key, text)
    channels = description.append_child("channels")
    for label, unit in FRAME_CHANNELS.items():
        _add_channel(channels, label=label, type=label, unit=unit)
    for subject in range(header.subjects):
        for part in header.model.parts:
            marker = f"subject{subject}.{part}" if subject else part
            for column, unit in COLUMNS.items():
                kind = _TYPES.get(column, column)
                _add_channel(channels, label=f"{marker}.{column}", marker=marker, type=kind, unit=unit)
    for subject in range(header.subjects if _has_scores(header) else 0):
        _add_channel(channels, label=f"subject{subject}.score", type="Confidence", unit="normalized")
    return info


def _has_scores(header: HeaderRecord) -> bool:
    """True if subjects are followed, so that there is a channel for each one's score."""
    return header.roi == "auto"


def _add_channel(channels: pylsl.XMLElement, **texts: str) -> None:
    channel = channels.append_child("channel")
    for key, text in texts.items():
        channel.append_child_value(key, text)


open_sender = LslSender
