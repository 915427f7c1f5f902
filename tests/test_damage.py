"""Damaged frames are marked, for each kind of loss; others are not."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from streamparts.arrays import ByteArray
from streamparts.data import Frame, Parts
from streamparts.geometry import Letterbox
from streamparts.sources import without_damaged
from streamparts.sources.files import FileSource
from streamparts.sources.nal_units import starts_whole
from streamparts.sources.network import open_address
from streamparts.sources.pattern import burn_number
from streamparts.sources.rescale import Rescaler
from streamparts.tracking.tracker import PartTracker
from streamparts.tracksfile.recording import frame_record
from tests import servers
from tests.media import ArraySource, numbered_video, read_number, write_video

HEIGHT, WIDTH = 240, 320
Loses = Callable[[int, int], bool]
UDP_SECONDS = 1.0
"""Before the server hangs up: FFmpeg waits for a missing packet, and forgets those that wait with it at the end."""


@cache
def units(num_frames: int) -> list[bytes]:
    """H.264 access units, a key frame every 10."""
    return servers.access_units(range(num_frames), HEIGHT, WIDTH)


def given(source: Iterable[Frame], enough: int) -> list[tuple[int, bool, ByteArray]]:
    """(number burnt in, whether marked, pixels) of so many frames at most."""
    rescaler, seen = Rescaler(), []
    for frame in source:
        image = rescaler.rgb(frame).copy()
        seen.append((read_number(image), frame.damaged, image))
        if len(seen) == enough:
            break
    return seen


def wrong_unmarked(seen: Sequence[tuple[int, bool, ByteArray]], sound: dict[int, ByteArray]) -> list[int]:
    """Numbers of frames that are not as they were sent, and not marked."""
    return [
        number
        for number, marked, image in seen
        if not marked and (number not in sound or not np.array_equal(image, sound[number]))
    ]


@cache
def sound_pictures(num_frames: int) -> dict[int, ByteArray]:
    """Sent images, by number."""
    decoder = av.CodecContext.create("h264", "r")
    packets = [av.Packet(unit) for unit in units(num_frames)]
    images = [image for packet in [*packets, None] for image in decoder.decode(packet)]  # type: ignore[attr-defined]
    return {number: image.to_ndarray(format="rgb24") for number, image in enumerate(images)}


def losing(share: float, seed: int, after: int) -> Loses:
    """Every packet is lost with a chance of `share`, those of frames from `after` on."""
    chance = np.random.default_rng(seed)
    return lambda frame, packet: frame >= after and bool(chance.random() < share)


def lossy_run(udp: bool, loses: Loses, num_frames: int) -> tuple[list[tuple[int, bool, ByteArray]], int]:
    patience = UDP_SECONDS if udp else 0.0
    scripts = 2 * [servers.rtsp(units(num_frames), after=lambda: time.sleep(patience), loses=loses, udp=udp)]
    with (
        servers.serving(*scripts) as server,
        open_address(f"rtsp://127.0.0.1:{server.port}/x", idle_seconds=2, max_retries=0) as source,
    ):
        return given(_until_lost(source), num_frames), source.packets_lost


def _until_lost(source: Iterable[Frame]) -> Iterator[Frame]:
    try:
        yield from source
    except OSError:
        return


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_a_packet_lost_on_the_way_marks_all_frames_up_to_the_next_key_frame(udp: bool) -> None:
    seen, num_lost = lossy_run(udp, lambda frame, packet: (frame, packet) == (44, 1), 90)
    marked = [number for number, damaged, _ in seen if damaged]
    assert num_lost == 1
    assert set(range(44, 50)) <= set(marked) <= {*range(42, 50), 89}, "89 is the one that the connection ended in"
    assert not wrong_unmarked(seen, sound_pictures(90))


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_a_key_frame_that_lacks_something_ends_no_damage(udp: bool) -> None:
    seen, _ = lossy_run(udp, lambda frame, packet: (frame, packet) in ((44, 0), (50, 3)), 90)
    assert {number for number, damaged, _ in seen if damaged} >= set(range(45, 60)) & {number for number, _, _ in seen}
    assert not wrong_unmarked(seen, sound_pictures(90))


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
@pytest.mark.parametrize(
    "missing", [[(49, 1)], [(49, 2)], [(50, 0)], [(50, 1)]], ids=["within", "end", "sequence", "picture"]
)
def test_a_loss_just_before_a_key_frame_leaves_it_intact_if_nothing_of_it_is_missing(
    udp: bool, missing: list[tuple[int, int]]
) -> None:
    seen, _ = lossy_run(udp, lambda frame, packet: (frame, packet) in missing, 90)
    marked = {number for number, damaged, _ in seen if damaged} - {89}
    wanted = {(50, 0): {*range(49, 60)}, (50, 1): {*range(50, 60)}}.get(missing[0], {49})
    assert marked == wanted, "89 is the one that the connection ended in"
    assert not wrong_unmarked(seen, sound_pictures(90))


def with_repeated_parameters(unit: bytes) -> bytes:
    """A keyframe as GStreamer's payloader sends it: parameter sets before every slice."""
    nals = servers._nal_units(unit)
    parameters = [nal for nal in nals if nal[0] & 0x1F in (7, 8)]
    pieces = [[*parameters, nal] if nal[0] & 0x1F == 5 else [nal] for nal in nals if nal not in parameters]
    return b"".join(b"\0\0\0\1" + nal for piece in pieces for nal in piece)


def keyframes_in_pieces(lost: tuple[tuple[int, int], ...]) -> list[tuple[bool, bool]]:
    """Whether each frame given is exact, and whether it is marked."""
    frames = [with_repeated_parameters(unit) for unit in units(60)]
    script = servers.rtsp(frames, loses=lambda frame, packet: (frame, packet) in lost)
    with (
        servers.serving(script, script) as server,
        open_address(f"rtsp://127.0.0.1:{server.port}/x", idle_seconds=2, max_retries=0) as source,
    ):
        seen = given(_until_lost(source), 62)
    sound = sound_pictures(60)
    return [(number in sound and np.array_equal(image, sound[number]), marked) for number, marked, image in seen]


@pytest.mark.parametrize(
    "lost", [(), ((22, 1),), tuple((30, n) for n in range(2, 6))], ids=["nothing", "within", "key"]
)
def test_keyframes_in_pieces_are_whole(lost: tuple[tuple[int, int], ...]) -> None:
    seen = keyframes_in_pieces(lost)
    assert all(exact for exact, _ in seen[:12]), "the first keyframe, too"
    assert all(exact or marked for exact, marked in seen)
    in_vain = sum(exact and marked for exact, marked in seen)
    assert in_vain <= 1 + 2 * len(lost), "the last one of the connection, and those beside a loss"
    assert sum(exact for exact, _ in seen) >= {0: 59, 1: 50, 4: 48}[len(lost)]


@pytest.mark.parametrize("size", [(320, 240), (240, 336), (192, 320)])
def test_another_size_whose_announcement_is_lost_is_marked(size: tuple[int, int]) -> None:
    """The decoder reads it with the parameters that it has, which may show or not."""
    frames = [*units(50)[:50], *servers.access_units(range(50, 80), *size)]
    script = servers.rtsp(frames, loses=lambda frame, packet: (frame, packet) == (50, 0))
    with (
        servers.serving(script, script) as server,
        open_address(f"rtsp://127.0.0.1:{server.port}/x", idle_seconds=2, max_retries=0) as source,
    ):
        marked = [frame.damaged for frame in _until_lost(source)]
    assert not any(marked[:48])
    assert sum(marked[49:60]) >= len(marked[49:60]) - 1, "the frame before the loss may be sound"


@pytest.mark.parametrize(
    ("codec", "data", "usual", "whole"),
    [
        ("h264", b"\0\0\0\1\x67\x42\0", None, True),  # sequence parameter set
        ("h264", b"\0\0\1\x09\x10\0", None, True),  # access unit delimiter
        ("h264", b"\0\0\0\1\x68\xce\0\0\1\x65", None, False),  # picture parameter set
        ("h264", b"\0\0\0\1\x65\x88\0", 5, True),  # first slice, where keyframes begin with one
        ("h264", b"\0\0\0\1\x65\x88\0", 7, False),
        ("h264", b"\0\0\0\1\x65\x40\0", 5, False),  # another slice
        ("hevc", b"\0\0\0\1\x40\1\x0c", None, True),  # video parameter set
        ("hevc", b"\0\0\0\1\x42\1\x01\0\0\1\x44\1", None, False),  # sequence parameter set
        ("hevc", b"\0\0\0\1\x26\1\xaf", 19, True),
        ("hevc", b"\0\0\0\1\x26\1\x2f", 19, False),
        ("h264", b"\0\0\0\x0a\x67\x42\0", None, False),  # not Annex B
        ("h264", b"\0\0\1", None, False),
        ("mjpeg", b"\0\0\0\1\x67\x42\0", None, False),
    ],
)
def test_a_key_frame_whose_beginning_may_be_missing_is_not_trusted(
    codec: str, data: bytes, usual: int | None, whole: bool
) -> None:
    assert starts_whole(codec, av.Packet(data), usual) == whole


@pytest.mark.parametrize("share", [0.01, 0.1])
@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_under_random_loss_no_wrong_picture_passes_for_a_good_one(udp: bool, share: float) -> None:
    seen, num_lost = lossy_run(udp, losing(share, seed=1, after=0), 150)
    assert num_lost > 0
    assert len(seen) > 50
    assert not wrong_unmarked(seen, sound_pictures(150))


def test_a_stream_that_loses_nothing_has_no_frame_marked() -> None:
    seen, num_lost = lossy_run(False, lambda frame, packet: False, 60)
    assert num_lost == 0
    assert [number for number, damaged, _ in seen if damaged] in ([], [59]), "the one that the connection ended in"


def test_a_loss_while_the_stream_is_opened_marks_up_to_the_next_key_frame() -> None:
    seen, num_lost = lossy_run(False, lambda frame, packet: (frame, packet) == (4, 1), 120)
    assert num_lost == 1
    assert all(damaged for number, damaged, _ in seen if 4 <= number < 10)
    assert not wrong_unmarked(seen, sound_pictures(120))


def test_of_what_was_read_while_the_stream_was_opened_only_what_lacks_something_is_marked() -> None:
    seen, num_lost = lossy_run(False, lambda frame, packet: (frame, packet) in ((4, 1), (23, 0)), 120)
    marked = {place for place, (_, damaged, _) in enumerate(seen) if damaged}  # a damaged picture's number is none
    assert (num_lost, len(seen)) == (2, 120), "the decoder fills the place of a frame that is missing"
    assert marked - {119} <= {*range(3, 10), *range(22, 30)}, "119 is the one that the connection ended in"
    assert marked >= {*range(4, 10), *range(23, 30)}
    assert not wrong_unmarked(seen, sound_pictures(120))


TS_PACKET = 188


def lacking(transport_stream: bytes, frame: int, nth: int) -> bytes:
    """Without the `nth` packet, from 0, of that frame of the video (PID 256)."""
    packets = [transport_stream[at : at + TS_PACKET] for at in range(0, len(transport_stream), TS_PACKET)]
    seen_frames, place = -1, 0
    for number, packet in enumerate(packets):
        if (packet[1] & 0x1F) << 8 | packet[2] == 256:
            seen_frames, place = (seen_frames + 1, 0) if packet[1] & 0x40 else (seen_frames, place + 1)
            if (seen_frames, place) == (frame, nth):
                del packets[number]
                return b"".join(packets)
    raise AssertionError("there is no such packet")


@pytest.fixture(scope="module")
def whole_stream(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[int, ByteArray]]:
    """A transport stream, and its images by number."""
    path = tmp_path_factory.mktemp("stream") / "whole.ts"
    data = servers.mpegts(path, range(50), 480, 640)
    with FileSource(path) as source:
        return data, {number: image for number, _, image in given(source, 50)}


@pytest.mark.parametrize("frame, nth, until", [(25, 1, 30), (25, 0, 30), (30, 2, 40)])
def test_a_transport_stream_that_lacks_a_packet_marks_up_to_the_next_key_frame(
    tmp_path: Path, whole_stream: tuple[bytes, dict[int, ByteArray]], frame: int, nth: int, until: int
) -> None:
    whole, sound = whole_stream
    (tmp_path / "lacking.ts").write_bytes(lacking(whole, frame, nth))
    with FileSource(tmp_path / "lacking.ts") as source:
        seen = given(source, 50)
        assert source.packets_lost == 1
    marked = {number for number, damaged, _ in seen if damaged}
    assert marked
    assert marked <= set(range(frame - 2, until))
    assert not wrong_unmarked(seen, sound)


def test_a_packet_of_a_film_that_is_spoilt_marks_up_to_the_next_key_frame(tmp_path: Path) -> None:
    numbered_video(tmp_path / "film.mkv", 50, 480, 640, options={"g": "10", "bf": "2"})
    with av.open(str(tmp_path / "film.mkv")) as film:
        packets = [(packet.is_keyframe, bytes(packet)) for packet in film.demux(video=0) if packet.size]
    victim = max((data for is_key, data in packets[12:20] if not is_key), key=len)
    data = (tmp_path / "film.mkv").read_bytes()
    spoilt = victim[: len(victim) // 2] + bytes(len(victim) - len(victim) // 2)
    (tmp_path / "spoilt.mkv").write_bytes(data.replace(victim, spoilt))
    with FileSource(tmp_path / "film.mkv") as source:
        sound = {number: image for number, _, image in given(source, 50)}
    with FileSource(tmp_path / "spoilt.mkv") as source:
        seen = given(source, 50)
    assert any(damaged for _, damaged, _ in seen)
    assert not any(damaged for number, damaged, _ in seen if number >= 20)
    assert not wrong_unmarked(seen, sound)


def test_what_the_decoder_keeps_of_a_damaged_block_is_in_no_intact_keyframe(tmp_path: Path) -> None:
    options = {"g": "10", "bf": "0", "preset": "ultrafast", "x264-params": "threads=1:slices=1"}
    film = numbered_video(tmp_path / "film.mkv", 20, HEIGHT, WIDTH, options=options)
    with av.open(str(film)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    with FileSource(film) as source:
        sound = [image for _, _, image in given(source, 20)]
    for seed in range(12):
        data, rng = film.read_bytes(), np.random.default_rng(seed)
        for packet in packets[1:10]:
            spoilt = bytearray(packet)
            for place in rng.integers(12, len(packet), 3):
                spoilt[place] ^= 1 << rng.integers(8)
            data = data.replace(packet, bytes(spoilt))
        (tmp_path / "spoilt.mkv").write_bytes(data)
        with FileSource(tmp_path / "spoilt.mkv") as source:
            seen = given(source, 20)
        for (_, marked, image), expected in zip(seen[-10:], sound[-10:], strict=True):
            assert not marked
            assert np.array_equal(image, expected), seed


@pytest.mark.parametrize("suffix, codec", [(".mp4", "libx264"), (".webm", "libvpx-vp9"), (".avi", "mpeg4")])
def test_no_frame_of_a_film_that_is_whole_is_marked(tmp_path: Path, suffix: str, codec: str) -> None:
    options = {"g": "10"} | ({"bf": "2"} if codec != "libvpx-vp9" else {})
    with FileSource(numbered_video(tmp_path / f"film{suffix}", 30, codec=codec, options=options)) as source:
        assert not any(frame.damaged for frame in source)
        assert source.packets_lost == 0


@cache
def film_options() -> dict[str, tuple[str, dict[str, str]]]:
    h264 = {
        "keyframes": {"g": "10", "bf": "0"},
        "B-frames that others refer to": {"g": "30", "bf": "3", "x264-params": "b-pyramid=normal:scenecut=0"},
        "open GOPs": {"g": "20", "bf": "2", "x264-params": "open-gop=1:scenecut=0"},
        "intra refresh": {"g": "20", "bf": "0", "x264-params": "intra-refresh=1"},
        "interlaced": {"g": "20", "bf": "0", "x264-params": "interlaced=1"},
    }
    return {name: ("libx264", options) for name, options in h264.items()} | {
        "HEVC": ("libx265", {"g": "20", "bf": "2", "x265-params": "log-level=none"}),
    }


def without_packets(film: Path, lacking: Path, numbers: set[int]) -> None:
    """Copy a film without these of its packets, from 0."""
    with av.open(str(film)) as source, av.open(str(lacking), "w") as target:
        template = source.streams.video[0]
        if template.codec_context.name == "libdav1d":  # which cannot be a template: it is not an encoder's name
            copy = target.add_stream("libsvtav1", width=template.width, height=template.height)
            copy.time_base, copy.codec_context.extradata = template.time_base, template.codec_context.extradata
        else:
            copy = target.add_stream_from_template(template)
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size and number not in numbers:
                packet.stream = copy
                target.mux(packet)


def check_missing_packets(film: Path, suffix: str) -> None:
    """Some packets of a film of 60 frames are left out, several times: no frame is then wrong and not marked."""
    with FileSource(film) as source:
        seen = given(source, 60)
        assert not any(marked for _, marked, _ in seen)
        assert source.packets_lost == 0
    sound = {number: image for number, _, image in seen}
    for numbers in ({23, 24}, {20}, {5, 47}, {31}):
        lacking = film.with_name(f"lacking{suffix}")
        without_packets(film, lacking, numbers)
        with FileSource(lacking) as source:
            seen = given(source, 60)
            assert not wrong_unmarked(seen, sound), numbers
            assert source.packets_lost <= len(numbers)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
@pytest.mark.parametrize("kind", film_options())
def test_frames_that_refer_to_packets_missing_from_a_film_are_marked(tmp_path: Path, kind: str, suffix: str) -> None:
    codec, options = film_options()[kind]
    check_missing_packets(
        numbered_video(tmp_path / "film.mp4", 60, HEIGHT, WIDTH, codec=codec, options=options), suffix
    )


UNNUMBERED = {
    "VP9": ("libvpx-vp9", {"g": "20", "deadline": "realtime", "cpu-used": "8"}),
    "VP9 with hidden frames": ("libvpx-vp9", {"g": "20", "deadline": "good", "cpu-used": "5", "lag-in-frames": "12"}),
    "AV1": ("libsvtav1", {"g": "20", "preset": "12"}),
    "AV1 without hidden frames": ("libsvtav1", {"g": "20", "preset": "12", "svtav1-params": "pred-struct=1"}),
    "MPEG-4": ("mpeg4", {"g": "20", "bf": "0"}),
    "MPEG-4 with B-frames": ("mpeg4", {"g": "20", "bf": "2"}),
}


def film_of_water(path: Path, kind: str, times: Sequence[int], num_frames: int = 60) -> Path:
    """Numbered images with a moving texture, whose packets are not as small as those of other films here; `times` in
    1/30 s."""
    texture = np.random.default_rng(0).normal(0, 40, (HEIGHT // 4, WIDTH // 4, 3)).repeat(4, 0).repeat(4, 1)
    images = []
    for number in range(num_frames):
        moved = np.roll(texture, (number, 3 * number), (0, 1)) + np.roll(texture, (-2 * number, number), (0, 1))
        images.append((128 + moved).clip(0, 255).astype(np.uint8))
        burn_number(images[-1], number)
    codec, options = UNNUMBERED[kind]
    return write_video(path, images, codec=codec, options=options, pts=times)


@pytest.fixture(scope="module", autouse=True)
def quiet_av1() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SVT_LOG", "1")
        yield


KINDS = [pytest.param(kind, marks=pytest.mark.slow if "hidden" in kind else ()) for kind in UNNUMBERED]


@pytest.mark.parametrize("kind", KINDS)
def test_packets_missing_from_films_of_other_codecs_are_found(tmp_path: Path, kind: str) -> None:
    film = film_of_water(tmp_path / "film.mp4", kind, range(60))
    for suffix in (".mkv", ".mp4", ".avi") if kind.startswith("MPEG-4") else (".mkv", ".mp4"):
        check_missing_packets(film, suffix)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_that_were_left_out_before_encoding_are_no_loss(tmp_path: Path, kind: str) -> None:
    suffix = ".avi" if kind.startswith("MPEG-4") else ".mkv"
    for left_out in ({30}, {11, 40}, set(range(20, 41, 2)), set(range(25, 36))):
        times = [time for time in range(60) if time not in left_out]
        with FileSource(film_of_water(tmp_path / f"film{suffix}", kind, times, len(times))) as source:
            assert not [frame.index for frame in source if frame.damaged], left_out
            assert source.packets_lost == 0


def test_missing_reference_frames_are_counted_and_marks_end_at_the_next_keyframe(tmp_path: Path) -> None:
    film = numbered_video(tmp_path / "film.mp4", 60, options={"g": "10", "bf": "0"})
    without_packets(film, tmp_path / "lacking.mp4", {23, 24, 47})
    with FileSource(tmp_path / "lacking.mp4") as source:
        marked = [round(30 * frame.pts_seconds) for frame in source if frame.damaged]
        assert source.packets_lost == 3
    assert marked == [25, 26, 27, 28, 29, 48, 49]


def test_reading_from_the_middle_of_a_film_misses_nothing(tmp_path: Path) -> None:
    codec, options = film_options()["open GOPs"]
    film = numbered_video(tmp_path / "film.mp4", 60, codec=codec, options=options)
    for number in range(2, 60, 7):
        with FileSource(film) as source:
            source.start_at(number / 30)
            seen = given(source, 60)
            assert seen[0][0] == number
            assert not any(marked for _, marked, _ in seen)
            assert source.packets_lost == 0


class Hurt(ArraySource):
    """Its frames 2, 3 and 6 are damaged."""

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            yield replace(frame, damaged=frame.index in (2, 3, 6))


def test_damaged_frames_can_be_left_out_and_the_next_one_says_how_many() -> None:
    source = without_damaged(Hurt(9))
    assert [(frame.index, frame.dropped) for frame in source] == [(0, 0), (1, 0), (4, 2), (5, 0), (7, 1), (8, 0)]
    assert source.damaged_left_out == 3  # type: ignore[attr-defined]


def test_the_tracker_takes_all_parts_of_a_damaged_frame_for_hidden_and_the_tracks_say_so() -> None:
    labels = np.ones((16, 16), np.uint8)
    affines = np.array([[[0.5, 0, 0], [0, 0.5, 0]]], np.float32)
    parts = Parts(labels, affines, np.array([0.9], np.float32))
    tracker, letterbox = PartTracker(("all",)), Letterbox.fit((48, 64), (16, 16))
    frames = [replace(frame, damaged=frame.index == 1) for frame in ArraySource(3)]
    tracks = [tracker.update(frame, letterbox, parts) for frame in frames]
    assert [bool(one.visible[0]) for one in tracks] == [True, False, True]
    records = [frame_record(one, masks=False) for one in tracks]
    assert [b'"damaged":true' in msgspec.json.encode(record) for record in records] == [False, True, False]
