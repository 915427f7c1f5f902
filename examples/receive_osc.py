"""Print what `streamparts run webcam --send osc://127.0.0.1:9001` sends: python examples/receive_osc.py [PORT]"""

import sys
from urllib.parse import unquote

from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer


def header(address: str, schema: str, model: str, source: str, width: int, height: int, *parts: str) -> None:
    print("header:", *parts, flush=True)  # comes once a second


def frame(address: str, number: int, seconds: int, fraction: float, segment: int) -> None:
    print("frame", number, seconds + fraction, flush=True)


def part(address: str, x: float, y: float, angle: float, scale: float, score: float, visible: float) -> None:
    if visible:
        print(unquote(address.rsplit("/", 1)[1]), x, y, angle, scale, score, flush=True)


dispatcher = Dispatcher()
dispatcher.map("/streamparts/header", header)
dispatcher.map("/streamparts/frame", frame)
dispatcher.map("/streamparts/part/*", part)
BlockingOSCUDPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9001), dispatcher).serve_forever()
