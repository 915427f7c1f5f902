"""The memory of a video's subjects: presence, position and identity."""
