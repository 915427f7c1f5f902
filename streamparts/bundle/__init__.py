"""Model files: their description, and the checks before anything in them runs."""
