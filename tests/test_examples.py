"""The programs in examples/ match their docstrings. For those that receive messages, see test_message_examples.py."""

from __future__ import annotations

import json
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import streamparts
from tests.conftest import ROOT, environment
from tests.media import ArraySource, first_frames

EXAMPLES = ROOT / "examples"
PEOPLE = EXAMPLES / "people.mp4"
SHORT = ("webcam.py", "robot_arm.py", "animal_lab.py", "service.py", "follow_a_part.py")


def example(name: str, **variables: object) -> SimpleNamespace:
    """Names defined by the module."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / name), init_globals=variables or None))


def run_example(name: str, *words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", EXAMPLES / name, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=cwd, env=environment())


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 40 frames of the example, as they are."""
    return first_frames(PEOPLE, tmp_path_factory.mktemp("short") / "people.mp4", 40)


@pytest.mark.parametrize("name", [*SHORT, "notebook.ipynb", "learn.ipynb"])
def test_each_says_how_it_is_run(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    begin = text if name.endswith(".ipynb") else str(compile(text, name, "exec").co_consts[0])
    assert name in begin
    assert name.endswith(".ipynb") or text.count("\n") < 60


def test_webcam_tells_where_the_parts_are_and_how_old_that_is() -> None:
    result = run_example("webcam.py", "test://?size=320x240&seconds=0.5")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) == 15
    assert all(re.match(r" +\d\.\d{3} s +\d+ ms old: \w+", line) for line in lines)
    assert lines[3].split()[0] == "0.100"


def test_webcam_follows_a_live_source_until_it_is_interrupted() -> None:
    command = [sys.executable, "-W", "error", EXAMPLES / "webcam.py", "test://?size=320x240&live=1"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C
    )
    assert process.stdout is not None
    assert process.stdout.readline().endswith("\n")
    process.send_signal(2)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_webcam_without_a_source_says_so_in_one_line() -> None:
    result = run_example("webcam.py", "nothing.mp4")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "webcam: nothing.mp4: no such file\n"


@pytest.mark.parametrize("elbow_degrees", [-70.0, 10.0])
def test_robot_arm_closes_the_loop(elbow_degrees: float, capsys: pytest.CaptureFixture[str]) -> None:
    """Against a simulated robot that turns as commanded: the elbow stops at the target, from both sides."""
    pytest.importorskip("tyro")  # the puppet is drawn by train/
    from tests.puppet_robot import PuppetRobot, turned

    arm = example("robot_arm.py")
    robot = PuppetRobot(150, elbow_degrees)
    arm.hold(robot, robot.send, "puppet-human")
    lines = capsys.readouterr().out.splitlines()
    angles = [float(found[1]) for line in lines if (found := re.search(r"at (-?[\d.]+) degrees", line))]
    assert len(angles) == len(lines) == 150, "it is seen in every frame"
    assert all(re.search(r", \d+ ms after capture$", line) for line in lines)
    assert np.abs(np.array(angles[-15:]) - arm.TARGET).max() < 3, "what the camera says is at the target"
    was, turn = turned(angles[0] - arm.TARGET), robot.elbow_degrees - elbow_degrees
    assert abs(was) > 20, "there was something to do"
    assert turn == pytest.approx(-was, abs=8), "and the robot has truly turned by what was missing"
    assert max(map(abs, robot.commands)) <= arm.FASTEST
    assert robot.commands[-1] == 0, "it is stopped at the end"


def test_robot_arm_stops_the_motor_where_it_sees_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    arm, sent = example("robot_arm.py"), list[float]()
    arm.hold(ArraySource(4), sent.append)
    assert sent == [0, 0, 0, 0, 0]
    assert capsys.readouterr().out.count("hidden, speed 0.0") == 4


def test_robot_arm_stops_the_motor_where_the_camera_is_lost() -> None:
    arm, sent = example("robot_arm.py"), list[float]()
    with pytest.raises(streamparts.VideoError, match="lost"):
        arm.hold(ArraySource(9, fail_at=3, error=streamparts.VideoError("lost")), sent.append)
    assert sent == [0, 0, 0, 0]


def test_robot_arm_prints_what_it_would_send() -> None:
    result = run_example("robot_arm.py", "test://?size=320x240&seconds=0.2")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 6
    missing = run_example("robot_arm.py", "nothing.mp4")
    assert (missing.returncode, missing.stderr) == (1, "robot_arm: nothing.mp4: no such file\n")


@pytest.mark.slow
def test_animal_lab_makes_one_table_of_a_folder(short_clip: Path, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (videos / name).write_bytes(short_clip.read_bytes())
    for _ in range(2):  # the second time the tracks are there already
        result = run_example("animal_lab.py", videos, "-o", tmp_path / "table.csv")
        assert (result.returncode, result.stderr) == (0, "")
    table = pd.read_csv(tmp_path / "table.csv", index_col=["video", "name"])
    assert len(table) == 20
    assert np.array_equal(table.loc["a.mp4"], table.loc["b.mp4"])
    seen = list(streamparts.read_tracks(videos / "tracks" / "a.jsonl").frames())
    head = np.array([record.parts[3].center for record in seen])
    seconds = np.array([record.pts_seconds for record in seen])
    assert [record.parts[3].name for record in seen] == ["head"] * 40
    ways, steps = np.hypot(*np.diff(head, axis=0).T), np.diff(seconds)
    row = table.loc["a.mp4", "head"]
    assert row["seconds_seen"] == pytest.approx(seconds[-1] - seconds[0], abs=2e-3)
    assert row["mean_speed"] == pytest.approx(ways.sum() / steps.sum(), abs=0.01)
    assert row["seconds_moving"] == pytest.approx(steps[ways / steps > 0.05 * 480].sum(), abs=2e-3)


def test_animal_lab_counts_no_time_across_hidden_frames_and_segments() -> None:
    pd = pytest.importorskip("pandas")
    nan = float("nan")
    rows = [  # segment, frame, seconds, x: 10 px in 0.1 s, hidden, at rest, then a new segment elsewhere
        (0, 0, 0.0, 0.0),
        (0, 1, 0.1, 10.0),
        (0, 2, 0.2, nan),
        (0, 3, 0.3, 50.0),
        (0, 4, 0.5, 50.0),
        (1, 5, 0.0, 90.0),
        (1, 6, 0.4, 94.0),
    ]
    poses = pd.DataFrame(rows, columns=["segment", "frame", "pts_seconds", "x"])
    poses = poses.assign(part=0, name="paw", y=7.0, height=100, width=400)
    row = example("animal_lab.py").behaviour(poses, moving=0.5).loc["paw"]
    assert row["seconds_seen"] == pytest.approx(0.1 + 0.2 + 0.4)
    assert row["seconds_moving"] == pytest.approx(0.1), "100 px/s is above half of 100 px a second, 10 px/s is not"
    assert row["mean_speed"] == pytest.approx(14 / 0.7)


@pytest.mark.filterwarnings("ignore:Using `httpx` with:UserWarning")
def test_service_tracks_each_session_by_itself() -> None:
    """Through FastAPI's test client, which since Starlette 1.x would rather have another library."""
    pytest.importorskip("fastapi")
    testclient = pytest.importorskip("fastapi.testclient")
    import cv2

    service = example("service.py")
    client = testclient.TestClient(service.app)

    def post(session: str, body: bytes, seconds: object = None) -> Any:
        query = {} if seconds is None else {"seconds": seconds}
        return client.post(
            f"/sessions/{session}/frames", content=body, params=query, headers={"Content-Type": "image/jpeg"}
        )

    jpegs, expected = [], []
    tracker = streamparts.Tracker()
    for tracks in streamparts.track(PEOPLE):
        rgb = tracks.frame.image.to_ndarray(format="rgb24")  # type: ignore[union-attr]
        jpeg = cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()
        again = np.ascontiguousarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])
        jpegs.append(jpeg)
        expected.append(tracker.update(again, tracks.pts_seconds))
        if len(jpegs) == 3:
            break
    for tracks, jpeg in zip(expected, jpegs, strict=True):
        answer = post("left", jpeg, tracks.pts_seconds)
        assert answer.status_code == 200
        frame = answer.json()
        assert frame["frame"] == tracks.index
        assert frame["pts_seconds"] == pytest.approx(tracks.pts_seconds, abs=1e-6)
        assert [part["name"] for part in frame["parts"]] == list(tracks.names)
        assert np.allclose([part["center"] for part in frame["parts"]], tracks.centers, atol=0.05)
        assert np.allclose([part["affine"] for part in frame["parts"]], tracks.affines, atol=0.05)
        assert [part["visible"] for part in frame["parts"]] == tracks.visible.tolist()
    assert post("right", jpegs[0]).json()["frame"] == 0, "another session begins anew, with times of its own"
    assert post("right", jpegs[1]).json()["frame"] == 1
    late = post("left", jpegs[0], 0.0)
    assert late.status_code == 400
    assert "times must increase" in late.json()["detail"]
    assert post("left", b"no picture", 1.0).json() == {"detail": "no picture that can be read"}
    assert post("left", jpegs[0], "nan").status_code == 422
    assert post("left", jpegs[0], 1.0).json()["frame"] == 3, "what was refused has changed nothing"
    for number in range(service.MAX_SESSIONS):
        assert post(f"camera{number}", jpegs[0], 0.0).status_code == 200
    assert len(service.trackers) == service.MAX_SESSIONS
    assert post("left", jpegs[0], 0.0).json()["frame"] == 0, "it had waited longest and was given up"


def test_service_refuses_a_small_file_that_claims_to_be_a_huge_picture(tmp_path: Path) -> None:
    """In a separate process, because OpenCV reads the limit when it is loaded."""
    pytest.importorskip("fastapi")
    import cv2

    jpeg = bytearray(cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    size = jpeg.find(b"\xff\xc0") + 5
    jpeg[size : size + 4] = (60_000).to_bytes(2, "big") * 2
    (tmp_path / "huge.jpg").write_bytes(jpeg)
    code = f"""
import runpy
from fastapi import HTTPException
service = runpy.run_path({str(EXAMPLES / "service.py")!r})
try:
    service["track"]("left", open({str(tmp_path / "huge.jpg")!r}, "rb").read(), 0.0)
except HTTPException as error:
    print(error.status_code, error.detail)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert result.stdout == "400 no picture that can be read\n", result.stderr


def test_notebook_runs_from_the_first_cell_to_the_last(
    short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cells are run one after the other; a kernel would bring a dozen packages for the same."""
    pytest.importorskip("pandas")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    (tmp_path / "people.mp4").write_bytes(short_clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(len(pyplot.gca().lines)) or pyplot.close())
    for number, cell in enumerate(notebook()["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"notebook.ipynb, cell {number}", "exec"), namespace)
    assert shown[0] == namespace["tracks"].visible.sum(), "an ellipse for each part that is seen"
    assert shown[1] == 10, "a path for each part"
    poses = namespace["poses"]
    assert len(poses) == 400
    assert 200 < poses["speed"].notna().sum() <= 390, "none where a part is hidden in this frame or the one before"
    assert 0 < poses["speed"].median() < 2000


@pytest.mark.slow
def test_the_notebook_that_learns_adapts_and_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    first_frames(PEOPLE, tmp_path / "people.mp4", 16)
    monkeypatch.chdir(tmp_path)
    shown = []
    monkeypatch.setattr(
        pyplot, "show", lambda: shown.append(pyplot.gca().images[0].get_array().shape) or pyplot.close()
    )
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(notebook("learn.ipynb")["cells"]):
        if cell["cell_type"] == "code":
            code = "".join(cell["source"]).replace('"people.mp4", 5', '"people.mp4", 0.02')
            exec(compile(code, f"learn.ipynb, cell {number}", "exec"), namespace)
    assert (namespace["adapted"].began_as, namespace["own"].began_as) == ("person", "")
    assert "agreement" in json.dumps(namespace["report"])
    assert len(shown) == 2 and all(width > 100 for _, width, _ in shown), "both sheets are shown"
    assert capfd.readouterr().out.count("visible in a frame") == 2


@pytest.mark.parametrize("name", ["notebook.ipynb", "learn.ipynb"])
def test_notebook_has_no_outputs_and_the_form_that_jupyter_writes(name: str) -> None:
    content = notebook(name)
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    for cell in content["cells"]:
        assert cell["metadata"] == {}
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
    assert (EXAMPLES / name).read_text(encoding="utf-8") == json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def notebook(name: str = "notebook.ipynb") -> Any:
    return json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
