"""Small files that declare huge sizes are refused before memory is allocated."""

from __future__ import annotations

import gc
import itertools
import struct
import threading
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from av import VideoFrame

from streamparts.cli.types import one_line
from streamparts.data import Frame, Tracks
from streamparts.errors import VideoError
from streamparts.runtime.stream import run, run_many
from streamparts.runtime.summary import Summary
from streamparts.sinks.overlay import mp4
from streamparts.sources import heavy, held, open_source, shares, timed
from streamparts.sources.base import FrameTimes
from streamparts.sources.files import FileSource
from streamparts.sources.rescale import Rescaler
from streamparts.tracksfile.reading import read_tracks
from tests.media import numbered_video, picture_file, write_video

GIF_PICTURE = (
    b"\x21\xf9\x04\x00\x05\x00\x00\x00" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
)


def gif(path: Path, side: int) -> Path:
    """Twelve square images with sides of `side`, in a few hundred bytes."""
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
    path.write_bytes(head + 12 * GIF_PICTURE + b"\x3b")
    return path


def test_a_small_file_with_huge_pictures_is_one_line(tmp_path: Path) -> None:
    for side in (16000, 65535):  # FFmpeg refuses the larger one whatever the limit
        with pytest.raises(VideoError, match=rf"{side}x{side} .*--max-pixels"):
            open_source(gif(tmp_path / "bomb.gif", side))
    with open_source(gif(tmp_path / "small.gif", 100)) as source:
        assert len(list(source)) == 12


def test_the_limit_can_be_set_for_videos_and_pictures(tmp_path: Path) -> None:
    video, one = numbered_video(tmp_path / "film.mp4", 3), picture_file(tmp_path / "one.png", 0)
    for path in (video, one):
        with open_source(path, max_pixels=96 * 128) as source:
            assert next(iter(source)).width == 128
        with pytest.raises(VideoError, match="max-pixels"):
            open_source(path, max_pixels=96 * 128 - 1)


def test_a_large_image_is_kept_with_few_bytes_per_pixel_upright_and_in_its_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.zeros((96, 128, 3), np.uint8)
    image[:48], image[48:] = (200, 40, 60), (30, 160, 90)
    for rotation in (0, 90):
        path = write_video(tmp_path / "film.mp4", [image] * 3, codec="libx264rgb", pix_fmt="rgb24", rotation=rotation)
        frames = []
        for limit in (2**26, 10_000):
            monkeypatch.setattr(heavy, "HEAVY_BYTES", limit)
            with open_source(path) as source:
                frames.append(next(iter(source)))
        plain, lean = frames
        assert (plain.image.format.name, lean.image.format.name) == ("gbrp", "yuv420p")
        assert (lean.rotation, lean.height, lean.width) == (plain.rotation, plain.height, plain.width)
        before, after = (Rescaler().rgb(each).astype(int) for each in frames)
        assert np.abs(before - after)[[10, -10]][:, [10, -10]].max() <= 4, rotation


def test_few_large_images_are_looked_at_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timestamps in a hopeless order would otherwise keep sixteen images in memory."""
    path = numbered_video(tmp_path / "film.mkv", 40)
    ahead: list[int] = []
    monkeypatch.setattr(timed, "AHEAD_BYTES", 0)
    monkeypatch.setattr(FrameTimes, "needs_more", lambda self, stated: ahead.append(len(stated)) or True)
    with open_source(path) as source:
        frames = [frame.index for frame in source]
    assert frames == list(range(40))
    assert max(ahead) == 0, "no other image is decoded before one is given"


@pytest.fixture
def room_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process has memory for one image of 128x96 at a time, and 48x64 needs no share of it."""
    monkeypatch.setattr(shares, "FREE_PIXELS", 96 * 128 - 1)
    monkeypatch.setattr(shares, "TOTAL_PIXELS", 96 * 128)


@pytest.mark.usefixtures("room_for_one")
def test_files_with_large_frames_are_read_one_after_another(tmp_path: Path, model_path: Path) -> None:
    films = [numbered_video(tmp_path / f"{name}.mp4", 12) for name in "abc"]
    small, seen = numbered_video(tmp_path / "small.mp4", 12, 48, 64), list[str]()
    done = run_many([*films, small], model_path, overlay=False, out_dir=tmp_path, on_tracks=lambda n, _: seen.append(n))
    assert [one.error for one in done] == [None] * 4
    large = [name for name in seen if name != "small"]
    assert len(large) == 36
    assert len(list(itertools.groupby(large))) == 3, "no two at the same time"


@pytest.mark.parametrize("kind", ["gif", "mp4", "grows.h264", "png"])
@pytest.mark.usefixtures("room_for_one")
def test_no_large_image_is_decoded_while_another_file_has_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_path: Path, kind: str
) -> None:
    """However long that takes, and also if the size shows up only in the middle of the file."""
    path = tmp_path / f"a.{kind}"
    match kind:
        case "gif":
            gif(path, 128)
        case "mp4":
            numbered_video(path, 12)
        case "png":
            picture_file(path, 0)
        case "grows.h264":
            large = numbered_video(tmp_path / "large.h264", 6).read_bytes()
            path.write_bytes(numbered_video(tmp_path / "small.h264", 6, 48, 64).read_bytes() + large)
    other, waits, sizes = shares.Share(), threading.Event(), list[int]()
    other.wait_for(96 * 128)
    wait, make = shares.Share.wait_for, FrameTimes.frame

    def waited(self: shares.Share, pixels: int) -> None:
        waits.set()
        wait(self, pixels)

    def made(self: FrameTimes, image: VideoFrame, *args: object, **options: object) -> Frame:
        sizes.append(image.width * image.height)
        return make(self, image, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(shares.Share, "wait_for", waited)
    monkeypatch.setattr(FrameTimes, "frame", made)
    found = list[Summary]()
    tracks = tmp_path / "t.jsonl"
    thread = threading.Thread(target=lambda: found.append(run(path, model_path, tracks=tracks, backend="onnxruntime")))
    thread.start()
    assert waits.wait(60)
    assert max(sizes, default=0) < 96 * 128, "nothing large while it waits"
    other.close()
    thread.join()
    assert found[0].num_frames == {"png": 1}.get(kind, 12)
    assert [frame.frame for frame in read_tracks(tracks).frames()] == list(range(found[0].num_frames))


@pytest.mark.usefixtures("room_for_one")
def test_a_file_that_is_done_leaves_no_decoder_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_path: Path
) -> None:
    """Not even until the garbage collector comes; whether it ended well or not. A decoder keeps several images."""
    films = [numbered_video(tmp_path / f"{name}.gif", 12, codec="gif", pix_fmt="rgb8") for name in "abc"]
    both = (tmp_path / "small.h264", h264(tmp_path / "many.h264", 12))
    numbered_video(both[0], 6, 48, 64, codec="libx264")
    broken = tmp_path / "broken.h264"
    broken.write_bytes(both[0].read_bytes() + both[1].read_bytes())
    opened, alive, open_file = list[weakref.ref[FileSource]](), list[int](), FileSource.__init__

    def counted(self: FileSource, *args: object, **options: object) -> None:
        opened.append(weakref.ref(self))
        open_file(self, *args, **options)  # type: ignore[arg-type]

    def look(name: str, tracks: Tracks) -> None:
        alive.append(sum(ref() is not None for ref in opened))

    monkeypatch.setattr(FileSource, "__init__", counted)
    opener = partial(open_source, max_pixels=96 * 128)
    gc.collect()
    gc.disable()
    try:
        for film in (broken, *films):
            (one,) = run_many([film], model_path, overlay=False, out_dir=tmp_path, on_tracks=look, opener=opener)
            assert (one.error is not None) == (film == broken)
            assert one.error is None or "takes 14 images" in str(one.error)
    finally:
        gc.enable()
    assert len(opened) == 4
    assert set(alive) == {1}


def test_files_that_wait_for_each_other_all_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits with a share in hand: eight owners, each with growing wishes, and room for two of the least."""
    monkeypatch.setattr(shares, "TOTAL_PIXELS", 100)
    done = list[int]()

    def work(number: int) -> None:
        share = shares.Share()
        for pixels in (50, 70, 100, 1000):
            share.wait_for(pixels)
        share.close()
        done.append(number)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == list(range(8))


def test_a_share_that_is_closed_is_not_taken_again() -> None:
    """A thread that was abandoned may still ask."""
    first, second = shares.Share(), shares.Share()
    first.close()
    with pytest.raises(shares.ShareRefused):
        first.wait_for(shares.TOTAL_PIXELS)
    second.wait_for(shares.TOTAL_PIXELS)
    second.close()


def test_many_references_take_a_larger_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "FREE_PIXELS", 96 * 128 - 1)
    monkeypatch.setattr(held, "FREE_PIXELS", 96 * 128 - 1)
    asked, wait = list[int](), shares.Share.wait_for
    monkeypatch.setattr(shares.Share, "wait_for", lambda self, pixels: (asked.append(pixels), wait(self, pixels)))
    for references, together in ((3, 5), (12, 14)):
        share = shares.Share()
        with shares.sharing(share), open_source(h264(tmp_path / f"{references}.mp4", references)) as source:
            assert len(list(source)) == 16
        share.close()
        assert asked[-1] == max(96 * 128, -(-together * 96 * 128 // 5))


def h264(path: Path, references: int, num_frames: int = 16) -> Path:
    parameters = f"ref={references}:bframes=0:scenecut=0:keyint=1000:log-level=none"
    return numbered_video(path, num_frames, codec="libx264", options={"preset": "ultrafast", "x264-params": parameters})


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".h264"])
def test_a_decoder_that_would_keep_too_many_large_images_is_one_line(tmp_path: Path, suffix: str) -> None:
    few, many = h264(tmp_path / f"few{suffix}", 3), h264(tmp_path / f"many{suffix}", 12)
    limit = 96 * 128
    with open_source(few, max_pixels=limit) as source:
        assert len(list(source)) == 16
    with pytest.raises(VideoError, match=r"takes 14 images of 128x96; --max-pixels"):
        open_source(many, max_pixels=limit)
    with open_source(many, max_pixels=3 * limit) as source:
        assert len(list(source)) == 16


def test_a_single_image_of_a_codec_with_eight_references_is_read(tmp_path: Path) -> None:
    one, several = (numbered_video(tmp_path / f"{n}.mp4", n, codec="libvpx-vp9") for n in (1, 3))
    for path in (one, several):
        with open_source(path, max_pixels=96 * 128) as source:
            assert len(list(source)) in (1, 3)
    with (
        pytest.raises(VideoError, match=r"takes 9 images"),
        open_source(numbered_video(tmp_path / "film.mp4", 12, codec="libvpx-vp9"), max_pixels=96 * 128) as source,
    ):
        list(source)


def test_a_stream_whose_images_become_large_is_refused_then(tmp_path: Path) -> None:
    small = numbered_video(tmp_path / "small.h264", 6, 24, 32, codec="libx264")
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + h264(tmp_path / "many.h264", 12).read_bytes())
    with open_source(both, max_pixels=96 * 128) as source, pytest.raises(VideoError, match=r"takes 14 images of"):
        list(source)
    both.write_bytes(small.read_bytes() + h264(tmp_path / "few.h264", 3).read_bytes())
    with open_source(both, max_pixels=96 * 128) as source:
        assert len(list(source)) == 22


@pytest.mark.usefixtures("room_for_one")
def test_a_run_that_waits_for_its_share_can_be_stopped(tmp_path: Path, model_path: Path) -> None:
    film, stop, other = numbered_video(tmp_path / "film.mp4", 12), threading.Event(), shares.Share()
    other.wait_for(1)
    threading.Timer(0.3, stop.set).start()
    assert run(film, model_path, tracks=tmp_path / "t.jsonl", stop=stop).num_frames == 0
    other.close()
    assert run(film, model_path, tracks=tmp_path / "u.jsonl").num_frames == 12


def test_frames_larger_than_h264_allows_end_the_overlay_and_not_the_tracks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_path: Path
) -> None:
    monkeypatch.setattr(mp4, "MOST_PIXELS", 96 * 128 - 1)
    film, said = numbered_video(tmp_path / "film.mp4", 12), list[str]()
    with pytest.raises(VideoError, match=r"o\.mp4: 128x96 exceed.*H\.264"):
        run(film, model_path, overlay=tmp_path / "o.mp4", tracks=tmp_path / "t.jsonl", say=said.append)
    assert len(list(read_tracks(tmp_path / "t.jsonl").frames())) == 12
    assert any("the other outputs continue" in line for line in said)


def test_too_little_memory_is_one_line() -> None:
    assert one_line(MemoryError()).startswith("not enough memory")
