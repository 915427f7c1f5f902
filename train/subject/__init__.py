"""The subject of raw clips, found without labels: python -m train.subject CLIPS."""

from train.subject.crops import crop_frames
from train.subject.find import Effort, find_subjects
from train.subject.values import SubjectClip, SubjectSource

__all__ = ["Effort", "SubjectClip", "SubjectSource", "crop_frames", "find_subjects"]
