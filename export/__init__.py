"""From a training run to a model file: run from the checkout, `python -m export.onnx_model`."""
