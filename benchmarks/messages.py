"""Cost of sending a frame, by protocol: python -m benchmarks.messages

Measures the processor time of the sending thread, and the wall time of the run's `write`, without receivers. Needs
streamparts[messages].
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from statistics import median

import streamparts
from streamparts.data import Tracks
from streamparts.sinks.messages import PROTOCOLS, open_messages, parse_addresses
from streamparts.tracksfile.recording import Recording

ADDRESSES = ("udp://:9", "udp://:9?format=msgpack", "zmq://:0", "ws://:0", "osc://:9", "lsl://benchmark")


def microseconds(
    send: Callable[[Tracks], object], tracks: list[Tracks], turns: int, clock: Callable[[], float]
) -> float:
    """Median of `turns` calls."""
    taken = []
    for turn in range(turns):
        started = clock()
        send(tracks[turn % len(tracks)])
        taken.append(clock() - started)
    return 1e6 * median(taken)


def measure(video: str, turns: int) -> dict[str, dict[str, float]]:
    """Microseconds of the sender's processor time and of the run's own time, by protocol."""
    bundle, found = streamparts.load_model("puppet-human"), dict[str, dict[str, float]]()
    with streamparts.open_source(video) as source:
        tracks = list(islice(streamparts.track(source, bundle, backend="onnxruntime"), 5))
        for address in parse_addresses(ADDRESSES):
            recording = Recording(bundle, source)
            module = importlib.import_module(f"streamparts.sinks.messages.{PROTOCOLS[address.scheme].module}")
            with closing(module.open_sender(address, recording)) as sender:
                cost = microseconds(sender.send, tracks, turns, time.thread_time)
            with closing(open_messages(address, recording)) as sink:
                own = microseconds(sink.write, tracks, turns, time.perf_counter)
            name = f"{address.scheme} {address.options.get('format', '')}".strip()
            found[name] = {"us to send": round(cost, 1), "us of the run": round(own, 1)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", default="examples/puppet.mp4")
    parser.add_argument("--turns", type=int, default=500)
    args = parser.parse_args()
    for name, cost in measure(args.video, args.turns).items():
        sender, own = cost["us to send"], cost["us of the run"]
        print(f"{name:12}  {sender:4.0f} us to send a frame, {own:3.0f} us of the run's own time")


if __name__ == "__main__":
    main()
