"""ONNX Runtime, told to keep to itself: since version 1.32 or earlier it reports its use to its maker over the network
and keeps a database for that in the home folder, from the import on, unless this variable is set before."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # who sets it to something else means it

import onnxruntime

__all__ = ["onnxruntime"]
