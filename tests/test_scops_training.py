"""SCOPS from a folder of images to tracks, at a tiny size."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

import streamparts  # noqa: E402
from export import onnx_model  # noqa: E402
from streamparts.backends.loading import load_model  # noqa: E402
from streamparts.models.checkpoint import read_config  # noqa: E402
from streamparts.models.run_files import SCOPS  # noqa: E402
from streamparts.models.scops import ScopsConfig  # noqa: E402
from tests.two_processes import train_in_one_and_two  # noqa: E402
from train import evaluate  # noqa: E402
from train.drawing.puppet_clips import render_clip, write_clip  # noqa: E402
from train.inputs.images import ImageFolder, ImageSampler  # noqa: E402
from train.judging.finding import open_finder  # noqa: E402
from train.presets.scops import ScopsTrainingConfig  # noqa: E402
from train.pretrained.perceptual import ALL_VGG_BLOCKS, VGG_WIDTHS, random_vgg  # noqa: E402
from train.running.run_folder import RunLog, Stopped  # noqa: E402
from train.scops import (  # noqa: E402
    LEARNER,
    build_learner,
    build_optimiser,
    main,
    parse_config,
    train,
)
from train.students.scops_learner import CANDIDATE_LEVELS, calibrated_level  # noqa: E402
from train.terms.scops_losses import ABLATIONS  # noqa: E402


def slim_vgg_of(images: Path) -> Path:
    """File of an untrained VGG-19 with a sixteenth of the channels, beside the folder of images."""
    return images.with_suffix(".npz")


def tiny(images: Path, out: Path, **changes: object) -> ScopsTrainingConfig:
    base = ScopsTrainingConfig(
        images=images, out=out, steps=12, batch_size=3, checkpoint_every=4, device="cpu", subject="contrast",
        features=str(slim_vgg_of(images)), network=ScopsConfig(num_parts=3, image_size=64),
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four different puppets: three images and a video; and a file that is no image."""
    folder = tmp_path_factory.mktemp("images")
    for seed in range(3):
        frame = render_clip("human", seed, num_frames=2, size_hw=(96, 96)).frames[0]
        cv2.imwrite(str(folder / f"{seed}.png"), frame[..., ::-1])
    write_clip(render_clip("human", 3, num_frames=12, size_hw=(96, 96)), folder / "video.mp4")
    (folder / "broken.jpg").write_text("not a picture")
    scaling = {"conv0.weight": torch.eye(3)[:, :, None, None], "conv0.bias": torch.full((3,), -0.5)}
    weights = random_vgg(torch.Generator().manual_seed(0), [width // 16 for width in VGG_WIDTHS], ALL_VGG_BLOCKS)
    np.savez(slim_vgg_of(folder), **{name: value.numpy() for name, value in (scaling | weights).items()})
    return folder


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(tiny(images, out))
    return out


def log_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_run_writes_its_terms_and_the_semantic_one_falls(run: Path) -> None:
    rows = log_of(run)
    terms = {"concentration", "mask_equivariance", "centre_equivariance", "semantic", "orthonormal"}
    assert rows[0].keys() - {"stage", "step", "seconds", "processor_seconds", "steps_per_second"} == terms
    assert rows[-1]["semantic"] < rows[0]["semantic"]


@pytest.mark.slow
def test_a_run_leaves_a_contact_sheet_and_names_to_edit(run: Path) -> None:
    assert cv2.imread(str(run / "parts.png")).shape == (128 * 4, 128 * 10, 3)
    assert (run / "names.txt").read_text().splitlines()[1:] == ["part0", "part1", "part2"]


def stopped_after(steps: int, config: ScopsTrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until SIGTERM comes."""
    add = RunLog.add

    def then_stop(self: RunLog, step: int, terms: dict[str, torch.Tensor]) -> None:
        add(self, step, terms)
        if step == steps - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr("train.scops.RunLog.add", then_stop)
        train(config)


@pytest.mark.slow
def test_a_terminated_run_resumes_to_the_very_same_weights(
    images: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_after(7, tiny(images, tmp_path / "x"), monkeypatch)
    train(tiny(images, tmp_path / "x", resume=True))
    for name in (LEARNER, SCOPS):
        whole, resumed = (load_file(folder / name) for folder in (run, tmp_path / "x"))
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(whole[key], resumed[key]) for key in whole), name


@pytest.mark.slow
@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_of_the_paper_trains(images: Path, tmp_path: Path, name: str) -> None:
    train(tiny(images, tmp_path / "x", loss=ABLATIONS[name], steps=2, checkpoint_every=1))
    assert log_of(tmp_path / "x")[-1]["step"] == 2


@pytest.mark.slow
def test_the_paper_preset_has_the_releases_groups_and_rates(images: Path, tmp_path: Path) -> None:
    words = [str(images), "--out", str(tmp_path), "--preset", "paper", "--backbone-weights", "scratch"]
    config = parse_config(words)
    learner = build_learner(config, channels=8)
    optimiser = build_optimiser(config, learner)
    assert [group["lr"] for group in optimiser.param_groups] == [1e-5, pytest.approx(1e-4), 1e-2]
    counted = sum(p.numel() for group in optimiser.param_groups for p in group["params"])
    assert counted == 23_839_844 - 45_440 + 8 * 8


@pytest.mark.slow
def test_the_fast_preset_trains_chooses_its_level_and_resumes_to_the_same(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--backbone-weights", "scratch", "--features", str(slim_vgg_of(images)), "--network.image-size", "64"]
    words += ["--network.num-parts", "3", "--batch-size", "2", "--threads", "1"]
    words += ["--steps", "6", "--checkpoint-every", "3"]
    config = parse_config([str(images), "--out", str(tmp_path / "a"), *words])
    assert (config.network.backbone, config.basis, config.calibrate) == ("squeezenet", "factorised", True)
    train(config)
    assert "foreground" in log_of(config.out)[-1]
    found = read_config(config.out / SCOPS, ScopsConfig)
    assert found.background_level in CANDIDATE_LEVELS
    assert replace(found, background_level=0.1) == config.network
    frame = cv2.imread(str(images / "0.png"))[..., ::-1].copy()
    assert open_finder(str(config.out))(frame).masks is not None
    first = replace(config, out=tmp_path / "b")
    stopped_after(4, first, monkeypatch)
    train(replace(first, resume=True))
    whole, resumed = (load_file(folder / LEARNER) for folder in (config.out, first.out))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.slow
def test_the_level_is_the_one_at_which_the_parts_are_what_is_salient(images: Path) -> None:
    """A network whose one part is the maps themselves, softened: Otsu's threshold, as a share of the peak, is found."""
    folder = ImageFolder.open(images, 64)
    sampler = ImageSampler(folder, 4, 0)
    batch = sampler.batch(0)
    soft = torch.from_numpy(batch.salient).float()[:, None] * 0.3 + 0.3  # 0.5 of the peak beside, 1 on what is salient
    network = SimpleNamespace(
        config=ScopsConfig(), training=False, eval=lambda: None, train=lambda _: None, parameters=lambda: iter([soft]),
        masks=lambda _: torch.cat([1 - soft, soft], dim=1),
    )  # fmt: skip
    assert calibrated_level(network, sampler, num_batches=1) == 0.5


TWO_PROCESSES = """
import sys
from pathlib import Path
from tests.test_scops_training import tiny
from train.scops import train

images, out, batch_size = sys.argv[1:]
train(tiny(Path(images), Path(out), steps=2, batch_size=int(batch_size), checkpoint_every=1, threads=1))
"""


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_with_the_doubled_batch(images: Path, tmp_path: Path) -> None:
    folders = train_in_one_and_two(TWO_PROCESSES, images, tmp_path)
    one, two = (log_of(folder)[0] for folder in folders)
    for term in ("semantic", "orthonormal"):
        assert two[term] == pytest.approx(one[term], rel=0.01), term


@pytest.mark.slow
def test_the_exported_run_streams_a_clip_and_is_evaluated(images: Path, run: Path, tmp_path: Path) -> None:
    model = tmp_path / "category.onnx"
    assert onnx_model.main([str(run), "-o", str(model), "--frames", str(images), "--parts", "a,b,c"]) == 0
    assert load_model(model).spec.method == "scops"
    tracks = list(streamparts.track(images / "video.mp4", model=model))
    assert len(tracks) == 12 and tracks[0].names == ("a", "b", "c")
    out = tmp_path / "figures.json"
    few = ["--puppet-num-clips", "1", "--puppet-num-frames", "4", "--puppet-size", "96"]
    assert evaluate.main([str(run), "puppets", *few, "--out", str(out)]) == 0
    assert json.loads(out.read_text())["parts"] == ["part0", "part1", "part2"]


@pytest.mark.slow
def test_wrong_input_is_one_line(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), "--out", str(tmp_path / "x"), "--features", "random"]) == 1
    assert "no image and no video in" in capsys.readouterr().err.splitlines()[-1]
    assert main([str(images), "--out", str(tmp_path / "y"), "--features", str(tmp_path / "none.npz")]) == 1
    assert "none.npz" in capsys.readouterr().err.splitlines()[-1]
