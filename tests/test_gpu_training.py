"""What keeps a GPU busy while it trains, on the host: a step as one graph, and frames that stay on the device."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("decord")

from streamparts.models.trained import build_teacher  # noqa: E402
from tests.test_training import SMALL, clips, tiny  # noqa: E402, F401
from train.frames.clips import ClipFolder  # noqa: E402
from train.frames.close_ups import CloseUp  # noqa: E402
from train.frames.transforms import Draws, random_similarity  # noqa: E402
from train.inputs import resident as module  # noqa: E402
from train.inputs.augment import Pair, prepare_pair  # noqa: E402
from train.inputs.pairs import PairSampler  # noqa: E402
from train.inputs.resident import ResidentFrames, resident  # noqa: E402
from train.presets.schedules import fades_at  # noqa: E402
from train.terms.pair_losses import PairLosses, on_device  # noqa: E402
from train.terms.weights import LossWeights  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipFolder:  # noqa: F811
    return ClipFolder.open(clips, SMALL.image_size, tmp_path_factory.mktemp("cache"), follow_camera=True)


def close_folder(folder: ClipFolder) -> ClipFolder:
    """The same frames as crops, each with a mask and a place where it is known."""
    rng = np.random.default_rng(0)

    def close(index: int) -> CloseUp:
        masks, known = rng.integers(0, 256, (2, len(folder.clips[index].frames), 24, 24), dtype=np.uint8)
        return CloseUp(masks, known > 60)

    return replace(folder, clips=tuple(replace(clip, close_up=close(i)) for i, clip in enumerate(folder.clips)))


def pairs_of(sampler: PairSampler, step: int) -> Pair:
    return prepare_pair(sampler.batch(step), CPU, Draws(0, step, sampler.batch_size), 10, 0.3, 0.1)


@pytest.mark.parametrize("is_close", [False, True])
@pytest.mark.parametrize("neighbours", [0, 2])
def test_frames_on_the_device_are_those_that_are_read_in_each_step(
    folder: ClipFolder, is_close: bool, neighbours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER", 5)
    folder = close_folder(folder) if is_close else folder
    read = PairSampler(folder, 3, 7, neighbours=neighbours)
    stored = PairSampler(folder, 3, 7, neighbours=neighbours, resident=ResidentFrames(folder, CPU))
    for step in range(4):
        one, other = read.batch(step), stored.batch(step)
        for field in fields(one):
            wanted, got = getattr(one, field.name), getattr(other, field.name)
            assert (got is None) == (wanted is None), field.name
            if wanted is not None:
                np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted), field.name)
        assert isinstance(other.source, torch.Tensor)
        assert (one.source_background is one.target_background) == (other.source_background is other.target_background)


def test_a_pair_on_the_device_is_prepared_alike(folder: ClipFolder) -> None:
    """Not bit by bit: on the host, OpenCV warps."""
    read, stored = PairSampler(folder, 3, 7), PairSampler(folder, 3, 7, resident=ResidentFrames(folder, CPU))
    for field in fields(Pair):
        wanted, got = (getattr(pairs_of(sampler, 1), field.name) for sampler in (read, stored))
        if isinstance(wanted, torch.Tensor):
            assert got.shape == wanted.shape
            assert (got - wanted).abs().mean() < 0.02, field.name


def test_frames_stay_where_they_are_on_a_cpu_or_if_they_are_too_many(
    folder: ClipFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resident(folder, CPU) is None
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    assert resident(folder, torch.device("cuda")) is None
    assert "GB of frames do not fit into the GPU's memory; each step reads its own" in capsys.readouterr().out


@pytest.mark.slow
def test_a_step_is_one_graph_whatever_fades(folder: ClipFolder) -> None:
    """The compiler's front end finds no break and makes one graph for the whole training; its values are those of the
    step that is not compiled, also where a term is left out there because it has faded."""
    config = tiny(Path("clips"), Path("out"), steps=60, bootstrap_steps=20, gate_steps=10)
    network = build_teacher(config.network)
    step_of = PairLosses(network, LossWeights(), None, 1.3)
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(step_of, backend=backend, fullgraph=True)
    sampler = PairSampler(folder, 2, 0)
    for step in (0, 7, 15, 30, 59):
        pair, draws = pairs_of(sampler, step), Draws(1, step, 2)
        transform = random_similarity(draws, 45, (0.8, 1.1), 0.1)
        numbers = fades_at(step, config), draws.offset()
        result, terms = step_of(pair, transform, *numbers)
        other, again = compiled(pair, transform, *on_device(*numbers, CPU))
        torch.testing.assert_close(other.retargeted.image, result.retargeted.image)
        assert set(terms) <= set(again) and {name for name in again if again[name] != 0} <= set(terms)
        for name, value in terms.items():
            torch.testing.assert_close(again[name], value, rtol=1e-4, atol=1e-6, msg=name)
        gradients = [
            torch.autograd.grad(torch.stack([*found.values()]).sum(), [*network.parameters()], allow_unused=True)
            for found in (terms, again)
        ]
        for one, two in zip(*gradients, strict=True):
            assert (one is None) == (two is None)
            if one is not None and two is not None:
                torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)
    assert len(graphs) == 1
