"""Rendered people with exact parts, sides, poses and joints: what `streamparts`' own person model learned from."""
