"""Where frames come from."""

from __future__ import annotations

from streamparts.sources.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, FileSource, Source, find_videos, open_source

__all__ = ["IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "FileSource", "Source", "find_videos", "open_source"]
