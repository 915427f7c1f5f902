"""Refuses flags that have no effect on the given sources."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def require_fitting(args: argparse.Namespace, sources: Sequence[str]) -> None:
    """End with a usage error for --idle and --max-retries without a live source, and for --fps if every source has its
    own frame rate. Whether a single file has timestamps is checked when it is opened."""
    from streamparts.sources.kinds import may_be_live, may_lack_times

    args.one_source = len(sources) == 1
    known = [word for word in sources if _kind(word) is not None]
    if len(known) < len(sources) or not known:
        return  # opening it gives the error
    for flag in ("idle", "max_retries"):
        if getattr(args, flag) is not None and not any(map(may_be_live, known)):
            args.usage_error(f"--{flag.replace('_', '-')} applies to live sources only, not to {known[0]}")
    if args.fps is None or any(map(may_lack_times, known)) or (args.one_source and _kind(known[0]) == "file"):
        return
    has_own = _kind(known[0]) in ("pattern", "device")
    hint = f"write {known[0]}?fps=N" if has_own else "it has its own timestamps"
    args.usage_error(f"--fps applies to images and raw video only, not to {known[0]}: {hint}")


def _kind(word: str) -> str | None:
    """Return the kind of source; None if it cannot be opened."""
    from streamparts.errors import VideoError
    from streamparts.sources.kinds import kind_of

    try:
        return kind_of(word).name
    except VideoError:
        return None
