"""Changes to ONNX graphs: cheaper arithmetic, and casts in other places."""
