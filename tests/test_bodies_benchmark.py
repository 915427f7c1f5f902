"""`python -m benchmarks.bodies` on a few tiny rendered clips, and its figures on labels of known outcome."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("anny", reason="people are rendered from anny's bodies; pip install 'streamparts[bodies]'")
pytest.importorskip("numba", reason="the renderer's loops are compiled; pip install 'streamparts[bodies]'")
pytest.importorskip("torch")

from benchmarks.bodies import __main__ as program
from benchmarks.bodies import sets, training
from benchmarks.bodies.figures import Tally, as_true, named
from benchmarks.bodies.judging import Judged, judge
from benchmarks.bodies.sets import SETS, TRAINING, UNSEEN, Clips, open_set
from streamparts.data import Tracks
from streamparts.errors import StreampartsError
from streamparts.tracking.smoothing import Smoothing
from train import assembly, scops
from train.bodies.cast import People
from train.bodies.mesh import PARTS, load_bodies
from train.bodies.pose import unit
from train.drawing.puppet_clips import load_truth

NAMES = ("head", "left_arm", "right_arm")
SEEN = [np.ones(3)]
STRIPES = np.repeat(np.array([[0, 1, 2, 3]], np.uint8), 4, axis=0)
"""A picture (4, 4) of background, head and both arms."""
SWAPPED = np.array([0, 1, 3, 2], np.uint8)[STRIPES]


def test_figures_of_labels_that_are_right_but_for_their_sides() -> None:
    tally = Tally(NAMES)
    for clip in ([STRIPES, STRIPES, SWAPPED], [SWAPPED]):
        tally.begin_clip()
        for found in clip:
            tally.add([STRIPES], SEEN, found)
    figures = tally.figures()
    assert figures["frames"] == 4
    assert figures["foreground IoU"] == 1 and figures["false parts, % of the background"] == 0
    assert figures["part IoU"] == pytest.approx((1 + 1 / 3 + 1 / 3) / 3, abs=1e-3)
    assert figures["part IoU, sides merged"] == 1
    assert figures["side right"] == 0.5
    assert figures["switches of side per 10,000 frames"] == 5000  # one in two steps; another clip is none


def test_a_hidden_limb_and_a_tie_are_no_switch_but_what_follows_them_may_be_one() -> None:
    hidden, tie = [np.array([1, 0.1, 1.0])], STRIPES.copy()
    tie[:2, 2:] = SWAPPED[:2, 2:]
    tally = Tally(NAMES)
    tally.begin_clip()
    for found, seen in ((STRIPES, SEEN), (SWAPPED, hidden), (tie, SEEN), (STRIPES, SEEN)):
        tally.add([STRIPES], seen, found)
    assert tally.switches == 0
    tally.add([STRIPES], hidden, SWAPPED)
    tally.add([STRIPES], SEEN, SWAPPED)
    assert tally.switches == 1 and tally.steps == 5


def test_parts_without_a_match_count_as_foreground_and_as_no_part() -> None:
    match = named(("right_arm", "tail", "head"), NAMES)
    assert match.tolist() == [2, -1, 0]
    found = as_true(np.array([[0, 1, 2, 3]], np.uint8), match, 3)
    assert found.tolist() == [[0, 3, 4, 1]]
    tally = Tally(NAMES)
    tally.begin_clip()
    tally.add([STRIPES[:1]], SEEN, np.array([[4, 1, 4, 3]], np.uint8))
    figures = tally.figures()
    assert figures["foreground IoU"] == 0.75 and figures["false parts, % of the background"] == 100
    assert figures["part IoU"] == pytest.approx(2 / 3, abs=1e-3)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a few bodies."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "NUM_BODIES", 2)
        for seed in (UNSEEN, TRAINING):
            load_bodies(folder / "bodies", 2, seed)
    return folder


@pytest.fixture(autouse=True)
def few_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "NUM_BODIES", 2)


def test_clips_are_made_once_and_equal_numbers_give_equal_ones(cache: Path, tmp_path: Path) -> None:
    clips = open_set(SETS["one-colour"], cache, 1, 2, 64)
    (video,) = clips.videos
    before = video.stat().st_mtime_ns
    assert open_set(SETS["one-colour"], cache, 2, 2, 64).videos[0] == video and video.stat().st_mtime_ns == before
    (tmp_path / "bodies").symlink_to(cache / "bodies")
    again = open_set(SETS["one-colour"], tmp_path, 1, 2, 64)
    np.testing.assert_array_equal(load_truth(again.videos[0]).labels, load_truth(video).labels)
    assert not np.array_equal(load_truth(clips.videos[0].with_stem("clip_0001")).labels, load_truth(video).labels)


def test_every_set_does_what_its_name_says(cache: Path) -> None:
    people, seconds = People(load_bodies(cache / "bodies", 2, UNSEEN)), np.arange(0, 3, 0.5)
    rng = np.random.default_rng(0)
    made = {name: each.scene(rng, people, seconds) for name, each in SETS.items()}
    (turner,), _ = made["turning"]
    angles = np.unwrap([np.arctan2(*unit(figure.facing)[1::-1]) for figure in turner.figures])
    assert abs(np.degrees(angles[-1] - angles[0])) > 90
    (sitter,), beside = made["self-occlusion"]
    assert np.mean([abs(figure.facing @ beside.turned[2]) for figure in sitter.figures]) < 0.8
    (near,), camera = made["perspective"]
    assert min(float(camera.project(figure.vertices)[:, 2].min()) for figure in near.figures) < 1.0
    (plain,), _ = made["one-colour"]
    trunk = plain.figures[0].parts == PARTS.index("torso")
    colour, _ = plain.looks.paint(*(v[trunk] for v in (plain.figures[0].places, plain.figures[0].materials[:, 0],
                                                      plain.figures[0].rest)))  # fmt: skip
    leg = plain.figures[0].parts == PARTS.index("left_shin")
    shoe, _ = plain.looks.paint(*(v[leg] for v in (plain.figures[0].places, plain.figures[0].materials[:, 0],
                                                  plain.figures[0].rest)))  # fmt: skip
    np.testing.assert_allclose(np.median(colour, 0), np.median(shoe, 0), atol=1e-6)
    (one, other), _ = made["crossing"]
    order = [float(np.sign(a.joints[0, 0] - b.joints[0, 0])) for a, b in zip(one.figures, other.figures, strict=True)]
    assert order[0] == -order[-1] != 0


def test_of_two_people_everybody_is_seen_and_followed(cache: Path, model_path: Path) -> None:
    clips = open_set(SETS["crossing"], cache, 1, 3, 64)
    first, second = clips.truths(clips.videos[0])
    assert first.labels.any() and second.labels.any() and not ((first.labels > 0) & (second.labels > 0)).any()
    model = Judged.load("tiny", str(model_path), PARTS)
    assert model.match is None, "it knows no people's parts"
    found = judge(model.matched(Clips(clips.videos, 1)), clips)
    assert found["frames"] == 3 and "people found" not in found, "it has no subject, so it follows nobody"
    followed = judge(Judged.load("person", "person", PARTS), clips)
    assert 0 <= followed["people found"] <= 1 and followed["switches of people per 10,000 frames"] >= 0


@pytest.mark.parametrize(
    ("flags", "smoothing"),
    [([], None), (["--smooth"], Smoothing()), (["--steady-sides"], Smoothing(side_seconds=0.3))],
)
def test_models_run_smoothed_as_asked(
    flags: list[str], smoothing: Smoothing | None, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = program.asked_of(program.parser().parse_args(flags), [])
    asked: dict[str, object] = {}

    def track(*args: object, **options: object) -> Iterator[Tracks]:
        asked.update(options)
        yield from ()

    monkeypatch.setattr("streamparts.track", track)
    model = Judged.load("tiny", str(model_path), PARTS, options.smoothing)
    assert list(model.frames(Clips((), 1))) == [] and not asked
    with pytest.raises(ValueError, match="no frame"):
        replace(model).matched(Clips((Path("x.mp4"),), 0))
    assert asked["smoothing"] == smoothing


def test_the_command_prints_and_writes_a_row_for_every_set_and_model(
    cache: Path, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "learn", lambda trainer, recipe, clips, cache: (model_path, 1.5))
    monkeypatch.setattr(training, "NUM_CLIPS", 1)
    monkeypatch.setattr(program, "training_clips", lambda cache, size: open_set(SETS["turning"], cache, 1, 2, size))
    words = ["--sets", "turning", "perspective", "--models", "person", "--train", "--trainers", "scops"]
    words += ["--num-clips", "1", "--num-frames", "2", "--size", "64", "--cache", str(cache)]
    out = tmp_path / "out.json"
    assert program.main([*words, "--out", str(out), "--pictures", str(tmp_path), "--", "--seed", "1"]) == 0
    figures = json.loads(out.read_text())
    rows = [(row["set"], row["model"]) for row in figures["rows"]]
    assert rows == [(name, model) for name in ("turning", "perspective") for model in ("person", "scops")]
    assert figures["minutes of training"] == {"scops": 1.5} and figures["command"][-1] == "1"
    assert (tmp_path / "turning-person.png").exists()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("| set | model | frames | foreground IoU |") and len(printed) == 2 + 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--models"], "--train"),
        (["--size", "33"], "--size"),
        (["--out", "nowhere/x.json"], "nowhere"),
        (["--models", "nobody"], "nobody"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("benchmarks.bodies: error: ") and said in line


@pytest.mark.parametrize(("trainer", "parse"), [("assembly", assembly.parse_config), ("scops", scops.parse_config)])
def test_the_trainers_take_the_flags_and_learn_once(
    trainer: str, parse: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = training.LearnerOptions(threads=1, features=Path("squeeze.npz"), more=("--seed", "4"))
    video = tmp_path / "turning" / "clip_0000.mp4"
    video.parent.mkdir()
    video.write_bytes(b"")
    clips, calls = Clips((video,), 1), list[tuple[str, ...]]()
    monkeypatch.setattr(training, "command", lambda *words: calls.append(words))
    exported, _ = training.learn(trainer, recipe, clips, tmp_path)
    assert training.learn(trainer, recipe, clips, tmp_path)[0] == exported
    trains, exports = calls
    assert callable(parse)
    config = parse(list(trains[1:]))
    assert (config.seed, config.threads, config.out) == (4, 1, Path(exports[1]))
    assert (
        (config.steps, config.student_steps) == (500, 400)
        if trainer == "assembly"
        else config.features == "squeeze.npz"
    )
    assert exports[0] == "export.onnx_model" and exports[-1] == str(exported)
    raw = Path(trains[1])
    assert [path.name for path in raw.iterdir()] == ["clip_0000.mp4"], "no labels beside the clips"


def test_a_failed_training_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(*words: str) -> None:
        raise StreampartsError("it ended with code 1")

    video = tmp_path / "turning" / "clip_0000.mp4"
    video.parent.mkdir()
    video.write_bytes(b"")
    monkeypatch.setattr(training, "command", command)
    for _ in range(2):
        with pytest.raises(StreampartsError, match="code 1"):
            training.learn("assembly", replace(training.LearnerOptions(), threads=1), Clips((video,), 1), tmp_path)
