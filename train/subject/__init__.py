"""The subject of raw clips, found without labels."""

from .crops import crop_frames
from .find import Effort, find_subjects
from .values import SubjectClip, SubjectSource

__all__ = ["Effort", "SubjectClip", "SubjectSource", "crop_frames", "find_subjects"]
