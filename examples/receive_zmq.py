"""Print what `streamparts run webcam --send zmq://127.0.0.1:5556` sends: python examples/receive_zmq.py [HOST:PORT]"""

import json
import sys

import zmq

subscriber = zmq.Context().socket(zmq.SUB)
subscriber.setsockopt(zmq.RCVHWM, 8)  # rather miss frames than get old ones
subscriber.setsockopt(zmq.SUBSCRIBE, b"")  # or only b"frame", b"header", b"gap", b"segment"
subscriber.connect(f"tcp://{sys.argv[1] if len(sys.argv) > 1 else '127.0.0.1:5556'}")
while True:
    kind, data = subscriber.recv_multipart()
    record = json.loads(data)
    if kind == b"header":  # comes once a second
        print("header:", *record["model"]["parts"], flush=True)
    elif kind == b"frame":
        for part in record["parts"]:
            if part["visible"]:
                print(record["frame"], record["pts_seconds"], part["name"], *part["center"], flush=True)
