"""Evaluate a model on labelled sets.

MODEL is an .onnx file, the name of a bundled model, the folder of a training run (its student), the teacher.safetensors
in that folder, or a folder of train-dff. Figures are printed and, with --out, written to a JSON file; --pictures writes
a contact sheet per set. The papers' foreground IoU (background only above a probability of 0.8) needs soft masks: it is
available for runs, not for .onnx files, which give hard labels.

With --crf each set has a second column: the same after a dense CRF that uses the image. It starts from the soft masks;
for an .onnx file, each label is assumed to have a probability of 0.9.
"""

# judging/ defines the figures (metrics.py, keypoints.py, ridge.py, landmarks.py, sections.py) and the CRF (crf.py).

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from streamparts.arrays import ByteArray
from streamparts.learning.trainers import exit_code, trainer_parser

from .frames.spread import spread
from .judging.crf import refine_found
from .judging.finding import open_finder
from .judging.found import FoundParts
from .judging.landmarks import LandmarkScore, Normaliser, split_frames
from .judging.observation import observe
from .judging.sections import Section, landmark_scores, report
from .judging.side_by_side import SheetFrame, write_sheet
from .labels import KINDS, EvaluationSet, LabelledFrame, LabelsError, PuppetOptions, open_set

NUM_PICTURES = 12
"""Number of frames on a sheet, spread over the set."""

LEAST_SQUARES = "least squares (the papers' metric; overfits on few clips), features"
ROWS = (
    ("truth", "truth"),
    ("frames", "frames"),
    ("foreground IoU", "foreground.iou"),
    ("  mean of frames", "foreground.iou_mean"),
    ("  the same, rule of 0.8", "foreground.iou_mean_08"),
    ("  NMI of the union", "foreground.nmi"),
    ("  ARI of the union", "foreground.ari"),
    ("part IoU, one to one", "parts.iou"),
    ("part IoU, merged", "parts.merged_iou"),
    ("NMI", "parts.nmi"),
    ("ARI", "parts.ari"),
    ("  NMI on the subject", "parts.foreground_nmi"),
    ("  ARI on the subject", "parts.foreground_ari"),
    ("keypoints inside", "keypoints.inside"),
    ("  in their own part, sides joined", "keypoints.own.joined"),
    ("  sides apart", "keypoints.own.apart"),
    ("  arms and legs, sides joined", "keypoints.own.limbs.joined"),
    ("  arms and legs, sides apart", "keypoints.own.limbs.apart"),
    ("  arms and legs, side right", "keypoints.own.sides_right"),
    ("  the same, a clip's exchanged", "keypoints.own.sides_right_clipwise"),
    ("NMI at keypoints inside", "keypoints.nmi"),
    ("  ARI", "keypoints.ari"),
    ("  NMI at all", "keypoints.nmi_all"),
    ("  ARI at all", "keypoints.ari_all"),
    ("NMI, 13 groups, inside", "keypoints.groups.nmi"),
    ("  ARI", "keypoints.groups.ari"),
    ("  NMI at all", "keypoints.groups.nmi_all"),
    ("NMI, 7 groups, sides joined", "keypoints.joined.nmi"),
    ("  NMI at all", "keypoints.joined.nmi_all"),
    ("landmarks, left out", "ridge.left_out"),
    ("landmarks by ridge, px at 256", "ridge.hard.mean_px256"),
    ("  from soft masks", "ridge.soft.mean_px256"),
    ("  from the poses", "ridge.affine.mean_px256"),
    ("  found silhouette only", "ridge.silhouette_found.mean_px256"),
    ("  true silhouette only", "ridge.silhouette_true.mean_px256"),
    ("  constant", "ridge.constant.mean_px256"),
    ("landmarks by ridge, px", "ridge.hard.mean_px"),
    ("  from the poses", "ridge.affine.mean_px"),
    ("  found silhouette only", "ridge.silhouette_found.mean_px"),
    ("  true silhouette only", "ridge.silhouette_true.mean_px"),
    ("  constant", "ridge.constant.mean_px"),
    (LEAST_SQUARES, "landmarks.num_features"),
    ("  frames, fit", "landmarks.fit_frames"),
    ("  frames, test", "landmarks.test_frames"),
    ("  sum, px at 256", "landmarks.hard.sum_px256"),
    ("    from the poses", "landmarks.affine.sum_px256"),
    ("    constant", "landmarks.constant.sum_px256"),
    ("  mean, px at 256", "landmarks.hard.mean_px256"),
    ("    from soft masks", "landmarks.soft.mean_px256"),
    ("    from the poses", "landmarks.affine.mean_px256"),
    ("    constant", "landmarks.constant.mean_px256"),
    ("  mean, px", "landmarks.hard.mean_px"),
    ("    from the poses", "landmarks.affine.mean_px"),
    ("    constant", "landmarks.constant.mean_px"),
    ("  % of --normalise-by", "landmarks.hard.normalised_percent"),
    ("    from soft masks", "landmarks.soft.normalised_percent"),
    ("    from the poses", "landmarks.affine.normalised_percent"),
    ("    constant", "landmarks.constant.normalised_percent"),
    ("centre error, % of side", "pose.center_share"),
    ("centre error, px", "pose.center_px"),
    ("angle error, degrees", "pose.angle_degrees"),
    ("  without each part's own", "pose.steady_angle_degrees"),
    ("log-scale error", "pose.log_scale"),
    ("jitter at rest, px", "time.jitter_px"),
    ("switches per 10,000 frames", "time.switches_per_10000_frames"),
)
"""Printed name of each figure, and its place in the report."""


def evaluate(
    finder: Callable[[ByteArray], FoundParts],
    labelled: EvaluationSet,
    found_names: tuple[str, ...],
    seed: int,
    sheet: Path | None = None,
    normaliser: Normaliser | None = None,
) -> Section:
    """Run the model on a set and score it. `found_names` are the names of its parts; `seed` splits the frames for the
    landmark regression."""
    samples: dict[int, SheetFrame] = {}
    chosen = set(spread(labelled.num_frames, NUM_PICTURES) if sheet else [])

    def found() -> Iterator[tuple[LabelledFrame, FoundParts]]:
        frames = tqdm(labelled.read(), labelled.name, labelled.num_frames, unit="frame", disable=None, leave=False)
        for row, frame in enumerate(frames):
            parts = finder(frame.image)
            if row in chosen:
                samples[row] = SheetFrame(frame, parts)
            yield frame, parts

    observed = observe(found(), len(labelled.part_names))
    fit = split_frames(observed.clips, seed)
    scores = landmark_scores(observed, fit, normaliser)
    if sheet:
        shown = [_with_landmarks(sample, scores, row, bool(fit[row])) for row, sample in samples.items()]
        write_sheet(sheet, shown, observed.parts.match() if observed.parts else None)
    return report(labelled, observed, scores, fit, found_names)


def _with_landmarks(sample: SheetFrame, scores: dict[str, LandmarkScore], row: int, fitted: bool) -> SheetFrame:
    return sample if fitted or not scores else sample.with_prediction(scores["hard"].predicted_px[row])


def table(sets: dict[str, Section]) -> str:
    """Build a table with one column per set and one line per figure."""
    columns = {name: [_cell(section, path) for _, path in ROWS] for name, section in sets.items()}
    lines = [["", *columns], *([name, *cells] for (name, _), *cells in zip(ROWS, *columns.values(), strict=True))]
    kept = [line for line in lines if any(cell != "-" for cell in line[1:])]
    widths = [max(map(len, column)) for column in zip(*kept, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in kept
    )


def _cell(section: Section, path: str) -> str:
    value: object = section
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, float):
        return f"{100 * value:.2f}" if path == "pose.center_share" else f"{value:.3f}" if value < 10 else f"{value:.1f}"
    return "-" if value is None else str(value)


def rounded(value: object, digits: int = 5) -> object:
    """Round floats, and replace nan by None, for valid JSON."""
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, float):
        return round(value, digits) if np.isfinite(value) else None
    return value


def _unique_name(name: str, taken: dict[str, Section]) -> str:
    """Return a unique name: the second of two sets with equal names gets a number."""
    names = [name, *(f"{name}#{number}" for number in range(2, len(taken) + 2))]
    return next(candidate for candidate in names if candidate not in taken)


def _normaliser(text: str | None, labelled: EvaluationSet) -> Normaliser | None:
    """Return the normaliser for a set, None if it has no named landmarks. Raises ValueError if it lacks these
    landmarks."""
    return Normaliser.parse(text, labelled.landmark_names) if text and labelled.landmark_names else None


EXAMPLES = """examples:
  streamparts evaluate puppet-human puppets
  streamparts evaluate mouse.onnx dlc:labels/mouse --pictures sheets --out figures.json
  streamparts evaluate runs/horse horses:pictures/horses,test --crf
"""


def parser() -> argparse.ArgumentParser:
    kinds = "\n".join(f"  {text}" for text in KINDS.values())
    out = trainer_parser("evaluate", __doc__ or "", f"sets:\n{kinds}\n\n{EXAMPLES}")
    out.add_argument(
        "model", metavar="MODEL", help=".onnx file, name of a bundled model, folder or teacher.safetensors of a run"
    )
    out.add_argument("sets", metavar="SET", nargs="+", help="labelled set, in one of the forms listed below")
    out.add_argument("--out", type=Path, help="also write all figures to this JSON file")
    out.add_argument(
        "--pictures", type=Path, metavar="DIR", help="write a contact sheet per set: ground truth beside prediction"
    )
    out.add_argument("--max-frames", type=int, default=400, help="frames per set, spread evenly (default: %(default)s)")
    out.add_argument(
        "--seed", type=int, default=0, help="seed of the split for the landmark regression (default: %(default)s)"
    )
    out.add_argument("--crf", action="store_true", help="also compute every figure after a dense CRF, see above")
    out.add_argument(
        "--normalise-by",
        metavar="A,B",
        help="landmark distances also in percent of that between two landmarks (names or indices), or of their 'box'",
    )
    options = PuppetOptions()
    for flag, what in (("num_clips", "clips"), ("num_frames", "frames per clip"), ("size", "side in pixels")):
        name, value = f"--puppet-{flag.replace('_', '-')}", getattr(options, flag)
        out.add_argument(name, type=int, default=value, help=f"{what}, of rendered puppets (default: %(default)s)")
    return out


def run(args: argparse.Namespace) -> None:
    """Evaluate all sets. Everything is opened before the first frame is read, so a wrong name fails at once."""
    if min(args.max_frames, args.puppet_num_clips, args.puppet_num_frames) < 1:
        raise LabelsError("--max-frames and the numbers of puppets must be at least 1")
    for path in (args.out.parent if args.out else None, args.pictures):
        if path and not path.is_dir():
            raise LabelsError(f"{path} is not a folder; create it first")
    finder = open_finder(args.model)
    puppets = PuppetOptions(args.puppet_num_clips, args.puppet_num_frames, args.puppet_size)
    labelled_sets = [open_set(text, args.max_frames, puppets) for text in args.sets]
    normalisers = [_normaliser(args.normalise_by, labelled) for labelled in labelled_sets]

    def refined(image: ByteArray) -> FoundParts:
        return refine_found(finder(image), image)

    finders: dict[str, Callable[[ByteArray], FoundParts]] = {"": finder, **({" +CRF": refined} if args.crf else {})}
    sections: dict[str, Section] = {}
    for labelled, normaliser in zip(labelled_sets, normalisers, strict=True):
        unique = _unique_name(labelled.name, sections)
        for suffix, find in finders.items():
            name = unique + suffix
            sheet = args.pictures / f"{re.sub('[:/#, ]', '_', name)}.png" if args.pictures else None
            sections[name] = evaluate(find, labelled, finder.part_names, args.seed, sheet, normaliser)
    print(table(sections))
    if args.out:
        result = {"model": finder.description, "parts": list(finder.part_names), "seed": args.seed}
        result |= {"normalise_by": args.normalise_by, "sets": sections}
        args.out.write_text(json.dumps(rounded(result), indent=2) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, or 2 for wrong usage."""
    args = parser().parse_args(argv)
    return exit_code(lambda: run(args), args.debug)


if __name__ == "__main__":
    raise SystemExit(main())
