"""Selects the Ray cluster of a run: the given one, this machine's, or a new one."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from streamparts.errors import MissingExtraError, StreampartsError

AUTO = "auto"
_REACH_SECONDS = 5.0


def load_ray() -> Any:
    """The package. Raises MissingExtraError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # no pages of output when a machine is lost
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")  # no dozens of warnings if it cannot connect
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--cluster needs Ray; pip install 'streamparts[cluster]'") from error
    return ray


def connect(ray: Any, address: str, say: Callable[[str], None]) -> bool:
    """Connect to the cluster at HOST:PORT. "auto" is that of RAY_ADDRESS, the one that `ray start` started or joined
    here, or else a new one on this machine only. An existing connection of the caller is used and kept.

    Returns True if a connection was made, which the caller must end. Raises StreampartsError with a one-line message if
    there is no such cluster, it does not answer, or it has another version.
    """
    if ray.is_initialized():
        return False
    target = _found(say) if address == AUTO else address
    if target is not None and (problem := _unreachable(target)):
        raise StreampartsError(f"{target}: {problem}")
    options = {"address": target} if target else {"address": "local", "include_dashboard": False}
    with _own_signals():
        try:
            ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise StreampartsError(
                f"{target or 'this machine'}: the Ray cluster cannot be used ({text}); run this on one of its "
                "machines, with the same Python and Ray, and with RAY_AUTH_MODE=token if it requires the token in "
                "~/.ray"
            ) from error
    return True


def _found(say: Callable[[str], None]) -> str | None:
    """Address of the cluster that this machine belongs to; None if a new one must be started."""
    if named := os.environ.get("RAY_ADDRESS"):
        return named
    latest = _latest()
    if latest is not None and _unreachable(latest) is None:
        _take_token()
        return latest
    say("no Ray cluster runs here: starting one for this run, on this machine only")
    return None


def _latest() -> str | None:
    """Address noted by the last `ray start` on this machine. Ray's own "auto" takes any cluster that runs here,
    including one that another run started for itself and will stop."""
    try:
        from ray._private.utils import read_ray_address

        found = read_ray_address()
    except (ImportError, OSError):
        return None
    return str(found) if found else None


def _take_token() -> None:
    """Send the token that `ray start` wrote to the home folder to this machine's cluster, as Ray's own "auto" does. To
    a given address, Ray sends it only with RAY_AUTH_MODE=token."""
    try:
        from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    except ImportError:  # versions without tokens
        return
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _unreachable(address: str) -> str | None:
    """Return why the cluster at host:port is unreachable: Ray itself would wait for many minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):
        return "is not the address of a Ray cluster; give auto, or HOST:PORT"
    try:
        socket.create_connection((host, int(port)), _REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        return (
            f"no Ray cluster answers there ({error}); run `ray start --head`, and this command on one of its machines"
        )
    return None


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the caller's signal handlers, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
