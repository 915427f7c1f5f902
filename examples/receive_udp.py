"""Print what `streamparts run webcam --send udp://127.0.0.1:9000` sends: python examples/receive_udp.py [PORT]"""

import json
import socket
import sys

receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9000))
while True:
    record = json.loads(receiver.recv(65535))
    if record["type"] == "header":  # comes once a second
        print("header:", *record["model"]["parts"], flush=True)
    elif record["type"] == "frame":
        for part in record["parts"]:
            if part["visible"]:
                print(record["frame"], record["pts_seconds"], part["name"], *part["center"], flush=True)
