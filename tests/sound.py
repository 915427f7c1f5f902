"""Generates small videos with audio: numbered frames and a tone."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.media import picture


def sound_video(
    path: Path,
    num_frames: int,
    codec: str = "aac",
    rate: int = 48000,
    sound_frames: int | None = None,
    video_codec: str = "libx264",
    first_seconds: int = 0,
) -> Path:
    """`num_frames` of 128x96 at 30 a second, with a tone that lasts as long, or as long as `sound_frames`.

    Both begin at `first_seconds`."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(video_codec, rate=30)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        audio = container.add_stream(codec, rate=rate)
        audio.layout = "mono"
        packets = [*_pictures(video, num_frames), *_tone(audio, sound_frames or num_frames, rate)]
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            ticks = round(first_seconds / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            container.mux(packet)
    return path


def _pictures(stream: av.VideoStream, num_frames: int) -> list[av.Packet]:
    packets = []
    for number in range(num_frames):
        frame = av.VideoFrame.from_ndarray(picture(number), "rgb24")
        frame.pts, frame.time_base = number, Fraction(1, 30)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _tone(stream: av.AudioStream, num_frames: int, rate: int) -> list[av.Packet]:
    context = stream.codec_context
    samples = np.sin(2 * np.pi * 440 * np.arange(num_frames * rate // 30) / rate)
    whole = av.AudioFrame.from_ndarray((8000 * samples).astype(np.int16)[None], "s16", "mono")
    whole.sample_rate, whole.pts = rate, 0
    resampler = av.AudioResampler(context.format.name, "mono", rate, context.frame_size or 1024)
    packets = []
    for frame in [*resampler.resample(whole), *resampler.resample(None)]:
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def sound_packets(path: Path) -> list[tuple[Fraction, bytes]] | None:
    """Time and content of every packet of sound; None without."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        packets = container.demux(container.streams.audio[0])
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in packets if packet.pts is not None]
