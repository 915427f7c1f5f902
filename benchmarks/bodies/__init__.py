"""Rendered people that do what puppets cannot. See `python -m benchmarks.bodies --help`."""
