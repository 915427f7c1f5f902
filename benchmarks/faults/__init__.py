"""Trials of the promises in docs/reliability.md, each of a given size: python -m benchmarks.faults"""
