"""Part names and mirror partners, which are stored with a model only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest

from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.backends.tensorrt.info import read_info
from streamparts.bundle.colours import part_color
from streamparts.bundle.load import METADATA_KEY, Bundle
from streamparts.bundle.metadata import with_metadata
from streamparts.bundle.shipped import ASSETS
from streamparts.bundle.sidecar import sidecar_path, write_model
from streamparts.bundle.spec import ModelSpec
from streamparts.cli import main
from streamparts.errors import ModelError
from streamparts.naming.names import renamed, store_names
from streamparts.naming.pictures import CELL_PX, LABEL_PX, part_pictures
from streamparts.runtime.stream import run
from streamparts.tracksfile.reading import read_tracks
from tests.tiny_model import tiny_spec

SPEC = tiny_spec(parts=("torso", "near arm", "far arm", "left leg", "right leg"))


def name(*words: object) -> int:
    return main(["name", *map(str, words)])


@pytest.fixture
def sound(model: Path) -> Path:
    """tiny.onnx with its sidecar."""
    write_model(model, load_model(model).spec, model.read_bytes())
    return model


def test_new_names_are_in_the_file_and_its_sidecar(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert name(sound, "--set", "0=left cheek", "1=right cheek") == 0
    bundle = load_model(sound)
    assert bundle.spec.parts == ("left cheek", "right cheek")
    assert bundle.spec.symmetric_pairs == ((0, 1),) and bundle.spec.pairs == ()
    saved = json.loads(sidecar_path(sound).read_text())
    assert (saved["parts"], saved["sha256"]) == (["left cheek", "right cheek"], bundle.sha256)
    assert sorted(path.name for path in sound.parent.iterdir()) == ["tiny.onnx", "tiny.onnx.json"]
    assert "wrote" in capsys.readouterr().out


def test_the_network_in_a_named_file_is_the_same(sound: Path, bundle: Bundle) -> None:
    before = onnx.load_from_string(sound.read_bytes())
    store_names(sound, {0: "crimson"})
    after = onnx.load_from_string(sound.read_bytes())
    onnx.checker.check_model(after)
    assert before.graph == after.graph and before.opset_import == after.opset_import
    (entry,) = after.metadata_props
    assert entry.key == METADATA_KEY and msgspec.json.decode(entry.value)["parts"][0] == "crimson"
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    one, other = OnnxRuntimeBackend(bundle).run(pictures), OnnxRuntimeBackend(load_model(sound)).run(pictures)
    assert np.array_equal(one.affines, other.affines)
    assert load_model(sound).network_sha256 == bundle.network_sha256


def test_other_metadata_stays_and_long_texts_fit(model: Path) -> None:
    data = with_metadata(model.read_bytes(), "author", "somebody" * 5000)
    again = onnx.load_from_string(with_metadata(data, METADATA_KEY, SPEC.to_json()))
    assert {entry.key: entry.value for entry in again.metadata_props} == {
        "author": "somebody" * 5000,
        METADATA_KEY: SPEC.to_json(),
    }


def test_named_models_can_be_renamed_and_go_to_other_files(sound: Path, tmp_path: Path) -> None:
    before = sound.read_bytes()
    assert name(sound, "--set", "1=grass", "-o", tmp_path / "named.onnx") == 0
    assert sound.read_bytes() == before
    assert load_model(tmp_path / "named.onnx").spec.parts == ("red", "grass")
    assert name(tmp_path / "named.onnx", "--set", "0=sky") == 0
    assert load_model(tmp_path / "named.onnx").spec.parts == ("sky", "grass")
    assert name(sound, "--set", "1=x", "-o", tmp_path / "named.onnx") == 1, "it exists"
    assert name(sound, "--set", "1=x", "-o", tmp_path / "named.onnx", "--force") == 0
    assert load_model(tmp_path / "named.onnx").spec.parts == ("red", "x")


def test_a_model_of_the_package_is_never_changed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = ASSETS / "puppet-human.onnx"
    if not model.exists():
        pytest.skip("the shipped model is not there")
    before = model.read_bytes()
    for word in ("puppet-human", model):
        assert name(word, "--set", "0=body") == 1
        assert "give -o FILE.onnx" in capsys.readouterr().err
    assert name("puppet-human", "--set", "0=body", "-o", ASSETS / "mine.onnx") == 1
    assert name("puppet-human", "--set", "0=body", "-o", tmp_path / "mine.onnx") == 0
    assert model.read_bytes() == before and not (ASSETS / "mine.onnx").exists()
    assert load_model(tmp_path / "mine.onnx").spec.parts[0] == "body"


WRONG = {
    "7=x": "there is no part 7; the parts of tiny are 0 to 1",
    "0=green": "the name 'green' is given to 2 parts",
    "0=": "1 to 64 printable characters",
    "0=" + "x" * 65: "1 to 64 printable characters",
    "0=a\x07b": "printable",
    "0=a/b": "must not contain a slash",
    "0=a=b": "must not contain '='",
}


@pytest.mark.parametrize(("word", "reason"), WRONG.items())
def test_a_wrong_name_is_told_in_one_line_and_changes_nothing(
    sound: Path, word: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sound.read_bytes(), sidecar_path(sound).read_bytes()
    assert name(sound, "--set", word) == 1
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1
    assert (sound.read_bytes(), sidecar_path(sound).read_bytes()) == before


@pytest.mark.parametrize(
    "words", [["--frames", "v.mp4", "--set", "0=a"], ["-o", "x.onnx"], ["--sheet", "p.png"], ["--sheet", "p.jpg"]]
)
def test_flags_that_would_do_nothing_are_wrong_usage(sound: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        name(sound, *words)
    assert caught.value.code == 2


@pytest.mark.parametrize("words", [["--set", "head"], ["--set", "x=head"], ["--set", "0=a", "0=b"], ["--pair", "red"]])
def test_what_is_no_name_at_all_is_wrong_usage(sound: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        name(sound, *words)
    assert caught.value.code == 2


def test_pairs_that_names_do_not_tell_are_stored_and_follow_a_renaming() -> None:
    spec = renamed(SPEC, {}, [("near arm", "far arm"), ("right leg", "left leg")])
    assert spec.pairs == (("near arm", "far arm"),), "left and right need not be stored"
    assert spec.symmetric_pairs == ((3, 4), (1, 2))
    assert renamed(spec, {1: "arm A"}).pairs == (("arm A", "far arm"),)
    assert renamed(spec, {1: "left arm", 2: "right arm"}).pairs == ()
    assert renamed(spec, {1: "left arm", 2: "right arm"}).symmetric_pairs == ((1, 2), (3, 4))
    assert renamed(spec, {}, []).symmetric_pairs == ((3, 4),)
    assert msgspec.json.decode(spec.to_json(), type=ModelSpec) == spec


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([("near arm", "nobody")], "'nobody'"),
        ([("near arm", "far arm"), ("far arm", "torso")], "'far arm' is in two"),
        ([("left leg", "torso")], "'left leg' is in two, or paired by its name"),
        ([("torso", "torso")], "'torso' is in two"),
    ],
)
def test_wrong_pairs_are_refused(pairs: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        renamed(SPEC, {}, pairs)


def test_an_older_description_without_pairs_is_read() -> None:
    older = msgspec.json.decode(SPEC.to_json())
    del older["pairs"]
    assert msgspec.convert(older, ModelSpec) == SPEC


def test_names_and_pairs_are_in_tracks_and_info(
    sound: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert name(sound, "--set", "0=poppy", "1=leaf", "--pair", "poppy=leaf") == 0
    run(video, sound, tracks=tmp_path / "t.jsonl")
    file = read_tracks(tmp_path / "t.jsonl")
    assert file.header.model.parts == ["poppy", "leaf"]
    assert file.header.model.symmetric_pairs == [(0, 1)]
    assert [part.name for part in next(file.frames()).parts] == ["poppy", "leaf"]
    capsys.readouterr()
    assert main(["info", str(sound)]) == 0
    out = capsys.readouterr().out
    assert "2: poppy, leaf" in out and "pairs     poppy - leaf" in out
    assert name(sound) == 0
    assert "0  poppy   mirrored by leaf" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_stays_as_it_was(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sound.read_bytes()

    def full(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ModelError, match="cannot be written"):
        store_names(sound, {0: "x"})
    monkeypatch.undo()
    assert sound.read_bytes() == before
    assert not list(sound.parent.glob(".*")), "nothing half-written is left"
    assert load_model(sound).spec.parts[0] == "red"


def test_a_link_to_a_model_stays_a_link(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "link.onnx").symlink_to(sound)
    store_names(tmp_path / "link.onnx", {0: "x"})
    assert (tmp_path / "link.onnx").is_symlink()
    assert load_model(sound).spec.parts == ("x", "green")


def test_the_names_of_an_engine_are_in_the_description_beside_it(built: Path) -> None:
    plan, info = built.read_bytes(), read_info(built)
    assert name(built, "--set", "0=crimson") == 0
    assert built.read_bytes() == plan
    assert read_info(built) == msgspec.structs.replace(info, model=renamed(info.model, {0: "crimson"}))
    assert name(built, "--set", "0=x", "-o", built.with_name("other.engine")) == 1


def test_an_engine_knows_the_model_it_was_built_from_by_any_name(built: Path, model: Path) -> None:
    from streamparts.backends.tensorrt.engines import _model_beside

    store_names(model, {0: "crimson"})
    beside = _model_beside(built, read_info(built))
    assert beside is not None and beside.spec.parts[0] == "crimson"


def test_each_part_is_shown_where_it_is_seen_with_all_else_dimmed(bundle: Bundle, video: Path) -> None:
    pictures = part_pictures(bundle, OnnxRuntimeBackend(bundle), video, columns=4)
    assert [len(row) for row in pictures] == [4, 4]
    for part, row in enumerate(pictures):
        for picture in row:
            assert picture.shape == (CELL_PX, CELL_PX, 3)
            bright = picture.max(axis=2) > 130
            own = picture[..., part] > picture[..., 1 - part]  # the outline's colour aside
            edge = (np.abs(picture.astype(int) - part_color(part)).sum(axis=2)) < 60
            assert bright.any() and (own | edge)[bright].mean() > 0.9
    assert not np.array_equal(pictures[0][0], pictures[0][-1]), "several moments"


def test_the_sheet_has_a_row_for_each_part(
    sound: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "parts.png"
    assert name(sound, "--frames", video, "--sheet", path, "--columns", 3) == 0
    image = cv2.imread(str(path))[..., ::-1]
    assert image.shape == (2 * CELL_PX, LABEL_PX + 3 * CELL_PX, 3)
    assert [tuple(image[40 + part * CELL_PX, 30]) for part in (0, 1)] == [part_color(0), part_color(1)]
    assert name(sound, "--frames", video, "--sheet", path) == 1
    assert "exists already; use --force" in capsys.readouterr().err


def test_frames_come_from_folders_of_videos_too(sound: Path, video: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for copy in ("a.mp4", "b.mp4"):
        shutil.copy(video, clips / copy)
    (clips / "broken.mp4").write_bytes(b"nothing")
    assert name(sound, "--frames", clips, "--sheet", tmp_path / "parts.png") == 0
    assert name(sound, "--frames", tmp_path / "none.mp4", "--sheet", tmp_path / "other.png") == 1
    assert not (tmp_path / "other.png").exists()
