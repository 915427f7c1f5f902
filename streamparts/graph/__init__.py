"""Edits ONNX graphs: lower precision, and moved casts."""
