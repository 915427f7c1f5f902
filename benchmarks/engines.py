"""CPU backends side by side on one network: python -m benchmarks.engines

ONNX Runtime and OpenVINO run the bundled model in fp32 and int8. torch can only build models that describe their
network, so it runs the same network untrained, beside the two others. Measured as by `streamparts bench`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.inputs import in_int8, random_student
from streamparts.backends.loading import load_model
from streamparts.runtime.bench import bench

BACKENDS = ("onnxruntime", "openvino", "torch-cpu")


def measure(batches: Sequence[int], seconds: float) -> dict[str, object]:
    """Rows as in streamparts.runtime.bench.BenchReport, each with its model, and reasons for missing ones."""
    rows, not_timed = list[dict[str, object]](), dict[str, str]()
    threads: str | int | float = 1
    with tempfile.TemporaryDirectory() as folder:
        shipped = load_model("puppet-human")
        untrained = random_student("small", shipped.spec.num_parts, Path(folder))
        for name, bundle, backends in (
            ("shipped, fp32", shipped, BACKENDS[:2]),
            ("shipped, int8", in_int8("puppet-human", Path(folder)), BACKENDS[:2]),
            ("the same network untrained, fp32", untrained, BACKENDS),
        ):
            report = bench(bundle, backends=backends, batches=batches, seconds=seconds)
            rows += [{"model": name, **dataclasses.asdict(row)} for row in report.rows]
            not_timed |= {f"{name}: {backend}": reason for backend, reason in report.not_timed.items()}
            threads = report.machine["threads"]
    return {"threads": threads, "rows": rows, "not timed": not_timed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=1.5, help="duration of each measurement")
    args = parser.parse_args()
    print(json.dumps(measure(args.batches, args.seconds), indent=2))


if __name__ == "__main__":
    main()
