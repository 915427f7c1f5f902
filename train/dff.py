"""Deep feature factorisation, the baseline of SCOPS: Collins, Achanta and Suesstrunk, "Deep feature factorization for
concept discovery", ECCV 2018.

The coarse features V (cells of all images, C) of a trained network are non-negative, and V = A H with few factors
(non-negative matrix factorisation) makes each row of H a concept and each column of A its heat in every cell. The parts
of a new image are the least-squares solution A >= 0 with fixed H.

The paper does not define parts; our rule is: K + num_background factors are fitted; those with the largest share of
their heat along the image borders are background, the other K are parts. Each heat is divided by its 99th percentile
over the fitted images. A pixel is background if every part is below `threshold`, or a background factor exceeds them
all: the foreground is the union of the parts above the threshold.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tqdm import tqdm

from streamparts.learning.trainers import exit_code, trainer_parser

from .judging.factors import DffConfig, fit, open_features, save
from .labels.pictures import half_of, list_images, read_rgb

EXAMPLES = """examples:
  streamparts train-dff pictures/horses --out runs/horse-dff --features squeezenet.npz
"""
_MEANINGS = {
    "num_parts": "number of parts",
    "num_background": "number of factors besides the parts",
    "threshold": "share of a part's 99th percentile from which a cell belongs to it",
    "image_size": "side of the square that images are letterboxed into, in pixels",
    "num_iterations": "iterations of the factorisation",
    "seed": "seed of the initial factors",
}


def parser() -> argparse.ArgumentParser:
    out = trainer_parser("train-dff", __doc__ or "", EXAMPLES)
    out.add_argument("images", metavar="IMAGES", type=Path, help="folder of images, and of folders of them")
    out.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the factors")
    out.add_argument(
        "--features",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="weights of the pretrained network: .npz, see docs/train.md",
    )
    out.add_argument("--half", default="", help="fit: only every second image by name, as in horses:FOLDER,fit")
    for name, value in asdict(DffConfig()).items():
        flag = f"--{name.replace('_', '-')}"
        out.add_argument(flag, type=type(value), default=value, help=f"{_MEANINGS[name]} (default: %(default)s)")
    return out


def run(args: argparse.Namespace) -> None:
    config = replace(DffConfig(), **{name: getattr(args, name) for name in asdict(DffConfig())})
    paths = half_of(list_images(args.images, below=True), args.half)
    pictures = (read_rgb(path) for path in tqdm(paths, "features", unit="picture", disable=None))
    factors = fit(pictures, open_features(args.features), config)
    save(args.out, factors, config, args.features, f"{len(paths)} of {args.images.name}")
    shares = ", ".join(f"{share:.2f}" for share in factors.border_shares)
    print(f"{args.out}: {len(paths)} images; share of heat at the borders, parts first: {shares}")


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, or 2 for wrong usage."""
    args = parser().parse_args(argv)
    return exit_code(lambda: run(args), args.debug)


if __name__ == "__main__":
    raise SystemExit(main())
