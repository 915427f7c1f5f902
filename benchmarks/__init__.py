"""The scripts behind every figure that the README states: python -m benchmarks.accuracy, .runtime, .startup."""
