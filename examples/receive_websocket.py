"""Print what `streamparts run webcam --send ws://127.0.0.1:8765` sends: python examples/receive_websocket.py [ADDRESS]

In a browser: new WebSocket("ws://127.0.0.1:8765").onmessage = event => console.log(JSON.parse(event.data))
"""

import json
import sys

from websockets.sync.client import connect

with connect(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765", max_size=None) as messages:
    for message in messages:  # until the run ends
        record = json.loads(message)
        if record["type"] == "header":  # the first
            print("header:", *record["model"]["parts"], flush=True)
        elif record["type"] == "frame":
            for part in record["parts"]:
                if part["visible"]:
                    print(record["frame"], record["pts_seconds"], part["name"], *part["center"], flush=True)
