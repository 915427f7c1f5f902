"""The networks: pure `torch.nn` modules without memory of the stream."""
