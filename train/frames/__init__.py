"""From files to frames in memory: readers, clips, cache, backgrounds, and images as tensors."""
