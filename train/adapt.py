"""Adapt a model to your own clips, without labels.

The model follows its subject through the clips. Its predictions for each frame are averaged over rotated, scaled and
mirrored views; it is then trained to predict the average from a single augmented view, before other backgrounds. Names,
sides and number of the parts stay. Finally, its steadiness before and after is compared; a model that got worse is
refused. Works for bundled models and for your own .onnx files.

examples:
  streamparts adapt person clips/dancer --out runs/dancer
  streamparts adapt person clips/laboratory --out runs/laboratory --subject auto
  streamparts adapt mouse.onnx clips/new-arena --out runs/new-arena --minutes 10
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import torch
import tyro
from lightning_fabric import Fabric
from tqdm import tqdm

from streamparts.arrays import ByteArray
from streamparts.bundle.load import find_model
from streamparts.bundle.spec import SubjectSpec
from streamparts.errors import StreampartsError
from streamparts.models.checkpoint import save_checkpoint
from streamparts.models.readout import read_out
from streamparts.models.run_files import CONFIG
from streamparts.models.student import LiteUNet, Student

from .bodies.shards import read_shards
from .drawing.png import write_png
from .frames.cache import cache_place
from .frames.clips import ClipFolder
from .frames.spread import spread
from .frames.transforms import Draws, to_images
from .inputs.augment import subject_share
from .inputs.close_folder import source_of, usable_subjects
from .inputs.pairs import PairSampler
from .inputs.rendered import Lessons as RenderedLessons
from .judging.label_free import Steadiness, neighbouring_frames, steadiness
from .judging.sheets import TILE, contact_sheet
from .presets.flags import parse_flags
from .pretrained.exported import norms_from, read_student
from .running.loop import adam, channels_last, cosine_rate, launch, optimiser_step, set_rate, trainer_exit_code
from .running.run_folder import RunLog, StopRequest, open_run, require_finite
from .students.close_presence import SUBJECT, write_subject
from .students.own_answers import OwnAnswers
from .students.own_subject import close_ups_of, own_subjects, with_masks
from .students.rehearsal import with_truth
from .students.student import ENCODER_SHARE, STUDENT_NORM, StudentLoss, prepare_view_lesson, student_loss
from .subject.find import find_subjects
from .subject.values import SubjectClip
from .terms import losses

STUDENT, NAMES, REPORT, SHEET = "student.safetensors", "names.txt", "report.json", "before-after.png"
MODEL = "model"
"""Value of --subject with which the model itself follows its subject."""
TIMED_STEPS = 5
"""Number of first steps, from whose duration the number of steps is computed."""
WORSE = 0.02
"""Maximum decrease of a steadiness figure."""
AREA = (0.6, 1.7)
"""Limits of the foreground after, as a multiple of before; beyond them, parts vanished or spread."""


REHEARSED = 1 / 3
"""Share of a batch that is rendered, with --rehearsal."""
ANSWERS_ALONE = StudentLoss(translation=0.5, shape=0.25, silhouette=0.0, edges=0.0, appearance=0.0)
"""The averaged predictions are already sharp; terms that attract parts to edges and colours would assign sleeves to the
trunk."""


class WorseError(StreampartsError):
    """Raised if the adapted model is worse than the one it started from."""


@dataclass(frozen=True)
class AdaptConfig:
    """Everything that a run depends on, saved as config.json in its folder."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Name of a bundled model, or an exported .onnx file."""
    clips: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CLIPS")]
    """Folder of raw clips of the same kind of subject."""
    out: Path
    """Folder of the run: student.safetensors, report.json, before-after.png."""
    minutes: float = 5.0
    """Approximate minutes of training, in addition to a minute or two of following."""
    batch_size: int = 12
    """Frames per step."""
    learning_rate: float = 3e-4
    """Peak learning rate of Adam, which decays to zero along half a cosine."""
    seed: int = 0
    """Seed of the drawn frames and the augmentation."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on."""
    threads: int = 0
    """CPU threads; 0 for torch's default."""
    subject: str = MODEL
    """Source of the subject in the clips: "model", the model itself; or as train.assembly's --subject: auto, motion,
    saliency, a mask network or a folder of masks, which also hold where the model fails, such as in a laboratory with
    bystanders. These masks become the outline of the parts."""
    rehearsal: Path | None = None
    """Folder of rendered images (streamparts render-people), a third of each batch, for models of the same parts:
    what these clips do not show is not forgotten, such as bare arms in clips of wide sleeves."""
    cache: Path | None = None
    """Folder of the crops; by default beside the clips, or in the run folder if that is not writable."""
    loss: StudentLoss = field(default_factory=lambda: ANSWERS_ALONE)


def adapt(config: AdaptConfig) -> None:
    """Follow, predict, train, compare. Raises StreampartsError; WorseError after everything except the student is
    written."""
    if not config.minutes > 0:
        raise StreampartsError(f"--minutes must be above 0, got {config.minutes:g}")
    fabric = launch(config.device, "32-true", config.threads)
    torch.manual_seed(config.seed)
    student, spec = read_student(config.model)
    rendered = open_rehearsal(config, spec.parts, student.config.image_size)
    student.to(fabric.device)
    open_run(config.out, config, resume=False)
    saved = config.out / CONFIG
    saved.write_text(
        json.dumps({**json.loads(saved.read_text(encoding="utf-8")), "method": spec.method}, indent=2), encoding="utf-8"
    )
    cache = cache_place(config.clips, config.cache, config.out)
    subjects = subjects_of(config, cache)
    folder = close_ups_of(subjects, student.config.image_size, cache)
    answers = OwnAnswers(student, spec.parts, folder)
    if config.subject == MODEL:
        folder = with_masks(folder, answers)
    pairs = neighbouring_frames(subjects, student.config.image_size)
    before, pictures = steadiness(student, pairs), [sheet(student, pairs)]
    with StopRequest().listening() as stop:
        network = learn(config, student, folder, answers, rendered, fabric, stop)
    after = steadiness(network, pairs)
    pictures.append(sheet(network, pairs))
    write_png(config.out / SHEET, np.concatenate(pictures))
    report = {"before": asdict(before), "after": asdict(after)}
    (config.out / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    say("\n".join(table(before, after)))
    require_no_worse(before, after, AREA if config.subject == MODEL else None)
    save_checkpoint(config.out / STUDENT, network, None, 1, asdict(network.config))
    (config.out / NAMES).write_text("\n".join(spec.parts) + "\n", encoding="utf-8")
    keep_subject(config, spec.subject, network, folder)
    say(f"look at {config.out / SHEET}, then: streamparts export {config.out} -o {config.out.name}.onnx")


def subjects_of(config: AdaptConfig, cache: Path) -> list[SubjectClip]:
    """Return the subjects of all clips, as --subject has it. Raises VideoError if there is none."""
    if config.subject == MODEL:
        return own_subjects(find_model(config.model), config.clips, say)
    return usable_subjects(find_subjects(config.clips, source_of(config.subject), cache, say=say), config.clips)


def learn(
    config: AdaptConfig,
    student: Student,
    folder: ClipFolder,
    answers: OwnAnswers,
    rendered: RenderedLessons | None,
    fabric: Fabric,
    stop: StopRequest,
) -> Student:
    """Train a student that starts as `student` on the averaged predictions, and on `rendered` images between them, for
    about the requested minutes or until it is stopped by a signal."""
    network = channels_last(Student(student.config)).to(fabric.device)
    network.load_state_dict(student.state_dict())
    rehearsed = round(REHEARSED * config.batch_size) if rendered else 0
    fresh = config.batch_size - rehearsed
    sampler = PairSampler(folder, fresh, config.seed)
    norms_from(network, crops(sampler, fabric.device))
    pretrained = network.encoder.lite0 if isinstance(network.encoder, LiteUNet) else None
    optimiser = adam(network, config.learning_rate, (0.9, 0.99), fabric, pretrained, ENCODER_SHARE)
    forward, stepper = fabric.setup(network, optimiser)
    network.train()
    emphasis, steps, began = losses.emphasis(*subject_share(folder)), TIMED_STEPS, time.monotonic()
    log: RunLog | None = None
    step = 0
    while step < steps and not stop.signum:
        lesson = prepare_view_lesson(sampler.frames(step), answers, Draws(config.seed, step, fresh))
        if rendered:
            lesson = with_truth(lesson, rendered.batch(step, rehearsed))
        terms = student_loss(forward(lesson.images), lesson, config.loss, emphasis)
        set_rate(optimiser, cosine_rate(step, max(steps, 2 * TIMED_STEPS), config.learning_rate, warmup=20))
        optimiser_step(fabric, forward, stepper, require_finite("adapt", step, terms), max_norm=STUDENT_NORM)
        step += 1
        if step == TIMED_STEPS and log is None:
            each = (time.monotonic() - began) / TIMED_STEPS
            steps = max(4 * TIMED_STEPS, round(60 * config.minutes / each))
            log = RunLog(config.out, "adapt", step, steps, max(1, steps // 20), fabric)
        elif log:
            log.add(step - 1, terms)
    if log:
        log.close()
    network.eval()
    return network


def open_rehearsal(config: AdaptConfig, parts: Sequence[str], size: int) -> RenderedLessons | None:
    """Raises StreampartsError for a model with other parts, and for a folder without rendered images."""
    if config.rehearsal is None:
        return None
    shards = read_shards(config.rehearsal)
    if tuple(parts) != shards[0].parts:
        raise StreampartsError(
            f"--rehearsal shows the parts {', '.join(shards[0].parts)}, which {config.model} has not"
        )
    return RenderedLessons(shards, size, config.seed)


def crops(sampler: PairSampler, device: torch.device, batches: int = 8) -> torch.Tensor:
    """(B, 3, S, S) some frames of the folder."""
    frames = np.concatenate([sampler.frames(step).frames for step in range(batches)])
    return to_images(torch.from_numpy(frames).to(device))


def sheet(student: Student, pairs: ByteArray, columns: int = 10) -> ByteArray:
    """Draw the parts of some frames in one row of images."""
    chosen = np.ascontiguousarray(pairs[spread(len(pairs), columns), 0])
    device = next(student.parameters()).device
    return contact_sheet(lambda images: read_out(*student(images)), chosen, device)[:TILE]


def table(before: Steadiness, after: Steadiness) -> list[str]:
    """One line for each figure that could be measured."""
    pairs = [(name, old, asdict(after)[name]) for name, old in asdict(before).items()]
    return [
        f"{name.replace('_', ' '):18} {old:.3f} before, {new:.3f} after"
        for name, old, new in pairs
        if old is not None and new is not None
    ]


def require_no_worse(before: Steadiness, after: Steadiness, area: tuple[float, float] | None = AREA) -> None:
    """Raise WorseError if a figure fell, or if the share of the area of before is outside of `area`."""
    for name in ("agreement", "consistency"):
        old, new = asdict(before)[name], asdict(after)[name]
        if new < old - WORSE:
            raise WorseError(f"{name} fell from {old:.2f} to {new:.2f}: the adapted model is not kept")
    share = after.foreground / max(before.foreground, 1e-6)
    if area and not area[0] <= share <= area[1]:
        raise WorseError(
            f"the parts cover {share:.2f} times the area of before: too different, so the adapted model is not kept"
        )


def keep_subject(config: AdaptConfig, known: SubjectSpec | None, network: Student, folder: ClipFolder) -> None:
    """Write subject.json: the subject score of the model, which was calibrated on more than these clips; a new one for
    a model without, and for one that has learned subjects which it did not find before."""
    path = config.out / SUBJECT
    if known is None or config.subject != MODEL:
        by = "the model itself" if config.subject == MODEL else folder.subject
        write_subject(path, network, folder, f"{by}; adapted without labels", config.seed)
        return
    source = f"{known.source}; adapted without labels"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(known, source=source))))


def say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)


def parse_config(args: Sequence[str]) -> AdaptConfig:
    """Parse the command's flags; see `parse_flags`."""
    return parse_flags(args, AdaptConfig, __doc__, "adapt")


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, 2 for wrong usage, or 128 + signal if stopped."""
    words = sys.argv[1:] if argv is None else argv
    config = parse_config(words)
    return trainer_exit_code(lambda: adapt(config), "--debug" in words)


if __name__ == "__main__":
    sys.exit(main())
