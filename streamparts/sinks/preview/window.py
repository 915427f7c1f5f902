"""A preview in a window, if OpenCV supports it and there is a display."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import cv2
import numpy as np

from streamparts.arrays import ByteArray

TITLE = "streamparts (q ends the run)"
_PROBE = """
import threading, cv2, numpy
def show():
    cv2.namedWindow("probe", cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    for _ in range(20):
        cv2.imshow("probe", numpy.zeros((64, 64, 3), numpy.uint8))
        cv2.waitKey(1)
        cv2.getWindowProperty("probe", cv2.WND_PROP_VISIBLE)
    cv2.destroyWindow("probe")
thread = threading.Thread(target=show)
thread.start()
thread.join()
"""
_PROBE_SECONDS = 8.0
_LEAVING_KEYS = (ord("q"), 27)


class PreviewWindow:
    """A Viewer. The window opens with the first image, in the thread that shows it."""

    def __init__(self) -> None:
        self._open = False

    def poll(self) -> bool:
        if not self._open:
            return True
        key = cv2.waitKey(1)
        return key not in _LEAVING_KEYS and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def wanted(self) -> bool:
        return True

    def show(self, picture: ByteArray) -> None:
        if not self._open:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(TITLE, picture.shape[1], picture.shape[0])
            self._open = True
        cv2.imshow(TITLE, np.ascontiguousarray(picture[..., ::-1]))
        cv2.waitKey(1)

    def close(self) -> None:
        if self._open:
            self._open = False
            cv2.destroyWindow(TITLE)


def window_problem() -> str | None:
    """Return why no window can be opened here; None if one can.

    OpenCV ends the whole process if the display is missing, so a child process tries first, in a thread as here. The Qt
    build is refused, because a run was observed to hang at its end although this test had passed.
    """
    if sys.platform == "darwin":
        return "on macOS, windows belong to the main thread"
    found = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    if found is None or found[1] == "NONE":
        return "this OpenCV was built without windows (opencv-python-headless)"
    if found[1].startswith("QT"):
        return "windows of OpenCV's Qt builds, such as opencv-python for Linux, hang outside the main thread"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    try:
        done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return "windows of this OpenCV hang outside the main thread"
    except OSError:
        return "no process could be started to test one"
    return None if done.returncode == 0 else "the display does not answer"
