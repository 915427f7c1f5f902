"""Find parts in images over HTTP: python examples/service.py, with pip install 'streamparts[examples]'

    curl -H 'Content-Type: image/jpeg' --data-binary @frame.jpg 'http://127.0.0.1:8000/sessions/left/frames?seconds=0.1'

A session is one camera or video, with its own Tracker: send its frames in order, each with its time (without `seconds`,
the time of arrival is used). STREAMPARTS_MODEL selects the model. http://127.0.0.1:8000/docs has a form to try it.
"""

import os
import threading
import time
from typing import Annotated, Any

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(50_000_000))  # a small file may claim to be a huge picture

import cv2
import numpy as np
import uvicorn
from fastapi import Body, FastAPI, HTTPException, Path, Query

import streamparts

MAX_SESSIONS, MAX_BYTES = 16, 20_000_000
app = FastAPI(title="streamparts")
model = streamparts.load_model(os.environ.get("STREAMPARTS_MODEL"))
trackers: dict[str, streamparts.Tracker] = {}
one_at_a_time = threading.Lock()


def tracker_of(session: str) -> streamparts.Tracker:
    """If there are too many sessions, the least recently used one is dropped."""
    trackers[session] = trackers.pop(session) if session in trackers else streamparts.Tracker(model)
    if len(trackers) > MAX_SESSIONS:
        del trackers[next(iter(trackers))]
    return trackers[session]


@app.post("/sessions/{session}/frames")
def track(
    session: Annotated[str, Path(max_length=100)],
    picture: Annotated[bytes, Body(media_type="image/jpeg", max_length=MAX_BYTES)],
    seconds: Annotated[float | None, Query(allow_inf_nan=False)] = None,
) -> dict[str, Any]:
    """The fields of a frame in docs/outputs.md."""
    try:
        bgr = np.asarray(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR))
        rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        with one_at_a_time:
            seen = tracker_of(session).update(rgb, time.monotonic() if seconds is None else seconds)
    except (cv2.error, ValueError) as error:  # the latter for a time that does not increase
        why = "no picture that can be read" if isinstance(error, cv2.error) else str(error)
        raise HTTPException(400, why) from error
    rows = zip(seen.names, *(a.tolist() for a in (seen.centers, seen.affines, seen.scores, seen.visible)), strict=True)
    parts = [dict(zip(("name", "center", "affine", "score", "visible"), row, strict=True)) for row in rows]
    return {"frame": seen.index, "pts_seconds": seen.pts_seconds, "parts": parts}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=8000)
