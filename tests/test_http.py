"""Video files on web servers have an end; broadcasts over HTTP are live."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamparts.errors import VideoError
from streamparts.sources import open_source
from streamparts.sources.network import open_address
from tests import servers
from tests.media import numbered_video
from tests.test_live import PATIENCE_SECONDS, in_time, numbers, read
from tests.test_live import no_threads_left as no_threads_left
from tests.web import Web, hls, web

pytestmark = pytest.mark.usefixtures("no_threads_left")


@pytest.fixture
def site() -> Iterator[Web]:
    with web() as running:
        yield running


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_film_on_a_web_server_is_read_to_its_end_and_is_not_live(tmp_path: Path, site: Web, suffix: str) -> None:
    site.pages["/film" + suffix] = numbered_video(tmp_path / f"a{suffix}", 90).read_bytes()
    source = open_address(site.url("/film" + suffix) + "?token=t0ken", connect_seconds=PATIENCE_SECONDS)
    assert not source.live
    assert source.name == site.url("/film" + suffix) + "?token=***"
    assert [number for number, _ in read(source, 1000)] == list(range(90))
    assert any("t0ken" in request for request in site.requests), "the server must get what the user gave"


def test_a_film_whose_server_dies_gives_what_came_and_then_an_error(tmp_path: Path, site: Web) -> None:
    data = numbered_video(tmp_path / "a.mkv", 600, 192, 256, options={"g": "10"}).read_bytes()
    site.pages["/film.mkv"] = data
    site.cut_after = 3 * len(data) // 4
    source = open_address(site.url("/film.mkv?key=s3cret"), connect_seconds=PATIENCE_SECONDS, idle_seconds=20)
    seen = []
    with pytest.raises(VideoError, match=r"was lost: ") as caught:
        in_time(lambda: seen.extend(source))
    source.close()
    assert "s3cret" not in str(caught.value)
    assert 300 < len(seen) < 590
    assert [frame.index for frame in seen] == list(range(len(seen)))


def test_a_broadcast_over_http_that_closes_is_asked_again(tmp_path: Path, site: Web) -> None:
    parts = [servers.mpegts(tmp_path / f"{n}.ts", range(n, n + 30)) for n in (0, 100)]
    site.endless["/now"] = parts
    source = open_address(site.url("/now"), connect_seconds=PATIENCE_SECONDS)
    assert source.live
    seen = read(source, 60)
    assert numbers(seen, 0) == list(range(30))
    assert numbers(seen, 1) == list(range(100, 130))
    assert [frame.gap is not None for _, frame in seen].count(True) == 1


@pytest.mark.parametrize("live", [False, True])
def test_hls_is_live_where_its_list_has_no_end(tmp_path: Path, site: Web, live: bool) -> None:
    video = numbered_video(tmp_path / "a.mp4", 120, options={"g": "30", "sc_threshold": "0"})
    (tmp_path / "hls").mkdir()
    site.pages = hls(tmp_path / "hls", video, live)
    source = open_address(site.url("/list.m3u8"), connect_seconds=PATIENCE_SECONDS)
    assert source.live == live
    seen = [number for number, _ in read(source, 40 if live else 1000)]
    assert seen == (list(range(seen[0], seen[0] + 40)) if live else list(range(120)))


@pytest.mark.parametrize("live", [False, True])
def test_an_hls_segment_that_is_missing_is_counted_and_the_next_one_is_read(
    tmp_path: Path, site: Web, live: bool
) -> None:
    video = numbered_video(tmp_path / "a.mp4", 150, options={"g": "30", "sc_threshold": "0", "bf": "0"})
    (tmp_path / "hls").mkdir()
    site.pages = hls(tmp_path / "hls", video, live)
    del site.pages["/list3.ts"]
    source = open_address(site.url("/list.m3u8"), connect_seconds=PATIENCE_SECONDS)
    seen = read(source, 58 if live else 1000)
    found = [number for number, _ in seen]
    assert found == [number for number in range(found[0], found[-1] + 1) if not 90 <= number < 120]
    assert source.packets_lost >= 1
    assert {frame.segment for _, frame in seen} == {0}
    first = seen[0][1].pts_seconds
    times = [first + (number - found[0]) / 30 for number in found]
    assert [frame.pts_seconds for _, frame in seen] == pytest.approx(times, abs=1e-3)
    assert {number for number, frame in seen if frame.damaged} <= set(range(85, 90)), "the frames before the loss"


def test_a_playlist_none_of_whose_segments_is_there_is_an_error(tmp_path: Path, site: Web) -> None:
    video = numbered_video(tmp_path / "a.mp4", 60, options={"g": "30", "sc_threshold": "0"})
    (tmp_path / "hls").mkdir()
    site.pages = {path: data for path, data in hls(tmp_path / "hls", video, False).items() if path == "/list.m3u8"}
    with pytest.raises(VideoError, match="404"):
        open_address(site.url("/list.m3u8"), connect_seconds=PATIENCE_SECONDS)


@pytest.mark.parametrize(("path", "reason"), [("/none.mp4", "this path does not exist")])
def test_what_is_not_there_is_said_in_one_line_without_credentials(site: Web, path: str, reason: str) -> None:
    address = site.url(path).replace("http://", "http://eve:s3cret@") + "?password=s3cret"
    with pytest.raises(VideoError, match=reason) as caught:
        in_time(lambda: open_source(address))
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in f"{error!s}{error!r}{error.args}"
        error = error.__cause__ or error.__context__
