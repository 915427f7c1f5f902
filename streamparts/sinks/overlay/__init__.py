"""The overlay video: the parts drawn into the source's pictures, with their times and sound."""
