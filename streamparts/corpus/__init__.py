"""A corpus of videos over many processes and machines: docs/corpus.md."""
