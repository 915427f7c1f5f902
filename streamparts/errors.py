"""One tree of errors. Wrong arguments are ValueError; everything the world can do to us is below."""

from importlib import import_module
from typing import Any


class StreampartsError(Exception):
    """Base of all errors of this library; its message is one line: what is wrong and what to do."""


class VideoError(StreampartsError, OSError):
    """A video could not be opened or decoded, or an output could not be written."""


class TracksError(StreampartsError, ValueError):
    """A tracks file is missing, damaged, of an unknown schema, or does not belong to the run that would go on."""


class SkeletonError(StreampartsError, ValueError):
    """A skeleton file is missing or damaged, or the skeleton is of other parts than the model."""


class ModelError(StreampartsError):
    """A model file is missing, damaged, or not a model of this library."""


class BackendError(StreampartsError):
    """A backend that was asked for cannot run here, or not this model; no other one is taken in its place."""


class MissingExtraError(StreampartsError, ImportError):
    """A feature needs an optional package; the message names the pip extra."""


def need(module: str, what: str, extra: str = "formats") -> Any:
    """The module. Raises MissingExtraError, which names the extra, where it cannot be imported."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingExtraError(f"{what} needs {package} ({error}); pip install 'streamparts[{extra}]'") from error
