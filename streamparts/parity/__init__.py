"""Compares two runners of one network."""
