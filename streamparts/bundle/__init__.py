"""Model files: what they say of themselves, and what is checked before anything of them runs."""
