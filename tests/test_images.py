"""The image collection: odd files, boxes, maps, and the drawn samples."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("decord")

from streamparts.errors import StreampartsError
from tests.media import numbered_video, picture
from train.frames.pictures import PictureError, read_rgb
from train.inputs import maps
from train.inputs.images import ImageFolder, ImageSampler


def write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    order = [2, 1, 0, 3][: image.shape[-1]] if image.ndim == 3 else slice(None)
    assert cv2.imwrite(str(path), image[..., order] if image.ndim == 3 else image)
    return path


def turned_jpeg(path: Path, image: np.ndarray) -> Path:
    """A JPEG whose EXIF requests a rotation by 90 degrees clockwise (orientation 6)."""
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    plain = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
    path.write_bytes(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:])
    return path


def folder_of(path: Path, count: int) -> Path:
    for number in range(count):
        write(path / f"{number}.png", picture(number))
    return path


def test_images_and_frames_of_videos_at_any_depth_are_taken(tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture(1))
    write(tmp_path / "deep" / "b.jpg", picture(2))
    write(tmp_path / ".hidden" / "c.png", picture(3))
    numbered_video(tmp_path / "v.mp4", 9)
    images = ImageFolder.open(tmp_path, 64, frames_per_video=3)
    assert images.names == ("a.png", "deep/b.jpg", "v.mp4#0", "v.mp4#4", "v.mp4#8")
    assert images.images.shape == (5, 64, 64, 3) and images.saliency.shape == (5, 64, 64)
    assert images.failures == ()


def test_a_letterbox_keeps_proportions_and_its_padding_is_not_salient(tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture(1))
    boxed = ImageFolder.open(tmp_path, 64)
    stretched = ImageFolder.open(tmp_path, 64, fit="stretch")
    assert boxed.images[0, :8].max() == 0 and boxed.saliency[0, :8].max() == 0
    assert stretched.images[0, :8].max() > 0 and stretched.saliency[0].max() > 100


def test_sixteen_bits_are_scaled_and_transparency_lies_on_white(tmp_path: Path) -> None:
    deep = np.full((8, 8, 3), 40000, np.uint16)
    assert read_rgb(write(tmp_path / "deep.png", deep))[0, 0].tolist() == [156] * 3
    assert read_rgb(write(tmp_path / "grey.png", deep[..., 0]))[0, 0].tolist() == [156] * 3
    clear = np.full((8, 8, 4), (200, 100, 0, 255), np.uint8)
    clear[:, 4:, 3] = 0
    shown = read_rgb(write(tmp_path / "clear.png", clear))
    assert shown[0, 0].tolist() == [200, 100, 0] and shown[0, 7].tolist() == [255] * 3


def test_a_turned_jpeg_is_read_as_displayed(tmp_path: Path) -> None:
    shown = read_rgb(turned_jpeg(tmp_path / "a.jpg", picture(5)))
    assert np.abs(shown.astype(int) - np.rot90(picture(5), -1)).mean() < 6


def test_a_jpeg_in_printing_colours_is_read(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed: nothing here writes CMYK")
    pillow.fromarray(np.full((16, 16, 3), (200, 40, 30), np.uint8)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_rgb(tmp_path / "a.jpg")[8, 8].astype(int) - (200, 40, 30)).max() < 25


def test_what_cannot_be_used_is_one_line_and_the_rest_is_used(tmp_path: Path) -> None:
    write(tmp_path / "good.png", picture(0))
    write(tmp_path / "grey.png", picture(0)[..., 0])
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "empty.mp4").write_bytes(b"")
    write(tmp_path / "float.tiff", np.zeros((8, 8), np.float32))
    images = ImageFolder.open(tmp_path, 32)
    assert images.names == ("good.png", "grey.png")
    told = "\n".join(images.failures)
    for words in ("broken.jpg: not a readable image", "empty.png: not a", "empty.mp4: cannot be decoded", "float32"):
        assert words in told
    assert len(images.failures) == 4


def test_a_folder_without_pictures_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(StreampartsError, match=r"image.*video.*\.jpg"):
        ImageFolder.open(tmp_path, 32)
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"usable.*image.*a\.jpg"):
        ImageFolder.open(tmp_path, 32)


def test_pictures_are_cut_to_their_boxes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "p", 4)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("name,x,y,width,height\n0.png,100,68,24,24\n1.png,500,0,9,9\n2.png,-9,-9,40,40\nx.png,0,0,1,1\n")
    images = ImageFolder.open(folder, 16, boxes=boxes)
    assert images.names == ("0.png", "2.png", "3.png")
    assert np.abs(images.images[0].astype(int) - (40, 200, 40)).max() < 3  # the green square
    assert images.failures[0].startswith("1.png: its box (500, 0, 9, 9) lies outside its 128x96 pixels")
    assert "1 box(es) belong to no image in use: x.png" in images.failures[1]
    assert images.notes == ("2.png: its box extends beyond the image and was cropped",)
    as_json = tmp_path / "boxes.json"
    as_json.write_text(json.dumps({"0.png": [100, 68, 24, 24]}))
    assert (ImageFolder.open(folder, 16, boxes=as_json).images[0] == images.images[0]).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n", "first line must be name,x,y,width,height"),
        ("name,x,y,width,height\na,1,2,3\n", "a needs four numbers"),
        ("name,x,y,width,height\na,1,2,three,4\n", "a needs four numbers"),
        ("name,x,y,width,height\na,1,2,0,4\n", "above 0"),
        ("name,x,y,width,height\na,1,2,3,4\na,1,2,3,4\n", "a is listed twice"),
    ],
)
def test_boxes_that_are_none_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "b.csv").write_text(text)
    with pytest.raises(PictureError, match=expected):
        ImageFolder.open(folder_of(tmp_path / "p", 1), 16, boxes=tmp_path / "b.csv")


def test_maps_are_computed_once_even_if_pictures_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path, 3)
    calls = []
    computed = maps.saliency_map
    monkeypatch.setattr(maps, "saliency_map", lambda image: calls.append(1) or computed(image))
    first = ImageFolder.open(tmp_path, 32)
    assert len(calls) == 3
    again = ImageFolder.open(tmp_path, 32)
    assert (first.saliency == again.saliency).all()
    write(tmp_path / "more.png", picture(9))
    ImageFolder.open(tmp_path, 48)
    assert len(calls) == 4
    assert not list((tmp_path / ".streamparts-cache").rglob("*.tmp"))


def test_maps_of_another_tool_are_taken_and_missing_ones_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "p", 3)
    numbered_video(folder / "v.mp4", 4)
    theirs = folder / "maps"
    write(theirs / "0.jpg", np.full((20, 20), 200, np.uint8))
    write(theirs / "elsewhere" / "2.png", np.full((5, 9), 30000, np.uint16))
    write(theirs / "v" / "3.png", np.full((5, 9), 10, np.uint8))
    images = ImageFolder.open(folder, 32, saliency=theirs, frames_per_video=2)
    assert images.names == ("0.png", "2.png", "v.mp4#3")
    assert images.saliency[:, 16, 16].tolist() == [200, 117, 10]
    assert [line.partition(" in ")[0] for line in images.failures] == [
        "1.png: no saliency map 1.*", "v.mp4#0: no saliency map v/0.*",
    ]  # fmt: skip
    with pytest.raises(PictureError, match=r"folder.*saliency"):
        ImageFolder.open(folder, 32, saliency=tmp_path / "nowhere")


def test_batches_depend_on_seed_and_step_only_and_each_picture_comes_in_turn(tmp_path: Path) -> None:
    images = ImageFolder.open(folder_of(tmp_path, 7), 16)
    sampler = ImageSampler(images, 3, seed=5)
    order = [index for step in range(7) for index in sampler.drawn(step)]
    assert [sorted(order[i : i + 7]) for i in (0, 7, 14)] == [list(range(7))] * 3
    other = pickle.loads(pickle.dumps(ImageSampler(images, 3, seed=5)))
    assert (other.batch(4).images == sampler[4].images).all()
    assert ImageSampler(images, 3, seed=6).drawn(0) + ImageSampler(images, 3, seed=6).drawn(1) != order[:6]
    batch = sampler.batch(0)
    assert batch.images.shape == (3, 16, 16, 3) and batch.saliency.dtype == np.float32
    assert batch.saliency.min() >= 0 and batch.saliency.max() <= 1
    assert len(ImageSampler(images, 20, seed=5).drawn(0)) == 20


def test_two_processes_draw_together_what_one_draws_alone(tmp_path: Path) -> None:
    images = ImageFolder.open(folder_of(tmp_path, 5), 16)
    alone = ImageSampler(images, 4, seed=1)
    both = [ImageSampler(images, 2, seed=1, rank=rank, world_size=2) for rank in (0, 1)]
    for step in range(6):
        assert alone.drawn(step) == both[0].drawn(step) + both[1].drawn(step)
