"""The source's audio in the overlay."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamparts.bundle.load import Bundle
from streamparts.cli import main
from streamparts.runtime.stream import run
from streamparts.sinks.overlay.audio import AudioReader, open_audio
from streamparts.sinks.overlay.sink import OverlaySink
from streamparts.sources import open_source
from tests.media import decode, read_number
from tests.sound import sound_packets, sound_video
from tests.test_overlay import tracks_of_square


def overlay_of(video: Path, out: Path, **options: object) -> OverlaySink:
    sink = OverlaySink(out, Fraction(30), audio=video, **options)  # type: ignore[arg-type]
    with open_source(video) as source:
        for frame in source:
            sink.write(tracks_of_square((frame.height, frame.width), frame=frame))
    sink.close()
    return sink


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp4", "aac", 48000),
        ("a.mp4", "aac", 44100),
        ("a.mkv", "aac", 48000),
        ("a.mp4", "libmp3lame", 48000),
        ("a.mkv", "libopus", 48000),
        ("a.mkv", "ac3", 48000),
        ("a.mkv", "flac", 48000),
        ("a.mkv", "alac", 48000),
    ],
)
def test_sound_is_copied_byte_by_byte_at_its_exact_times(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    video = sound_video(tmp_path / name, 60, codec, rate)
    sink = overlay_of(video, tmp_path / "o.mp4")
    assert sink.notes == ()
    wanted = sound_packets(video)
    assert wanted is not None
    assert len(wanted) > 10
    assert sound_packets(tmp_path / "o.mp4") == [packet for packet in wanted if packet[0] < 2]
    assert [seconds for _, seconds in decode(tmp_path / "o.mp4")] == [seconds for _, seconds in decode(video)]


def test_sound_of_a_broadcast_stream_is_repacked_for_mp4(tmp_path: Path) -> None:
    video = sound_video(tmp_path / "a.ts", 60)
    overlay_of(video, tmp_path / "o.mp4")
    (wanted, got) = (sound_packets(path) for path in (video, tmp_path / "o.mp4"))
    assert wanted and got
    assert [time for time, _ in got] == [time for time, _ in wanted]
    assert all(data.endswith(bare) for (_, data), (_, bare) in zip(wanted, got, strict=True)), "less the headers"
    with av.open(str(tmp_path / "o.mp4")) as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert np.abs(sound).max() > 0.1, "the tone can be heard"


def test_sound_that_mp4_does_not_take_is_left_out_and_the_summary_says_so(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = sound_video(tmp_path / "a.avi", 30, "pcm_s16le", 44100, video_codec="mpeg4")
    assert main(["run", str(video), "--model", str(model_path), "--overlay", str(tmp_path / "o.mp4")]) == 0
    assert "the overlay has no audio: mp4 files cannot contain pcm_s16le" in capsys.readouterr().out
    assert sound_packets(tmp_path / "o.mp4") is None


def test_the_command_copies_sound_unless_told_not_to(tmp_path: Path, model_path: Path) -> None:
    video = sound_video(tmp_path / "a.mp4", 30)
    words = ["run", str(video), "--model", str(model_path), "--quiet", "--overlay"]
    assert main([*words, str(tmp_path / "with.mp4")]) == 0
    assert main([*words, str(tmp_path / "without.mp4"), "--no-audio"]) == 0
    assert sound_packets(tmp_path / "with.mp4")
    assert sound_packets(tmp_path / "without.mp4") is None


def test_a_video_without_sound_has_an_overlay_without(tmp_path: Path, video: Path) -> None:
    assert overlay_of(video, tmp_path / "o.mp4").notes == ()
    assert sound_packets(tmp_path / "o.mp4") is None


@pytest.mark.parametrize("sound_frames", [15, 120])
def test_sound_shorter_or_longer_than_the_video_ends_with_the_first_of_both(tmp_path: Path, sound_frames: int) -> None:
    video = sound_video(tmp_path / "a.mp4", 60, sound_frames=sound_frames)
    overlay_of(video, tmp_path / "o.mp4")
    packets = sound_packets(tmp_path / "o.mp4")
    assert packets
    assert packets[-1][0] == pytest.approx(min(60, sound_frames) / 30, abs=0.05)
    assert [read_number(image) for image, _ in decode(tmp_path / "o.mp4")] != [], "pictures do not wait for sound"
    assert len(list(decode(tmp_path / "o.mp4"))) == 60


def test_sound_begins_where_the_run_begins(tmp_path: Path) -> None:
    video = sound_video(tmp_path / "a.mp4", 90)
    overlay_of(video, tmp_path / "o.mp4", start_seconds=1.5)
    packets, all_of_them = sound_packets(tmp_path / "o.mp4"), sound_packets(video)
    assert packets and all_of_them
    assert 1.5 - 0.03 <= packets[0][0] <= 1.5
    assert set(packets) < set(all_of_them)


def test_a_source_that_starts_late_moves_with_its_sound(tmp_path: Path, bundle: Bundle) -> None:
    early = sound_video(tmp_path / "early.mkv", 60)
    late = sound_video(tmp_path / "late.mkv", 60, first_seconds=3600)
    run(late, bundle, overlay=tmp_path / "o.mp4")
    before, after = sound_packets(early), sound_packets(tmp_path / "o.mp4")
    assert before and after
    assert after == [packet for packet in before if 0 <= packet[0] < 2]
    assert [seconds for _, seconds in decode(tmp_path / "o.mp4")] == [seconds for _, seconds in decode(early)]


def test_the_reader_takes_no_more_than_the_video_asks_for(tmp_path: Path) -> None:
    reader = AudioReader(sound_video(tmp_path / "a.mp4", 60))
    times = [packet.pts * packet.time_base for packet in reader.until(Fraction(1, 2))]
    assert times == sorted(times)
    assert Fraction(45, 100) < times[-1] < Fraction(1, 2)
    following = [packet.pts * packet.time_base for packet in reader.until(Fraction(1))]
    assert Fraction(1, 2) <= following[0] < following[-1] < 1
    reader.close()


def test_sound_that_breaks_off_is_told_and_the_video_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    video = sound_video(tmp_path / "a.mp4", 60)
    real = AudioReader._demux

    def breaking(self: AudioReader, stream: av.AudioStream) -> Iterator[av.Packet]:
        for number, packet in enumerate(real(self, stream)):
            if number == 20:
                raise OSError(5, "Input/output error")
            yield packet

    monkeypatch.setattr(AudioReader, "_demux", breaking)
    summary = run(video, bundle, overlay=tmp_path / "o.mp4")
    assert [note for note in summary.notes if "ends early: Input/output error" in note]
    assert len(list(decode(tmp_path / "o.mp4"))) == 60
    packets = sound_packets(tmp_path / "o.mp4")
    assert packets and len(packets) == 20


def test_what_is_no_video_file_has_no_sound(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    assert open_audio(tmp_path / "text.mp4") == (None, None)


def test_a_damaged_sound_track_ends_where_it_cannot_be_read(real_videos: Path) -> None:
    reader, _ = open_audio(real_videos / "video_with_failing_audio.mp4")
    assert reader is not None
    assert sum(packet.size for packet in reader.until(Fraction(1000))) > 0
    reader.close()
