"""The readout's kernel against PyTorch's operations: interpreted by Triton if that is installed, compiled on GPUs."""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch")

from streamparts.backends.loading import load_model  # noqa: E402
from streamparts.backends.torch_backend import best_device  # noqa: E402
from streamparts.backends.torch_network import build_network  # noqa: E402
from streamparts.models import readout_kernel  # noqa: E402
from streamparts.models.layers import Affine  # noqa: E402
from streamparts.models.readout import ExportedStudent, Readout, read_out  # noqa: E402
from streamparts.models.readout_kernel import FusedReadout, fuse_readout  # noqa: E402
from tests.conftest import ROOT, environment  # noqa: E402

SHAPES = [(1, 11, 4, 64, 64), (3, 3, 4, 8, 8), (2, 20, 4, 24, 16), (2, 6, 40, 30), (1, 2, 7, 5), (5, 17, 4, 3, 3)]
"""Of logits, with and without quarters; some with pixels that fill no block."""


def made(shape: tuple[int, ...], seed: int = 0, device: str = "cpu") -> tuple[torch.Tensor, Affine]:
    """Logits of flat and sharp pixels, with parts that own none, and poses."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator) * torch.rand(shape[0], 1, *shape[2:], generator=generator) * 20
    logits[:, -1] -= 200
    parts = shape[1] - 1
    turn = torch.rand(shape[0], parts, generator=generator) * 6
    affine = Affine(
        torch.stack([turn.cos(), turn.sin()], -1), torch.rand(shape[0], parts, 2), torch.rand(shape[0], parts, 2)
    )
    return logits.to(device), Affine(*(value.to(device) for value in affine))


def assert_same(got: Readout, wanted: Readout) -> None:
    assert torch.equal(got.labels, wanted.labels) and got.labels.dtype == torch.uint8
    for name in ("affines", "scores", "evidence"):
        torch.testing.assert_close(getattr(got, name), getattr(wanted, name), rtol=1e-5, atol=1e-6)


def compare_all(device: str) -> None:
    fused = FusedReadout()
    for shape in [*SHAPES, (300, 4, 4, 8, 8)]:  # as many images as fill a GPU without being cut
        logits, affine = made(shape, len(shape), device)
        assert_same(fused(logits, affine), read_out(logits, affine))
        # channels last, as convolutions on a GPU give them
        last = logits.flatten(1, -3).contiguous(memory_format=torch.channels_last).view(logits.shape)
        assert last.stride() != logits.stride() or shape[-1] == 1
        assert_same(fused(last, affine), read_out(logits, affine))
    flat = torch.zeros(2, 5, 4, 8, 8, device=device)
    _, affine = made((2, 5, 4, 8, 8), 0, device)
    assert_same(fused(flat, affine), read_out(flat, affine))
    logits, affine = made((1, 4, 4, 8, 8), 0, device)
    logits[0, 1, 2, 3, 4] = torch.nan
    assert not torch.isfinite(fused(logits, affine).evidence).all(), "it must be noticed"
    assert fused.reason is None


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton, which interprets the kernel, is not installed")
def test_the_interpreted_kernel_says_what_pytorch_says() -> None:
    run = "from tests.test_readout_kernel import compare_all\ncompare_all('cpu')"
    done = subprocess.run(
        [sys.executable, "-c", run],
        env={**environment(), "TRITON_INTERPRET": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton, which compiles the kernels, is not installed")
@pytest.mark.parametrize("capability", [80, 90, 120])
def test_the_kernels_compile_for_gpus_that_are_not_here(capability: int) -> None:
    """With NVIDIA's assembler, which Triton brings."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from streamparts.models.readout_triton import join_pieces, read_slots

    constants = {"NUM_SLOTS": 20, "QUARTERS": 4, "HEIGHT": 64, "WIDTH": 64, "NUM_PIXELS": 16384}
    constants |= {"PIECE": 1024, "PIECES": 16, "SLOTS": 32, "BLOCK": readout_kernel.BLOCK}
    kinds = {"logits": "*fp32", "labels": "*u8", "sums": "*fp32", "scores": "*fp32", "evidence": "*fp32"}
    for kernel in (read_slots, join_pieces):
        names = kernel.arg_names
        signature = {name: "constexpr" if name in constants else kinds.get(name, "i32") for name in names}
        given = {(index,): constants[name] for index, name in enumerate(names) if name in constants}
        source, target = ASTSource(kernel, signature, given), GPUTarget("cuda", capability, 32)
        made = compile(source, target=target, options={"enable_fp_fusion": True})
        assert len(made.asm["cubin"]) > 1000


@pytest.mark.cuda
@pytest.mark.skipif(best_device() != "cuda", reason="no GPU: the kernel is not executed")
def test_the_compiled_kernel_says_what_pytorch_says() -> None:
    compare_all("cuda")


def test_it_is_put_into_students_and_leaves_the_host_to_pytorch() -> None:
    network = fuse_readout(build_network(load_model("person")))
    assert isinstance(network, ExportedStudent) and isinstance(network.readout, FusedReadout)
    logits, affine = made(SHAPES[0])
    assert_same(network.readout(logits, affine), read_out(logits, affine))
    other = torch.nn.Linear(1, 1)
    assert fuse_readout(other) is other and not hasattr(other, "readout")


def test_a_kernel_that_fails_gives_way_to_pytorch_with_a_notice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def fails(*_: object) -> Readout:
        calls.append(1)
        raise RuntimeError("no C compiler\nfound")

    monkeypatch.setattr(readout_kernel, "_by_kernel", fails)
    monkeypatch.setattr(readout_kernel, "find_spec", lambda name: object())
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    fused = FusedReadout()
    logits, affine = made(SHAPES[1])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert_same(fused(logits, affine), read_out(logits, affine))
    assert len(calls) == 1
    assert "the readout runs as PyTorch's kernels, and slower (RuntimeError: no C compiler found)" in caplog.text
    assert len(caplog.records) == 1


def test_memory_that_runs_out_is_no_reason_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Readout:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(readout_kernel, "_by_kernel", full)
    monkeypatch.setattr(readout_kernel, "find_spec", lambda name: object())
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(torch.OutOfMemoryError):
        FusedReadout()(*made(SHAPES[1]))
