"""One source from opening to closed outputs, in a thread that can be stopped and monitored from outside.

Python cannot stop a thread that hangs in a network, a driver or a file system. So everything that may hang runs in
daemon threads, and those that have not ended GRACE_SECONDS after they were asked to are abandoned: the outputs are
closed without them, and the run reports it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from traceback import clear_frames

from streamparts.bundle.load import Bundle
from streamparts.data import Backend, Tracks
from streamparts.runtime.callback import CallbackThread
from streamparts.runtime.options import Hooks, Policy, Tracking
from streamparts.runtime.pipeline import Pipeline
from streamparts.runtime.stats import Progress, RunMeter
from streamparts.sinks.group import Member, SinkGroup
from streamparts.sinks.outputs import Outputs, RunContext, open_outputs
from streamparts.sources import Source, open_source
from streamparts.sources.base import details
from streamparts.sources.shares import Share, ShareRefused, sharing
from streamparts.threads import GRACE_SECONDS, DaemonThread
from streamparts.tracking.presence import APPEAR_SCORE
from streamparts.tracksfile.resume import ResumePoint

LOOP_SECONDS = 1.0
"""Share of the grace period for finishing the current frame; then its outputs are closed without it."""

_OUTPUT_SECONDS = 1.5  # share of the grace period by which the outputs are closed, or abandoned ...
_SOURCE_SECONDS = 1.85  # ... and by which the source is
_LAST_SECONDS = 1.95


@dataclass(frozen=True, slots=True)
class JobOptions:
    """Work to do for one source."""

    source: str | Path | Source
    bundle: Bundle
    backend: Backend
    outputs: Outputs
    tracking: Tracking
    hooks: Hooks
    resume: ResumePoint | None = None
    """Position in the tracks file after which it continues."""


class Job:
    """The loop, in a thread."""

    def __init__(self, options: JobOptions, name: str = "") -> None:
        """Nothing happens before `start`. `name` is the source's name in the statistics and for the hooks; "" is its
        own. Setting the hooks' `stop` is equivalent to calling `end`."""
        self.meter = RunMeter(name)
        self.num_frames = 0
        self._num_scored = self._num_with_subject = 0
        self.error: BaseException | None = None
        self.warnings: list[str] = []
        self.began = False
        """True once the outputs were opened."""
        self.done = threading.Event()
        self.options = options
        self._lock = threading.Lock()
        self._told_at: float | None = None
        self._is_closing = False
        self._doing = "opening the source"
        self._pipeline: Pipeline | None = None
        self._callback: CallbackThread | None = None
        self._share = Share(self._look)
        self.outputs = SinkGroup(())
        """The outputs, once they are open."""

    def start(self) -> None:
        DaemonThread("loop", self._work)

    def end(self) -> None:
        """Finish the current frame, then the outputs. From any thread; returns at once."""
        with self._lock:
            if self._told_at is None:
                self._told_at = time.monotonic()
            pipeline = self._pipeline
        if pipeline:
            pipeline.end()

    @property
    def was_ended(self) -> bool:
        """True if it was stopped without an error."""
        return self._told_at is not None and self.error is None

    @property
    def subject_share(self) -> float | None:
        """Share of the frames that show any subject; None if the model does not estimate it."""
        return self._num_with_subject / self._num_scored if self._num_scored else None

    def fail(self, error: BaseException) -> None:
        """End with `error`, unless there already is one. From any thread."""
        with self._lock:
            self.error = self.error or error
        self.end()

    def watch(self) -> None:
        """To be called periodically: checks `stop`, and abandons the thread if it is overdue."""
        self._look()
        over = 0.0 if self._told_at is None else time.monotonic() - self._told_at
        if over > LOOP_SECONDS and self._begin_closing():
            self.warnings.append(f"{self._doing} did not end within {LOOP_SECONDS:.0f} s; its thread was abandoned")
            DaemonThread("closer", self._close_without_loop)
        elif over > _LAST_SECONDS and not self.done.is_set():
            self.warnings.append(f"{self._doing} did not stop in time; its thread was abandoned")
            self._finish()

    def _look(self) -> bool:
        """True if it must end."""
        stop = self.options.hooks.stop
        if stop and stop.is_set():
            self.end()
        return self._told_at is not None

    def _work(self) -> None:
        stack = ExitStack()
        try:
            self._loop(stack)
        except BaseException as error:
            self.fail(error)
        if self._begin_closing():
            self._close_outputs()
        self._doing = "closing the source"
        try:
            stack.close()
        except BaseException as error:
            self.fail(error)
        self._finish()

    def _loop(self, stack: ExitStack) -> None:
        source = self._opened(stack)
        if source is None or self._look():
            return
        pipeline = self._begin(source)
        stack.callback(self._close_pipeline, pipeline, stack)
        self._doing, self.began = "opening an output", True
        self.outputs = self._open_outputs(source, pipeline.policy)
        if self._is_closing:  # it took so long that the job is over
            self.outputs.close()
        self.meter.ages.set_num_sinks(self.outputs.num_files)
        self.meter.start()
        self._doing = "the network"
        try:
            for tracks in pipeline:
                if not self._is_closing:
                    self._hand_out(tracks)
                if self._look():
                    break
                self._note(source)
                self._doing = "the network"
        finally:
            self._note(source)

    def _opened(self, stack: ExitStack) -> Source | None:
        """Returns None if it was ended while other files had all the memory for large images."""
        word = self.options.source
        try:
            with sharing(self._share):
                source = opened(word, stack, self.options.hooks.opener)
            if isinstance(word, str | Path) and not source.live:
                self._share.reach(source.height * source.width)  # a file has it already
        except ShareRefused:
            return None
        return source

    def _close_without_loop(self) -> None:
        self._close_outputs()
        self._finish()

    def _begin(self, source: Source) -> Pipeline:
        options, meter = self.options, self.meter
        meter.name, meter.total = meter.name or source.name, source.num_frames
        pipeline = Pipeline(source, options.bundle, options.backend, options.tracking, meter)
        with self._lock:
            self._pipeline, told = pipeline, self._told_at is not None
        if told:
            pipeline.end()
        if options.hooks.on_tracks:
            self._callback = CallbackThread(partial(options.hooks.on_tracks, meter.name), pipeline.policy, self.fail)
        return pipeline

    def _open_outputs(self, source: Source, policy: Policy) -> SinkGroup:
        """Open the outputs, which report each frame written, and their failures."""
        options, ages, say = self.options, self.meter.ages, self.options.hooks.say

        def failed(member: Member, error: Exception) -> None:
            ages.set_num_sinks(self.outputs.num_files)
            if say and self.outputs.num_files:
                say(f"{member.name} ends here, the other outputs continue: {error}")

        context = RunContext(
            source=source,
            bundle=options.bundle,
            clock=self.meter.clock,
            policy=policy,
            resume=options.resume,
            replace=options.outputs.force,
            written=lambda tracks: ages.written(tracks.index, tracks.frame.decoded_at),
            say=say,
            on_closed=self.end,
        )
        return open_outputs(options.outputs, context, failed)

    def _hand_out(self, tracks: Tracks) -> None:
        self._doing = "an output"
        self.outputs.write(tracks)
        if self._callback:
            self._doing = "passing results to the callback"
            self._callback.put(tracks)
            self.meter.counts.callback_lost = self._callback.num_lost
        if not self.outputs.num_files:
            self.meter.ages.written(tracks.index, tracks.frame.decoded_at)
        self.num_frames += 1
        scores = [each.subject_score for each in tracks.subjects if each.subject_score is not None]
        self._num_scored += bool(scores)
        self._num_with_subject += max(scores, default=0.0) >= APPEAR_SCORE
        if self.options.hooks.progress:
            self._doing = "the progress callback"
            self.options.hooks.progress(self.meter.name, Progress(self.num_frames, self.meter.total, self.meter))

    def _note(self, source: Source) -> None:
        counts, known = self.meter.counts, details(source)
        counts.messages_lost = self.outputs.num_lost
        counts.decode_errors, counts.repaired_times = source.decode_errors, source.repaired_times
        counts.packets_lost, self.meter.damaged_left_out = known.packets_lost, known.damaged_left_out

    def _close_pipeline(self, pipeline: Pipeline, stack: ExitStack) -> None:
        """End the decoding thread, or abandon it with the objects it uses."""
        left = self._left(_SOURCE_SECONDS)
        if not pipeline.close(GRACE_SECONDS if left is None else left):
            stack.pop_all()
            self.warnings.append(f"{pipeline.stuck} did not stop in time; its thread was abandoned")

    def _begin_closing(self) -> bool:
        """True for the caller who must close the outputs."""
        with self._lock:
            first, self._is_closing = not self._is_closing, True
        return first

    def _close_outputs(self) -> None:
        """Write queued results and close all outputs in parallel. Waits as long as that takes, but not beyond the grace
        period once the job was asked to end."""
        self._doing = "closing the outputs"
        closer = DaemonThread("closer", self.outputs.close, keeps_error=True)
        if self._callback:
            if not self._callback.close(self._left_for_outputs):
                self.warnings.append("the callback did not return; its thread was abandoned")
            self.meter.counts.callback_lost = self._callback.num_lost
        have_closed = closer.ends(self._left_for_outputs)
        self.meter.counts.messages_lost = self.outputs.num_lost
        with self._lock:
            self.error = self.error or closer.error
        if not have_closed:
            stuck = ", ".join(member.name for member in self.outputs.unfinished)
            self.warnings.append(f"{stuck} did not stop in time and may be incomplete")
        self.meter.end()

    def _left_for_outputs(self) -> float | None:
        return self._left(_OUTPUT_SECONDS)

    def _left(self, seconds: float) -> float | None:
        """Remaining part of this many seconds after the job was asked to end; None before that."""
        return None if self._told_at is None else max(0.0, self._told_at + seconds - time.monotonic())

    def _finish(self) -> None:
        with self._lock:
            self._pipeline = None  # and with it the decoder, which keeps images
        error = self.error
        while error is not None:
            clear_frames(error.__traceback__)  # their variables keep it, too
            error = error.__context__
        self._share.close()
        self.meter.end()
        self.done.set()


def opened(
    source: str | Path | Source, stack: ExitStack, opener: Callable[[str | Path], Source] | None = None
) -> Source:
    """Open a source given as a path, to be closed by `stack`; a Source remains the caller's to close."""
    return stack.enter_context(closing((opener or open_source)(source))) if isinstance(source, str | Path) else source
