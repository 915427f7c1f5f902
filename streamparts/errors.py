"""The library's error classes. Wrong arguments raise ValueError; all other failures raise one of these."""

from importlib import import_module
from pathlib import Path
from typing import Any


class StreampartsError(Exception):
    """Base of all errors of this library; its message is one line: what is wrong and what to do."""


class VideoError(StreampartsError, OSError):
    """A video could not be opened or decoded, or an output could not be written."""


class TracksError(StreampartsError, ValueError):
    """A tracks file is missing, damaged, of an unknown schema, or does not belong to the resumed run."""


class SkeletonError(StreampartsError, ValueError):
    """A skeleton file is missing or damaged, or the skeleton does not fit the model's parts."""


class ModelError(StreampartsError):
    """A model file is missing, damaged, or not a model of this library."""


class BackendError(StreampartsError):
    """A requested backend cannot run here, or cannot run this model; it is never replaced by another."""


class MissingExtraError(StreampartsError, ImportError):
    """A feature needs an optional package; the message names the pip extra."""


def need(module: str, what: str, extra: str = "formats") -> Any:
    """Import a module and return it. Raises MissingExtraError, naming the extra, if that fails."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingExtraError(f"{what} needs {package} ({error}); pip install 'streamparts[{extra}]'") from error


def _has_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def message_of(error: BaseException) -> str:
    """Return an error's message for users."""
    text = " ".join(str(error).split())
    if isinstance(error, StreampartsError):
        return text
    if isinstance(error, FileNotFoundError) and error.filename is None and not _has_folder():
        return "the current folder no longer exists; change to another"
    if isinstance(error, MemoryError):
        return "not enough memory; use smaller frames or fewer sources, or close other programs"
    return f"unexpected {type(error).__name__}: {text}; run again with --debug and report what it shows"
