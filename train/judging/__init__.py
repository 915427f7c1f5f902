"""Measures of found parts, and sheets that show them."""
