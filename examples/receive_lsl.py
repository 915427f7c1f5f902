"""Print what `streamparts run webcam --send lsl://streamparts` sends: python examples/receive_lsl.py [NAME]"""

import sys

import pylsl

name = sys.argv[1] if len(sys.argv) > 1 else "streamparts"
inlet = pylsl.StreamInlet(pylsl.resolve_byprop("name", name)[0])  # waits until the stream is there
labels = inlet.info().get_channel_labels()
print("header:", *labels, flush=True)
while True:
    values, seconds = inlet.pull_sample()  # seconds: when the frame was captured, on the clock of the sending machine
    sample = dict(zip(labels, values, strict=True))
    shown = [f"{label}={value:.1f}" for label, value in sample.items() if label.endswith((".x", ".y"))]
    print(int(sample["frame"]), sample["pts_seconds"], seconds + inlet.time_correction(), *shown, flush=True)
