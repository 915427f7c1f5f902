"""Rendered puppets, and PNG files."""
