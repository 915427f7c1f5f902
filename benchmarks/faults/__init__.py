"""Trials of what docs/reliability.md promises, each of a size that one gives: python -m benchmarks.faults"""
