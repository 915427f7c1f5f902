"""Two cameras -> streamparts' OpenPose files with --joints -> Pose2Sim -> TRC, compared with the truth:
python -m benchmarks.pose2sim --python PYTHON_WITH_POSE2SIM [--parts]

An arm of four bones moves before two simulated cameras; each camera's tracks have its joints. The steps are those of
docs/motion-capture.md. Pose2Sim is installed elsewhere, because it brings another OpenCV.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.place import commit
from streamparts.formats import convert
from tests.made_tracks import header_line, part_line, write_lines

NAMES = ("upper_arm", "forearm", "palm", "finger")
LENGTHS = (0.30, 0.26, 0.10, 0.08)
"""Metres, from the shoulder on."""
RATE, NUM_FRAMES, WIDTH, HEIGHT, FOCAL = 30, 60, 1280, 720, 1000.0
DISTANCE = 4.0
"""Metres between the cameras and the shoulder."""
ANGLES = {"cam1": -0.5, "cam2": 0.6}
"""Radians around the vertical axis."""
Z_UP = [2, 0, 1]
"""Pose2Sim calibrates in a world where z is up, and writes a TRC where y is: x, y, z there are z, x, y here."""

RUN = """
import sys, tomllib
from pathlib import Path
import Pose2Sim as package
from Pose2Sim import Pose2Sim
demo = tomllib.loads((Path(package.__file__).parent / "Demo_SinglePerson" / "Config.toml").read_text("utf-8"))
demo["project"].update(project_dir=sys.argv[1], frame_rate=int(sys.argv[2]))
demo["pose"]["pose_model"] = "CUSTOM"
tree = Path(sys.argv[1]) / "pose" / "cam1_json" / "pose2sim.toml"
demo["pose"]["CUSTOM"] = tomllib.loads(tree.read_text("utf-8"))["pose"]["CUSTOM"]
demo["triangulation"]["make_c3d"] = False
Pose2Sim.triangulation(demo)
"""


def arm(second: float) -> Any:
    """(5, 3) metres: the shoulder, three joints and the tip; y is up."""
    turns = np.cumsum([0.4 * np.sin(3 * second), 0.7 * np.sin(5 * second + 1), 0.3, 0.4 * np.sin(7 * second)])
    lift = 0.4 * np.sin(2 * second)
    bones = [
        length * np.array([np.cos(turn) * np.cos(lift), np.sin(turn), np.cos(turn) * np.sin(lift)])
        for length, turn in zip(LENGTHS, turns, strict=True)
    ]
    return np.cumsum([[0.0, 1.2, 0.0], *bones], axis=0)


def camera(angle: float) -> tuple[Any, Any]:
    """Rotation (3, 3) and translation (3,) from the calibration's world, where z is up, into a camera that looks at the
    shoulder, with y down."""
    eye = np.array([DISTANCE * np.sin(angle), 1.2, DISTANCE * np.cos(angle)])
    forward = np.array([0.0, 1.2, 0.0]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 1.0, 0.0))
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return rotation[:, Z_UP], -rotation @ eye


def seen(points: Any, angle: float) -> Any:
    """(N, 3) metres -> (N, 2) pixels."""
    rotation, translation = camera(angle)
    inside = points[:, Z_UP] @ rotation.T + translation
    return FOCAL * inside[:, :2] / inside[:, 2:] + (WIDTH / 2, HEIGHT / 2)


def write_view(path: Path, angle: float) -> None:
    """Tracks of one camera: parts at the middle of their bones, and the joints between them."""
    head = header_line(NAMES, (1, RATE))
    head["source"] |= {"height": HEIGHT, "width": WIDTH, "rate": [RATE, 1]}
    lines = [head]
    for number in range(NUM_FRAMES):
        places = arm(number / RATE)
        middles = seen((places[1:] + places[:-1]) / 2, angle)
        parts = [
            part_line(k, name, x, y, True) for k, (name, (x, y)) in enumerate(zip(NAMES, middles.tolist(), strict=True))
        ]
        joints = [
            {"name": f"{NAMES[k]}-{NAMES[k + 1]}", "parts": [k, k + 1], "x": x, "y": y, "confidence": 0.9}
            for k, (x, y) in enumerate(seen(places[1:-1], angle).tolist())
        ]
        lines.append(
            {
                "type": "frame",
                "frame": number,
                "pts": number,
                "pts_seconds": number / RATE,
                "parts": parts,
                "joints": joints,
            }
        )
    write_lines(path, lines)


def calibration() -> str:
    """Pose2Sim's Calib.toml. Rotations as vectors: the axis times the angle."""
    tables = []
    for name, angle in ANGLES.items():
        rotation, translation = camera(angle)
        turn = cv2.Rodrigues(rotation)[0].ravel().tolist()
        tables.append(
            f'[{name}]\nname = "{name}"\nsize = [{WIDTH}.0, {HEIGHT}.0]\n'
            f"matrix = [[{FOCAL}, 0.0, {WIDTH / 2}], [0.0, {FOCAL}, {HEIGHT / 2}], [0.0, 0.0, 1.0]]\n"
            f"distortions = [0.0, 0.0, 0.0, 0.0]\nrotation = {json.dumps(turn)}\n"
            f"translation = {json.dumps(translation.tolist())}\nfisheye = false\n"
        )
    return "\n".join([*tables, "[metadata]\nadjusted = false\nerror = 0.0\n"])


def read_trc(path: Path) -> tuple[list[str], Any]:
    """Marker names, and (F, N, 3) metres."""
    lines = path.read_text(encoding="utf-8").splitlines()
    names = [name for name in lines[3].split("\t")[2:] if name]
    rows = [[float(cell) for cell in line.split("\t")[2 : 2 + 3 * len(names)]] for line in lines[5:] if line.strip()]
    return names, np.array(rows).reshape(len(rows), len(names), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="an interpreter that has Pose2Sim")
    parser.add_argument("--parts", action="store_true", help="the parts' centres instead of the joints")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "calibration").mkdir()
        (folder / "calibration" / "Calib.toml").write_text(calibration(), encoding="utf-8")
        (folder / "pose").mkdir()
        for view, angle in ANGLES.items():
            write_view(folder / f"{view}.jsonl", angle)
            target = folder / "pose" / f"{view}_json"
            convert(folder / f"{view}.jsonl", target, "openpose", joints=not args.parts)
        subprocess.run([args.python, "-c", RUN, str(folder), str(RATE)], check=True, cwd=folder)
        (trc,) = (folder / "pose-3d").glob("*.trc")
        names, found = read_trc(trc)
    places = np.stack([arm(number / RATE) for number in range(NUM_FRAMES)])
    truth = (places[:, 1:] + places[:, :-1]) / 2 if args.parts else places[:, 1:-1]
    error = np.linalg.norm(found - truth[: len(found)], axis=2)
    print(f"{trc.name}: {len(found)} frames of {', '.join(names)}")
    print(f"distance to the truth: median {1e3 * np.median(error):.3f} mm, at most {1e3 * error.max():.3f} mm")
    print(f"Commit {commit()}.")


if __name__ == "__main__":
    main()
