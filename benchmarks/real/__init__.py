"""Evaluation of models and trainers on real video. See `python -m benchmarks.real --help`."""
