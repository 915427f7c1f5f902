"""Renders people with exact parts, sides, poses and joints; the bundled model `person` was trained on such images."""
