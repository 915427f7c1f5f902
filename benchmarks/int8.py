"""How far the bundled int8 models are from their fp32 forms: python -m benchmarks.int8

Both see the same frames of an example clip, whole and one by one, without following.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.place import ROOT
from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.shipped import model_names
from streamparts.parity.agreement import compare, in_turn
from streamparts.parity.sample_frames import sample_frames

CLIPS = {"person": "people", "rodent-top": "rodent"}
"""Examples of models whose name is not their clip's."""
SUFFIX = "-int8"


def measure(num_frames: int) -> dict[str, str]:
    """Return the agreement of each pair in words."""
    out = {}
    for name in (each.removesuffix(SUFFIX) for each in model_names() if each.endswith(SUFFIX)):
        exact, other = load_model(name), load_model(name + SUFFIX)
        clip = ROOT / "examples" / f"{CLIPS.get(name, name)}.mp4"
        frames = sample_frames(Path(clip), exact.spec.input_hw, num_frames)
        runs = [OnnxRuntimeBackend(each).run for each in (exact, other)]
        compared = compare(runs[0], runs[1], frames.images, exact.spec, in_turn(len(frames.names), (1,)))
        out[name] = compared.agreement().describe()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-frames", type=int, default=64, help="per clip (default: %(default)s)")
    print(json.dumps(measure(parser.parse_args().num_frames), indent=1))


if __name__ == "__main__":
    main()
