"""Exports a training run to a model file. Run from the checkout: `python -m export.onnx_model`."""
