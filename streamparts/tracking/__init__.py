"""The memory of one video: presence, position, identity and poses of its subjects."""
