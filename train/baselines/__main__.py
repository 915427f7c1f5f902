"""Train one of the systems that the papers compare with, on raw clips, without labels.

Each is in its smallest form that is faithful to its paper, and shares pairs, loop, evaluation and export with the
other trainers. Export the run like any other: streamparts export RUN -o MODEL.onnx.

examples:
  streamparts train-baseline clips/mouse --out runs/mouse-co-part --method co-part
  streamparts train-baseline clips/mouse --out runs/mouse-co-part --method co-part --resume
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from streamparts.errors import StreampartsError
from streamparts.models.checkpoint import save_checkpoint
from streamparts.models.readout import Readout, read_largest
from streamparts.models.run_files import NAMES, SEGMENTER
from streamparts.models.segmenter import Segmenter

from ..drawing.png import write_png
from ..frames.cache import cache_place
from ..frames.clips import ClipFolder
from ..frames.spread import spread
from ..frames.transforms import Draws
from ..inputs.augment import Pair, prepare_pair
from ..inputs.close_folder import BACKGROUND, open_close_ups
from ..inputs.pairs import PairBatch, PairSampler
from ..judging.sheets import contact_sheet, write_names
from ..presets.flags import parse_flags
from ..running.loop import (
    adam,
    channels_last,
    keep,
    launch,
    optimiser_step,
    tell_next,
    tell_unusual,
    trainer_exit_code,
)
from ..running.quick import checks_at, drawn_ahead
from ..running.run_folder import RunLog, StopRequest, open_run, require_finite, restore
from ..students.merge import spread_frames
from .methods import METHODS
from .settings import BaselineConfig

LEARNER = "learner.safetensors"
"""Checkpoint of all trained networks, from which a run is resumed."""
DEFAULT = "co-part"


def train_baseline(config: BaselineConfig, folder: ClipFolder, fabric: Fabric, stop: StopRequest) -> Segmenter:
    """The loop, the same for all methods."""
    torch.manual_seed(config.seed)
    learner = channels_last(METHODS[config.method].build(config))
    network = learner.network
    optimiser = adam(learner, config.learning_rate, config.betas, fabric)
    start = restore(config.out / LEARNER, learner, optimiser)
    forward, stepper = fabric.setup(learner, optimiser)
    log = RunLog(config.out, config.method, start, config.steps, config.checkpoint_every, fabric)
    # in the middle of two frames there is none with a neighbour on both sides
    reach = config.reach if max(len(clip.frames) for clip in folder.clips) > 2 else 0
    sampler = PairSampler(folder, config.batch_size, config.seed, fabric.global_rank, fabric.world_size, reach)
    shape = {"method": config.method, **asdict(network.config)}
    for step, batch in drawn_ahead(sampler.batch, start, config.steps, fabric.device):
        draws = Draws(config.seed, step, config.batch_size, fabric.global_rank, fabric.world_size)
        terms = forward(prepared(batch, config, draws, fabric.device), draws)
        loss = require_finite(config.method, step, terms, checks_at(step, log.due(step), fabric.device))
        optimiser_step(fabric, forward, stepper, loss)
        log.add(step, terms)
        if log.due(step) and fabric.is_global_zero:
            save_checkpoint(config.out / SEGMENTER, network, None, step + 1, shape)
            log.picture("parts", sheet(network, folder, 6), step + 1)
        keep(fabric, log, stop, step, tuple(terms), config.out / LEARNER, learner, optimiser, network.config)
    log.close()
    return network.eval()


def prepared(batch: PairBatch, config: BaselineConfig, draws: Draws, device: torch.device) -> Pair:
    """A batch as the learners take it. With `reach`, the target's neighbour stands for the source."""
    pair = prepare_pair(batch, device, draws, config.rotation_degrees, config.colour_jitter)
    return pair if pair.after is None else replace(pair, source=pair.target, target=pair.after)


def sheet(network: Segmenter, folder: ClipFolder, columns: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Draw parts on frames spread over the clips."""
    frames = spread_frames(folder, columns)
    chosen, training = frames[spread(len(frames), columns)], network.training
    network.eval()

    def find(images: Tensor) -> Readout:
        return read_largest(network.masks(images))

    drawn = contact_sheet(find, chosen, next(network.parameters()).device)
    network.train(training)
    return drawn


def open_clips(config: BaselineConfig) -> ClipFolder:
    """The clips as the network takes them: whole frames, or crops that follow the subject."""
    cache = cache_place(config.clips, config.cache, config.out)
    if config.subject == BACKGROUND:
        return ClipFolder.open(config.clips, config.image_size, cache, follow_camera=config.follow_camera)
    return open_close_ups(config.clips, config.subject, config.image_size, config.image_size, cache=cache)[0]


def train(config: BaselineConfig) -> None:
    """Clips in, run folder out: network, contact sheet, names to edit."""
    if config.subject_masks and config.method != DEFAULT:
        raise StreampartsError(f"--subject-masks is for --method {DEFAULT} only, not for {config.method}")
    if config.threads:
        torch.set_num_threads(config.threads)
    fabric = launch(config.device, config.precision)
    if fabric.is_global_zero:
        open_run(config.out, config, config.resume)
    with fabric.rank_zero_first():
        folder = open_clips(config)
    if fabric.is_global_zero:
        tell_unusual(folder.failures, folder.notes)
        tqdm.write(f"{len(folder.clips)} clips, {folder.num_frames} frames, on {fabric.device}", file=sys.stderr)
    with StopRequest().listening() as stop:
        network = train_baseline(config, folder, fabric, stop)
    if fabric.is_global_zero:
        write_png(config.out / "parts.png", sheet(network, folder, 10))
        write_names(config.out / NAMES, config.num_parts)
        tell_next(config.out, config.num_parts)


def parse_config(args: Sequence[str]) -> BaselineConfig:
    """Parse the command's flags; see `parse_flags`."""
    presets = {name: (each.about, {"method": name, **each.defaults}) for name, each in METHODS.items()}
    return parse_flags(args, BaselineConfig, __doc__, "train-baseline", presets, DEFAULT, flag="method")


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, 2 for wrong usage, or 128 + signal if stopped."""
    words = sys.argv[1:] if argv is None else argv
    config = parse_config(words)
    return trainer_exit_code(lambda: train(config), "--debug" in words)


if __name__ == "__main__":
    raise SystemExit(main())
