"""The network of the paper: its size, its independence of the batch, and its use in every stage of training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from streamparts.models.assembly import Decoding  # noqa: E402
from streamparts.models.assembly_paper import PaperAssembly, PaperAssemblyConfig, ScaleMap  # noqa: E402
from streamparts.models.groups import PartGroups  # noqa: E402
from streamparts.models.layers import Affine  # noqa: E402
from train.frames.clips import Clip, ClipFolder  # noqa: E402
from train.frames.scenery import Scenery  # noqa: E402
from train.frames.transforms import Draws  # noqa: E402
from train.inputs.augment import Pair  # noqa: E402
from train.inputs.pairs import FrameBatch  # noqa: E402
from train.students.merge import observe, whole_shapes  # noqa: E402
from train.students.student import Answers, prepare_lesson  # noqa: E402
from train.terms.objective import objective  # noqa: E402
from train.terms.pair_forward import forward_pair, identity_like, paper_transform  # noqa: E402
from train.terms.weights import PAPER_WEIGHTS, Fades  # noqa: E402

TINY = PaperAssemblyConfig(
    num_parts=3, image_size=32, latent_channels=4, stem_widths=(4, 6, 8), hourglass_widths=(8, 8, 8),
    slot_channels=32, decoder_widths=(4, 6, 4, 4, 4),
)  # fmt: skip


@pytest.fixture
def network() -> PaperAssembly:
    torch.manual_seed(0)
    return PaperAssembly(TINY)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_with_ten_parts_it_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        network = PaperAssembly(PaperAssemblyConfig())
    assert (count(network.encoder), count(network.decoder)) == (110_935_750, 752_308)


@pytest.mark.parametrize(("num_parts", "millions"), [(5, 81.0), (15, 156.9), (17, 179.1)])
def test_its_size_grows_with_the_parts_as_the_papers(num_parts: int, millions: float) -> None:
    with torch.device("meta"):
        network = PaperAssembly(PaperAssemblyConfig(num_parts=num_parts))
    assert count(network) / 1e6 == pytest.approx(millions, abs=0.05)


def assembled(network: PaperAssembly, images: torch.Tensor) -> tuple[Decoding, Affine]:
    """Images from their own parts, and those parts' poses."""
    encoding = network.encode(images)
    decoding = network.assemble(network.canonical(encoding), encoding.background, encoding.affine, 0.0)
    return decoding, encoding.affine


@pytest.mark.parametrize("training", [True, False])
def test_one_frames_result_never_depends_on_its_batch(network: PaperAssembly, training: bool) -> None:
    network.train(training)
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        (together, poses), (alone, pose) = (assembled(network, some) for some in (images, images[2:3]))
    for many, one in ((together.masks, alone.masks), (together.image, alone.image), *zip(poses, pose, strict=True)):
        assert torch.allclose(many[2:3], one, atol=1e-5)


def test_it_is_the_same_network_in_training_and_after(network: PaperAssembly) -> None:
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network.train()(images)[0], network.eval()(images)[0])


def test_every_slot_of_every_image_is_decoded_in_one_call_the_background_first(network: PaperAssembly) -> None:
    batches = []
    network.decoder.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    images = torch.rand(2, 3, 32, 32)
    decoding, _ = assembled(network, images)
    assert batches == [2 * (1 + 3)]
    assert decoding.image.shape == (2, 3, 32, 32)
    assert decoding.part_images.shape == (2, 4, 3, 32, 32)
    assert torch.allclose(decoding.masks.sum(1), torch.ones(2, 32, 32), atol=1e-5)
    masks, affine = network(images)
    assert torch.allclose(masks, decoding.masks, atol=1e-5)
    assert affine.matrix().shape == (2, 3, 2, 3)


def test_the_background_stays_where_the_parts_move(network: PaperAssembly) -> None:
    encoding = network.encode(torch.rand(1, 3, 32, 32))
    moved = encoding.affine._replace(translation=encoding.affine.translation + 0.5)
    canonical = network.canonical(encoding)
    here, there = (network.assemble(canonical, encoding.background, affine, 0.0) for affine in (encoding.affine, moved))
    assert torch.equal(here.part_images[:, 0], there.part_images[:, 0])
    assert not torch.allclose(here.part_images[:, 1:], there.part_images[:, 1:])


def test_poses_start_upright_in_the_middle_and_as_large_as_the_image(network: PaperAssembly) -> None:
    affine = network.encode(torch.rand(2, 3, 32, 32)).affine
    assert torch.allclose(affine.rotation.norm(dim=-1), torch.ones(2, 3))
    assert (affine.rotation[..., 0] > 0.5).all()
    assert torch.equal(affine.translation, torch.zeros(2, 3, 2))
    assert torch.allclose(affine.scale, torch.ones(2, 3, 2), atol=1e-5)


def test_scales_stay_in_their_range_and_grow_evenly() -> None:
    scale = ScaleMap(0.02, 2.0)
    values = scale(torch.tensor([-50.0, -1.0, 0.0, 1.0, 50.0]))
    assert values[[0, 2, 4]].tolist() == pytest.approx([0.02, 1.0, 2.0], rel=1e-4)
    assert (values.diff() > 0).all()
    with pytest.raises(ValueError, match="must contain 1"):
        ScaleMap(0.02, 0.8)


def test_canonical_parts_at_the_identity_are_the_latents_themselves(network: PaperAssembly) -> None:
    encoding = network.encode(torch.rand(1, 3, 32, 32))
    upright = encoding._replace(affine=identity_like(encoding.affine))
    assert torch.allclose(network.canonical(upright), encoding.parts, atol=1e-5)


def test_sizes_that_do_not_fit_are_refused() -> None:
    for change in ({"image_size": 100}, {"slot_channels": 20}):
        with pytest.raises(ValueError, match=r"32, got \d+"):
            PaperAssembly(replace(TINY, **change))


def test_it_learns_under_the_papers_objective(network: PaperAssembly) -> None:
    frames = torch.rand(2, 3, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    empty = torch.zeros(2, 1, 32, 32)
    pair = Pair(frames, frames.roll(4, dims=3), empty, empty, frames, frames, empty + 1, empty + 1)
    weights, draws = replace(PAPER_WEIGHTS, perceptual=0.0), Draws(0, 0, 2)
    optimiser, seen = torch.optim.Adam(network.parameters(), 3e-3), []
    for _ in range(40):
        result = forward_pair(network, pair, 0.0, paper_transform(draws), canonical=True)
        loss = torch.stack(list(objective(result, pair, weights, Fades(0, 1, 1)).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen.append(loss.item())
    assert np.mean(seen[-5:]) < 0.6 * seen[0]


def test_its_slots_are_observed_and_taught_as_those_of_the_other_form(network: PaperAssembly) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    poses = observe(network.eval(), frames, 0.0)
    assert poses.areas.shape == (6, 3) and poses.affines.shape == (6, 3, 2, 3)
    shapes, scales = whole_shapes(network, frames, 0.0, [[0], [1, 2]])
    assert shapes.shape == (2, 32, 32) and scales.shape == (2, 2)
    groups = PartGroups(((0,), (1, 2)), ((0.0, 0.0),) * 2, (0.0, 0.0), ((1.0, 1.0),) * 2)
    large = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    everywhere = np.ones((2, 64, 64), np.bool_)
    batch = FrameBatch(large, large, everywhere, np.arange(2))
    answers = Answers(network, groups, 0.0, ClipFolder((Clip("", large, Scenery(large[0])),), ()), 0)
    lesson = prepare_lesson(batch, answers, Draws(0, 0, 2))
    assert lesson.masks.shape == (2, 3, 64, 64)
    assert isinstance(lesson.affine, Affine)
