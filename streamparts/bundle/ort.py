"""Disables ONNX Runtime's telemetry. Since version 1.32 or earlier, it sends data to its vendor over the network, and
keeps a database for that in the home folder, from the import on, unless this variable is set before."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # an explicit user setting wins

import onnxruntime

__all__ = ["onnxruntime"]
