"""`python -m benchmarks.real` on small generated sets: clips, labels, models, trainings, table."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("sklearn")
pytest.importorskip("torch")
pytest.importorskip("tyro")

from benchmarks.real import finding, following, measuring, running, training
from benchmarks.real.__main__ import main
from benchmarks.real.clips import crop_top_half, gather
from benchmarks.real.sets import NEW_PEOPLE, SETS, Case, empty
from benchmarks.real.subjects import by_subject, middle_of
from benchmarks.real.tables import davis_means, tables
from streamparts.bundle.load import Bundle
from streamparts.data import Frame, Tracks
from streamparts.errors import StreampartsError
from streamparts.geometry import Letterbox
from streamparts.tracking.smoothing import Smoothing
from tests.media import decode, numbered_video, picture, picture_file, red_center, write_video
from tests.scenes import square_bundle
from train.drawing.png import write_png
from train.frames.pictures import read_grey
from train.judging.found import labels_over_frame
from train.judging.subjects import SubjectMatcher
from train.labels import EvaluationSet, LabelledFrame
from train.labels.body_points import COCO_17
from train.presets.assembly import PRESETS, TrainingConfig

SIDE = 96


def write_tai_chi(folder: Path, names: tuple[str, ...], num_frames: int = 6) -> None:
    """Stacked clips, 33 points on the red disc and its exact mask."""
    (folder / "pseudo_gt").mkdir(parents=True)
    for name in names:
        tops = [picture(number, SIDE, SIDE) for number in range(num_frames)]
        write_video(folder / f"{name}.mp4", [np.concatenate([top, np.full_like(top, 255)]) for top in tops])
        centers = np.array([red_center(number, SIDE, SIDE) for number in range(num_frames)], np.float32)
        ones = np.ones((num_frames, 33), np.float16)
        masks = np.stack([top[..., 0] > 180 for top in tops])
        arrays = {"kps": np.repeat(centers[:, None], 33, axis=1), "score": ones[:, 0], "vis": ones}
        np.savez(folder / "pseudo_gt" / f"taichi_copart_{name.zfill(2)}.npz", mask=np.packbits(masks, axis=2), **arrays)


def write_hand(folder: Path, num_frames: int = 8) -> None:
    folder.mkdir(parents=True)
    numbered_video(folder / "asl_hand.25fps.mp4", num_frames)
    points = [[[*red_center(number), 0.5]] * 20 + [[100.0, 80.0, 0.5]] for number in range(num_frames)]
    (folder / "asl_hand.frames000-229.json").write_text(json.dumps(points))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tai chi, one hand, and a clip without a person."""
    folder = tmp_path_factory.mktemp("data")
    write_tai_chi(folder / "human_taichi", ("0", "3", "4", "12"))
    write_hand(folder / "hand")
    (folder / "decoder").mkdir()
    numbered_video(folder / "decoder" / "cockatoo.mp4", 12)
    return folder


def test_of_a_stacked_clip_the_upper_half_is_kept_nearly_without_loss(tmp_path: Path) -> None:
    images = [picture(number, SIDE, SIDE) for number in range(5)]
    stacked = [np.concatenate([image, np.full_like(image, 255)]) for image in images]
    pts = [0, 1, 3, 4, 7]
    video = write_video(tmp_path / "a.mp4", stacked, pts=pts, options={"crf": "0"})
    cropped = crop_top_half(video, tmp_path / "out" / "a.mp4")
    found = list(decode(cropped))
    assert [time for _, time in found] == [Fraction(p, 30) for p in pts]
    for (image, _), (whole, _) in zip(found, decode(video), strict=True):
        assert image.shape == (SIDE, SIDE, 3)
        assert np.abs(image.astype(int) - whole[:SIDE]).mean() < 3
    before = cropped.stat().st_mtime_ns
    assert crop_top_half(video, cropped).stat().st_mtime_ns == before


def test_a_folder_of_links_holds_these_clips_and_no_older_ones(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_text(name)
    (tmp_path / "camel" / "frames").mkdir(parents=True)
    folder = gather(tmp_path / "links", [tmp_path / "a.mp4"])
    (folder / ".streamparts-cache").mkdir()
    gather(folder, [tmp_path / "b.mp4", tmp_path / "camel" / "frames"])
    assert sorted(path.name for path in folder.iterdir()) == [".streamparts-cache", "b.mp4", "camel-frames"]
    assert (folder / "b.mp4").read_text() == "b.mp4"


def test_models_are_judged_through_the_runtime_and_every_row_says_its_truth(
    data: Path, tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, cache = tmp_path / "figures.json", tmp_path / "cache"
    words = ["--sets", "taichi", "hand", "dance", "--models", f"tiny={model_path}", "person=" + str(model_path)]
    words += ["--data", str(data), "--cache", str(cache), "--out", str(out), "--pictures", str(tmp_path)]
    assert main(words) == 0
    said = capsys.readouterr().out
    found = json.loads(out.read_text())
    rows = {(row["case"], row["model"]): row for row in found["rows"]}
    assert set(rows) == {("taichi", "tiny"), ("taichi", "person"), ("hand", "tiny"), ("hand", "person"),
                         ("no person", "person")}  # fmt: skip
    figures = rows["taichi", "tiny"]["figures"]
    assert rows["taichi", "tiny"]["truth"] == "pseudo: MediaPipe's"
    assert figures["frames"] == 24
    assert 0.5 < figures["foreground"]["iou"] < 0.8  # the green square is labelled too
    assert figures["keypoints"]["inside"] == 1
    assert figures["ridge"]["left_out"] == "4 clips"
    assert figures["ridge"]["hard"]["mean_px256"] < 0.6 * figures["ridge"]["constant"]["mean_px256"]
    assert figures["ridge"]["silhouette_true"] is not None
    hand = rows["hand", "tiny"]["figures"]
    assert hand["keypoints"]["nmi"] == pytest.approx(1 if hand["keypoints"]["ari"] > 0.99 else hand["keypoints"]["nmi"])
    assert hand["foreground"] is None and hand["ridge"]["silhouette_true"] is None
    shares = rows["no person", "person"]["false parts"]
    assert 0.1 < shares["all"] == shares["cockatoo"] < 0.3
    assert "| taichi | pseudo: MediaPipe's | tiny | subject: none, it sees whole pictures | 24 |" in said
    assert "overfits on few clips" in said
    assert f"- set dance needs {data / 'human' / 'dance.mp4'}, which is not here" in said
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_models_of_a_known_kind_keep_to_their_sets_unless_told_otherwise(data: Path, model_path: Path) -> None:
    asked = measuring.Asked(tuple(SETS.values()), {"person": str(model_path), "x": str(model_path)}, data, data)
    loaded = {name: running.runtime_model(name, file, None) for name, file in asked.models.items()}
    case = Case("c", EvaluationSet("c", "true", 0, lambda: iter(())))
    for name, kinds in (("hand", ["x"]), ("taichi", ["person", "x"])):
        assert [model.name for model in measuring.models_for(SETS[name], case, loaded, asked)] == kinds
    everywhere = replace(asked, everywhere=True)
    assert len(list(measuring.models_for(SETS["hand"], case, loaded, everywhere))) == 2


def test_new_people_are_in_no_clip_that_is_trained_on(data: Path, tmp_path: Path) -> None:
    (case,) = SETS["taichi-new"].cases(data, tmp_path, 100)
    assert {path.stem for path in case.training} == {"3", "4"}
    assert {path.stem for path in case.labelled.sources} == {"0", "12"} <= set(NEW_PEOPLE)
    assert {frame.clip for frame in case.labelled.read()} == {0, 1}


def test_learning_is_a_command_its_result_is_kept_and_an_interrupted_one_goes_on(
    data: Path, tmp_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[tuple[str, ...]] = []

    def command(module: str, *words: str) -> None:
        called.append((module, *words))
        if module == "train.assembly":
            folder = Path(words[2])
            folder.mkdir(exist_ok=True)
            (folder / "config.json").write_text('{"subject": "motion"}')
            if len(called) == 1:
                raise training.TrainingError("python -m train.assembly ended with code 1; see above")
        else:
            Path(words[2]).write_bytes(model_path.read_bytes())

    monkeypatch.setattr(training, "command", command)
    words = ["--sets", "hand", "--train", "--data", str(data), "--cache", str(tmp_path), "--steps-scale", "0.5"]
    assert main([*words, "--", "--seed", "3"]) == 1
    assert "ended with code 1" in capsys.readouterr().err
    assert main([*words, "--", "--seed", "3"]) == 0
    assert "| hand | pseudo: a detector's | learned here | subject: motion |" in (capsys.readouterr().out)
    _, clips, _, out, *flags = called[0]
    assert [path.name for path in Path(clips).iterdir()] == ["asl_hand.25fps.mp4"]
    steps = int(str(PRESETS["cpu"][1].get("steps", TrainingConfig.steps)))
    assert flags[flags.index("--steps") + 1] == str(round(steps / 2))
    assert flags[flags.index("--seed") + 1] == "3"
    assert "--resume" not in called[0] and "--resume" in called[1]
    assert [name for name, *_ in called] == ["train.assembly", "train.assembly", "export.onnx_model"]
    assert main([*words, "--", "--seed", "3"]) == 0
    assert len(called) == 3, "what is in the cache is not learned again"
    assert Path(out).is_relative_to(tmp_path)


def write_davis(folder: Path, names: tuple[str, ...], num_frames: int = 8) -> None:
    """Folders of frames; the truth is the red disc."""
    for name in names:
        for kind in ("frames", "masks"):
            (folder / name / kind).mkdir(parents=True)
        for number in range(num_frames):
            image = np.roll(picture(0), 2 * number, axis=1)
            disc = np.uint8(255) * ((image[..., 0] > 180) & (image[..., 1] < 90))
            write_png(folder / name / "frames" / f"{number:05}.png", image)
            write_png(folder / name / "masks" / f"{number:05}.png", np.repeat(disc[..., None], 3, 2))


def left_half(mask: Path, out: Path) -> None:
    """Write the columns of the mask that lie left of its centre."""
    shown = read_grey(mask)
    shown[:, int(np.flatnonzero(shown.any(0)).mean()) + 1 :] = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    write_png(out, np.repeat(shown[..., None], 3, 2))


def test_the_masks_that_a_training_takes_are_judged_clip_by_clip_and_each_clip_is_learned_alone(
    tmp_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    davis, given, out = tmp_path / "human" / "davis", tmp_path / "given", tmp_path / "figures.json"
    write_davis(davis, ("dance-twirl", "breakdance"))
    shutil.copytree(davis / "dance-twirl" / "masks", given / "dance-twirl-frames")
    for mask in (davis / "breakdance" / "masks").iterdir():
        left_half(mask, given / "breakdance-frames" / mask.name)
    learned: list[list[str]] = []

    def command(module: str, *words: str) -> None:
        if module == "train.assembly":
            learned.append([path.name for path in Path(words[0]).iterdir() if not path.name.startswith(".")])
            Path(words[2]).mkdir()
        else:
            Path(words[2]).write_bytes(model_path.read_bytes())
            (Path(words[0]) / "config.json").write_text('{"subject": "given"}')

    monkeypatch.setattr(training, "command", command)
    words = ["--sets", "davis-people", "--masks", "--subject", str(given), "--data", str(tmp_path), "--out", str(out)]
    words += ["--cache", str(tmp_path / "cache"), "--pictures", str(tmp_path)]
    assert main(words) == 0
    rows = {row["case"]: row for row in json.loads(out.read_text())["rows"]}
    assert {row["model"] for row in rows.values()} == {finding.NAME}
    assert {row["subject"] for row in rows.values()} == {"masks of given"}
    figures = {name: row["figures"] for name, row in rows.items()}
    assert figures["davis dance-twirl"]["frames"] == 8
    assert figures["davis dance-twirl"]["foreground"]["iou"] > 0.9
    assert 0.4 < figures["davis breakdance"]["foreground"]["iou"] < 0.6
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert main([*words, "--train"]) == 0
    assert learned == [["dance-twirl-frames"], ["breakdance-frames"]]
    assert len(json.loads(out.read_text())["rows"]) == 4


def test_the_subject_is_not_judged_on_clips_that_are_not_trained_on(data: Path, tmp_path: Path) -> None:
    (new,) = SETS["taichi-new"].cases(data, tmp_path, 100)
    (hand,) = SETS["hand"].cases(data, tmp_path, 100)
    assert [finding.has_masks(case) for case in (new, hand)] == [False, True]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "nothing to judge"),
        (["--models", "no-such-model"], "no model called"),
        (["--sets", "hand", "--models", "puppet-human", "--data", "nowhere"], "set hand needs nowhere/hand"),
        (["--train", "--max-frames", "0"], "must be at least 1"),
        (["--models", "puppet-human", "--out", "missing/x.json"], "missing is not a folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("benchmarks.real: error: ")
    assert expected in err


def test_the_report_has_no_row_and_a_line_a_set_where_the_clips_are_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "DATA", tmp_path)
    monkeypatch.setattr(measuring, "model_names", lambda: ["puppet-human"])
    found = measuring.shipped(10)
    assert found["rows"] == []
    assert len(found["missing"]) == len(SETS)
    assert "set taichi needs" in tables(found["rows"], found["missing"])


def test_clips_that_show_the_kind_itself_are_not_empty(data: Path) -> None:
    (case,) = empty("person", data)
    frames = list(case.labelled.read())
    assert [frame.index for frame in frames] == [0, 5, 10]
    assert not any(frame.mask.any() for frame in frames if frame.mask is not None)
    assert empty("bird", data) == []


def test_the_mean_of_davis_clips_is_of_one_model() -> None:
    rows = [
        {"case": f"davis {n}", "truth": "true", "model": m, "subject": "s", "figures": {"foreground": {"iou": iou}}}
        for n, m, iou in (("camel", "a", 0.2), ("dog", "a", 0.6), ("camel", "b", 0.9))
    ]
    (mean,) = davis_means(rows)
    assert (mean["case"], mean["model"]) == ("davis, mean of 2", "a")
    assert mean["figures"]["foreground"]["iou"] == pytest.approx(0.4)
    assert "| davis, mean of 2 | true | a | subject: s | 0.40 |" in tables(rows)


def test_labels_of_a_whole_picture_lose_their_borders_and_those_of_a_crop_find_their_place() -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[2:6] = np.arange(1, 9)
    assert (labels_over_frame(labels, Letterbox.fit((4, 8), (8, 8)), (4, 8)) == labels[2:6]).all()
    crop = Letterbox((40, 80), (8, 8), (8, 8), (0, 0))

    class Crop:
        """Looks at x 10 to 18, y 20 to 28."""

        inner_slices = crop.inner_slices

        def frame_to_model(self, points: np.ndarray) -> np.ndarray:
            return points - np.array([10, 20])

    placed = labels_over_frame(labels, Crop(), (40, 80))  # type: ignore[arg-type]
    assert placed.shape == (40, 80)
    assert (placed[20:28, 10:18] == labels).all()
    assert placed.sum() == labels.sum()


def tracks_at(bundle: Bundle, x: float, visible: bool = True, subject: int = 0) -> Tracks:
    frame = Frame(0, 0, Fraction(1), np.zeros((50, 100, 3), np.uint8), 0, 50, 100, 0.0)
    affines = np.zeros((2, 2, 3), np.float32)
    affines[:, :, 2] = [[x - 5, 20], [x + 5, 20]]
    areas, seen = np.array([30, 10], np.float32), np.array([visible] * 2)
    labels, box = np.full((8, 8), subject + 1, np.uint8), Letterbox.fit((50, 100), (8, 8))
    return Tracks(frame, box, ("a", "b"), labels, affines, areas / 100, areas, seen, subject=subject)


def test_the_middle_of_a_subject_is_that_of_its_visible_parts(bundle: Bundle) -> None:
    middle = middle_of(tracks_at(bundle, 50))
    assert middle is not None
    assert middle.tolist() == pytest.approx([47.5, 20])
    assert middle_of(tracks_at(bundle, 50, visible=False)) is None


def test_each_labelled_subject_is_judged_by_the_followed_one_that_lies_on_it(bundle: Bundle) -> None:
    followed = (tracks_at(bundle, 80, subject=0), tracks_at(bundle, 20, subject=1))
    points = np.array([[15, 15], [25, 25], [75, 15], [85, 25]], np.float32)
    frame = LabelledFrame(np.zeros((50, 100, 3), np.uint8), 0, landmarks=points, index=4)
    matcher = SubjectMatcher()
    (left, found_left), (right, found_right) = by_subject([(frame, followed)], 2, matcher)
    assert left.landmarks is not None and left.landmarks.tolist() == points[:2].tolist()
    assert (left.clip, right.clip) == (0, 1)
    assert (found_left.labels.max(), found_right.labels.max()) == (2, 1)
    assert matcher.section() == {"frames": 5, "found": 1.0, "switches": 0, "switches_per_10000_frames": 0.0}
    lost = (tracks_at(bundle, 80, subject=0), tracks_at(bundle, 20, visible=False, subject=1))
    rows = list(by_subject([(frame, lost)], 2, SubjectMatcher()))
    assert [found.labels.max() for _, found in rows] == [0, 1]
    alone = list(by_subject([(frame, followed[:1])], 2, SubjectMatcher()))
    assert [found.labels.max() for _, found in alone] == [1, 1]


def test_following_is_timed_in_turns_and_not_at_all_for_a_model_that_cannot(
    bundle: Bundle, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StreampartsError, match="has no subject"):
        following.cost(video, bundle, 5, 2)
    squares = square_bundle(tmp_path)
    assert following.cost(video, squares, 3, 1)["followed, ms a frame"] > 0
    asked, now = list[str](), [0.0]

    def taking(roi: str, seconds: float) -> Callable[[Frame], None]:
        def update(frame: Frame) -> None:
            asked.append(roi)
            now[0] += seconds

        return update

    monkeypatch.setattr(following, "_whole", lambda *_: taking("off", 0.02))
    monkeypatch.setattr(following, "_followed", lambda *_: taking("auto", 0.024))
    found = following.cost(video, squares, 5, 2, lambda: now[0])
    assert asked[:4] == ["auto", "off", "off", "auto"] and len(asked) == 20
    assert (found["frames"], found["ratio"]) == (5, 1.2)
    assert found["whole picture, ms a frame"] == 20


@pytest.mark.parametrize(
    ("flags", "smoothing"),
    [([], None), (["--smooth"], Smoothing()), (["--steady-sides"], Smoothing(side_seconds=0.3))],
)
def test_models_run_smoothed_as_asked(
    flags: list[str], smoothing: Smoothing | None, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Smoothing | None] = []

    def measure(asked: measuring.Asked, keep: object) -> tuple[list[dict[str, object]], list[str]]:
        given.append(asked.smoothing)
        return [], ["nothing was measured"]

    monkeypatch.setattr("benchmarks.real.__main__.measure", measure)
    assert main(["--models", str(model_path), *flags]) == 1
    assert given == [smoothing]


def test_stills_are_streamed_one_by_one(tmp_path: Path, model_path: Path) -> None:
    stills = tuple(picture_file(tmp_path / f"{number}.png", number) for number in range(3))
    frames = [LabelledFrame(picture(number), number, landmarks=np.array([red_center(number)], np.float32))
              for number in range(3)]  # fmt: skip
    labelled = EvaluationSet("stills", "true", 3, lambda: iter(frames), sources=stills)
    model = running.runtime_model("tiny", str(model_path), None)
    found = [one for _, one in model.pairs(labelled, SubjectMatcher())]
    for number, one in enumerate(found):
        np.testing.assert_allclose(one.hard_centers()[0], red_center(number), atol=2)


def test_a_shipped_person_model_is_judged_on_coco_points(tmp_path: Path, model_path: Path) -> None:
    numbered_video(tmp_path / "p.mp4", 4)
    entries = [{name: {"x": 30.0, "y": 50.0} for name in COCO_17} for _ in range(4)]
    (tmp_path / "p.json").write_text(json.dumps(entries))
    from train.labels import PuppetOptions, open_set

    labelled = open_set(f"keypoints:{tmp_path / 'p.json'}", 10, PuppetOptions())
    section = running.judge(running.runtime_model("puppet-human", "puppet-human", None), labelled)
    assert section["keypoints"]["own"] is not None
    assert set(section["keypoints"]["own"]["joints"]) >= {"head", "elbow", "ankle"}
