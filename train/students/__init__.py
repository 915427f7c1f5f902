"""From a trained teacher to the student that is exported, and its subject score."""
