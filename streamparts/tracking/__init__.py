"""The memory of a video's subjects: whether they are there, where, and which is which."""
