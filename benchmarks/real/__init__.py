"""Real video: what models find in it, and what the trainers learn from it. See `python -m benchmarks.real --help`."""
