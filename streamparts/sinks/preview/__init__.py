"""Tracks on the screen as they come: in a window, or on a page of this machine."""
