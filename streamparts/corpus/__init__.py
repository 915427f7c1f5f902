"""Tracks a corpus of videos on many processes and machines: docs/corpus.md."""
