"""Live preview of tracks: in a window, or on a local page."""
