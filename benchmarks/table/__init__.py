"""The systems of the papers' tables on the same clips, with equal time on the same machine."""
