"""Exports a training run to a model file: streamparts.export in the wheel. It uses streamparts, never train."""
