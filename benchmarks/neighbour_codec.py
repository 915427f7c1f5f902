"""Only decodes a clip or, with a third argument, also encodes it like an overlay: what no program can be faster than.

python -m benchmarks.neighbour_codec CLIP UNUSED [DRAWN.mp4]
"""

from __future__ import annotations

import json
import sys
import time
from fractions import Fraction

import av
from av.video.frame import PictureType
from av.video.stream import VideoStream

from streamparts.sinks.overlay.encoders import AUTO, choose_encoder


def main(clip: str, _: str, drawn: str | None = None) -> None:
    num_frames = 0
    began, cpu = time.perf_counter(), time.process_time()
    with av.open(clip) as source:
        stream = source.streams.video[0]
        if drawn is None:
            num_frames = sum(1 for _ in source.decode(stream))
        else:
            encoder = choose_encoder(AUTO)
            with av.open(drawn, "w") as sink:
                rate = stream.average_rate or Fraction(30)
                out = sink.add_stream(encoder.name, rate=rate, options=dict(encoder.options))
                assert isinstance(out, VideoStream)
                encoder.configure(out.codec_context, stream.height, stream.width, rate)
                for frame in source.decode(stream):
                    frame.pict_type = PictureType.NONE  # the encoder places keyframes itself
                    sink.mux(out.encode(frame))
                    num_frames += 1
                sink.mux(out.encode(None))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"frames": num_frames, "found": 0, "seconds": seconds, "processor seconds": cpu}))


if __name__ == "__main__":
    main(*sys.argv[1:])
