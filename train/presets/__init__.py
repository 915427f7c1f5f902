"""The configuration of each trainer, its presets, and the flags made from both."""
