"""Workers on a Ray cluster: one actor each, which keeps its share of a machine and the model until the run ends; needs
the `cluster` extra."""

from __future__ import annotations

import math
import platform
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from streamparts import __version__
from streamparts.corpus.messages import Ready, Unable
from streamparts.corpus.options import Settings, Task
from streamparts.corpus.pool import MOST_FAILED_STARTS, LostTask
from streamparts.corpus.ray_cluster import connect, load_ray
from streamparts.corpus.work import Answer
from streamparts.errors import StreampartsError

_COUNT_SECONDS = 1.0
_CENSUS_SECONDS = 2.0
"""Interval at which the cluster's machines are listed."""


class RayWorker:
    """Runs on the cluster. Its methods may be called while `do` is running."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._frames = 0

    def load(self, settings: Settings) -> Ready | Unable:
        from streamparts.backends.measuring import noise
        from streamparts.corpus.work import Worker

        try:
            self._worker = Worker(settings)
            self._worker.chosen.backend.run(noise(settings.bundle))
        except StreampartsError as error:
            return Unable(type(error)(f"{platform.node()}: {error}"))
        return Ready(self._worker.chosen.backend.name)

    def do(self, task: Task) -> Answer:
        self._frames = 0
        return self._worker.do(task, self._stop, self._count)

    def frames(self) -> int:
        return self._frames

    def stop(self) -> None:
        self._stop.set()

    def _count(self, frames: int) -> None:
        self._frames = frames


@dataclass(eq=False, slots=True)
class _Hand:
    """An actor as seen by the driver."""

    actor: Any
    waiting: Any
    """Reference to its current call; None if it is idle."""
    task: Task | None = None
    frames: int = 0
    count: Any = None
    """Reference to its next frame count."""


class RayPool:
    """A Pool of actors on all machines of a cluster with enough resources."""

    def __init__(
        self,
        settings: Settings,
        address: str,
        workers: int | None = None,
        cpus_per_task: float | None = None,
        gpus_per_task: float = 0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """`workers` None: as many as the cluster has room for, also when machines join or leave. Raises
        MissingExtraError without Ray, StreampartsError if there is no such cluster or no machine has enough resources.
        """
        self._ray = load_ray()
        self._cpus = 1.0 if cpus_per_task is None else cpus_per_task
        self._gpus = gpus_per_task
        self._workers = workers
        self._hands: list[_Hand] = []
        self._failed_starts = 0
        self._stopping = False
        self._counted_at = self._census_at = -math.inf
        self._slots = 0
        self._is_ours = connect(self._ray, address, say or (lambda line: None))
        try:
            settings = replace(settings, threads=settings.threads or max(1, int(self._cpus)))
            self._settings = self._ray.put(settings)
            if self._room() == 0:
                raise StreampartsError(
                    f"no machine of the cluster has {self._cpus:g} CPUs and {self._gpus:g} GPUs for a video; lower "
                    "--cpus-per-task or --gpus-per-task"
                )
        except BaseException:
            self.close()
            raise
        self._kind = self._ray.remote(RayWorker).options(
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            max_concurrency=4,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )

    @property
    def num_workers(self) -> int:
        return sum(hand.waiting is None or hand.task is not None for hand in self._hands)

    @property
    def num_free(self) -> int:
        return sum(hand.waiting is None for hand in self._hands)

    @property
    def frames_begun(self) -> int:
        self._count()
        return sum(hand.frames for hand in self._hands if hand.task is not None)

    def want(self, num_tasks: int) -> None:
        busy = sum(hand.task is not None for hand in self._hands)
        wanted = min(self._workers or self._room(), num_tasks + busy)
        while len(self._hands) < wanted and not self._stopping:
            actor = self._kind.remote()
            self._hands.append(_Hand(actor, actor.load.remote(self._settings)))

    def submit(self, task: Task) -> None:
        hand = next(hand for hand in self._hands if hand.waiting is None)
        hand.task, hand.frames, hand.count = task, 0, None
        hand.waiting = hand.actor.do.remote(task)

    def wait(self, seconds: float) -> list[Answer | LostTask]:
        asked = {hand.waiting: hand for hand in self._hands if hand.waiting is not None}
        if not asked:
            time.sleep(seconds)
            return []
        ready, _ = self._ray.wait(list(asked), num_returns=1, timeout=seconds)
        if ready and len(asked) > 1:
            ready, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0)
        return [event for reference in ready if (event := self._take(asked[reference])) is not None]

    def stop(self) -> None:
        self._stopping = True
        for hand in self._hands:
            hand.actor.stop.remote()

    def close(self) -> None:
        self._stopping = True
        for hand in self._hands:
            with suppress(Exception):
                self._ray.kill(hand.actor)
        self._hands.clear()
        if self._is_ours:
            self._ray.shutdown()

    def _take(self, hand: _Hand) -> Answer | LostTask | None:
        try:
            answer = self._ray.get(hand.waiting)
        except Exception as error:  # Ray's errors for an actor, a process or a machine that is gone
            return self._handle_loss(hand, error)
        hand.waiting = hand.task = None
        if isinstance(answer, Unable):
            raise answer.error
        if isinstance(answer, Ready):
            self._failed_starts = 0
            return None
        assert isinstance(answer, Answer)
        return answer

    def _handle_loss(self, hand: _Hand, error: Exception) -> LostTask | None:
        self._hands.remove(hand)
        self._census_at = -math.inf
        with suppress(Exception):
            self._ray.kill(hand.actor)
        reason = _reason(error)
        if hand.task is not None:
            return LostTask(hand.task, reason)
        self._failed_starts += 1
        if "No module named" in str(error) or self._failed_starts >= MOST_FAILED_STARTS:
            raise StreampartsError(f"workers of the cluster cannot start: {reason}")
        return None

    def _room(self) -> int:
        """Number of workers that the current machines have room for, regardless of their other load."""
        if time.monotonic() - self._census_at > _CENSUS_SECONDS:
            self._census_at = time.monotonic()
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            self._slots = sum(self._room_on(resources) for resources in nodes)
        return self._slots

    def _room_on(self, resources: dict[str, float]) -> int:
        shares = ((self._cpus, "CPU"), (self._gpus, "GPU"))
        rooms = [int(resources.get(name, 0) / share + 1e-9) for share, name in shares if share]
        return min(rooms) if rooms else 1

    def _count(self) -> None:
        """Ask for the frame counts of current videos periodically, without waiting for the answer."""
        if time.monotonic() - self._counted_at < _COUNT_SECONDS:
            return
        self._counted_at = time.monotonic()
        for hand in [hand for hand in self._hands if hand.task is not None]:
            if hand.count is not None and self._ray.wait([hand.count], timeout=0)[0]:
                with suppress(Exception):
                    hand.frames = self._ray.get(hand.count)
                hand.count = None
            if hand.count is None:
                hand.count = hand.actor.frames.remote()


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    missing = next((line for line in lines if "No module named" in line), None)
    if missing is not None:
        return f"{missing}; install streamparts {__version__} on all machines of the cluster"
    first = lines[0] if lines else type(error).__name__
    return f"its worker on the cluster was lost ({first[:200]})"
