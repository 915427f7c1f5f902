"""The overlay video: parts drawn on the source's frames, with its timestamps and audio."""
