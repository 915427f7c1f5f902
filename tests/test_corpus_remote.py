"""A corpus in a store: a local S3 server, accessed by the libraries used with the real one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("s3fs", reason="s3fs, of the extra `remote`, is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto, which plays the store, is not installed")

from streamparts import run_corpus  # noqa: E402
from streamparts.cli import main  # noqa: E402
from streamparts.corpus import work  # noqa: E402
from streamparts.corpus.places import TOKEN, token_file  # noqa: E402
from streamparts.corpus.plan import plan  # noqa: E402
from streamparts.corpus.records import CorpusResult  # noqa: E402
from streamparts.corpus.remote import STALE_SECONDS, RemoteFolder, expand_address  # noqa: E402
from streamparts.errors import MissingExtraError, VideoError  # noqa: E402
from tests.corpora import NAMES, Pools, frame_numbers, inline_pools, write_corpus  # noqa: E402

SECRET = "a-secret-key-of-the-store"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Its address."""
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """s3://clips with a corpus in/ and nothing else; the store as s3fs sees it."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    store = s3fs.S3FileSystem(skip_instance_cache=True)
    store.mkdir("clips")
    store.put(str(write_corpus(tmp_path / "in")), "clips/in", recursive=True)
    yield store
    store.rm("clips", recursive=True)


def lines_in(store: Any, path: str) -> list[dict[str, Any]]:
    store.invalidate_cache()
    return [json.loads(line) for line in store.cat_file(path).splitlines()]


def names_in(store: Any, path: str) -> set[str]:
    store.invalidate_cache()
    return {name.removeprefix(f"{path}/") for name in store.find(path)}


def go(model: Path, **options: Any) -> dict[str, CorpusResult]:
    arguments = {"out_dir": "s3://clips/out", "overlay": False, "backend": "onnxruntime", **options}
    return {result.name: result for result in run_corpus("s3://clips/in/**/*.mp4", model, **arguments)}


@pytest.mark.slow
def test_processes_fetch_videos_and_put_whole_outputs_and_a_manifest(
    bucket: Any, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "s3://clips/in/**/*.mp4", "--out-dir", "s3://clips/out", "--model", str(model), "--workers", "1"]
    assert main(words) == 0
    out, err = capfd.readouterr()
    assert "3 videos: 3 done" in out and "wrote s3://clips/out/manifest.jsonl" in out
    kinds = ("overlay.mp4", "tracks.jsonl")
    assert names_in(bucket, "clips/out") == {"manifest.jsonl", *(f"{name}.{kind}" for name in NAMES for kind in kinds)}
    bucket.get_file("clips/out/a/y.tracks.jsonl", str(tmp_path / "y.jsonl"))
    assert frame_numbers(tmp_path / "y.jsonl") == list(range(9))
    header = json.loads((tmp_path / "y.jsonl").read_text().splitlines()[0])
    assert header["source"]["name"] == "y.mp4"
    lines = lines_in(bucket, "clips/out/manifest.jsonl")
    assert sorted((line["name"], line["source"], line["status"]) for line in lines) == [
        (name, f"s3://clips/in/{name}.mp4", "done") for name in NAMES
    ]
    assert SECRET not in out + err + json.dumps(lines)
    assert main(words) == 0
    assert "0 done, 3 done before" in capfd.readouterr().out


def test_local_videos_go_into_a_store_and_those_of_a_store_into_a_folder(
    bucket: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline_pools(monkeypatch)
    for source, out in ((str(tmp_path / "in"), "s3://clips/out"), ("s3://clips/in", tmp_path / "out")):
        results = run_corpus(source, model, out_dir=out, overlay=False, backend="onnxruntime")
        assert [(result.name, result.status) for result in results] == [(name, "done") for name in NAMES]
    tracks = (tmp_path / "out" / "a" / "x.tracks.jsonl").read_bytes()
    assert bucket.cat_file("clips/out/a/x.tracks.jsonl") == tracks


def test_what_is_new_in_the_store_is_done_and_the_rest_skipped(
    bucket: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: Pools = inline_pools(monkeypatch)
    go(model)
    bucket.copy("clips/in/a/x.mp4", "clips/in/c.mp4")
    bucket.rm("clips/out/a/y.tracks.jsonl")
    bucket.touch("clips/in/empty.mp4")
    results = go(model)
    assert {name: result.status for name, result in results.items()} == {
        "a/x": "skipped",
        "a/y": "done",
        "b/x": "skipped",
        "c": "done",
        "empty": "failed",
    }
    assert pools.asked == ["a/y", "c", "empty"]


def test_a_kill_before_the_manifest_was_put_does_nothing_twice(
    bucket: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline_pools(monkeypatch)

    class Killed(BaseException):
        pass

    def kill(*args: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("streamparts.corpus.driver.work_folder", kill)
        patch.setattr("streamparts.corpus.manifest.Manifest.close", lambda self: None)
        patch.setattr("streamparts.corpus.manifest.PUT_SECONDS", 1e9)  # however busy this machine is
        with pytest.raises(Killed):
            go(model)
    monkeypatch.setattr("streamparts.corpus.manifest.PUT_SECONDS", 0)
    runs: list[str] = []
    run = work.run_one

    def counted(path: Path, *args: Any, **options: Any) -> object:
        runs.append(path.name)
        return run(path, *args, **options)

    monkeypatch.setattr(work, "run_one", counted)
    assert {result.status for result in go(model).values()} == {"done"}
    assert len(runs) == 1, "two of three were complete: the next one is begun before the line is written"
    assert not any(name.startswith(".streamparts") for name in names_in(bucket, "clips/out"))


def test_files_of_others_and_another_run_are_refused(bucket: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inline_pools(monkeypatch)
    bucket.pipe_file("clips/out/b/x.tracks.jsonl", b"precious")
    with pytest.raises(VideoError, match=r"s3://clips/out/b/x\.tracks\.jsonl: exists already"):
        go(model)
    folder = RemoteFolder("s3://clips/out")
    folder.write(TOKEN, token_file("other", "process 7 on elsewhere", time.time() - 10))
    with pytest.raises(VideoError, match=r"\(process 7 on elsewhere\)"):
        go(model, force=True)
    folder.write(TOKEN, token_file("other", "process 7 on elsewhere", time.time() - 2 * STALE_SECONDS))
    assert {result.status for result in go(model, force=True).values()} == {"done"}


def test_a_video_that_is_gone_or_forbidden_fails_alone(
    bucket: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline_pools(monkeypatch)
    results = run_corpus(
        ["s3://clips/in/a/x.mp4", "s3://clips/in/a/none.mp4"],
        model,
        out_dir="s3://clips/out",
        overlay=False,
        backend="onnxruntime",
    )
    assert [result.status for result in results] == ["done", "failed"]
    assert results[1].error == "s3://clips/in/a/none.mp4: there is no such file"


@pytest.mark.parametrize("word", ["s3://clips/in", "s3://clips/in/**/*.mp4"])
def test_hidden_files_and_overlays_beside_their_tracks_are_no_content_of_a_store(bucket: Any, word: str) -> None:
    names = {".ipynb_checkpoints/a.mp4", "__MACOSX/a/x.mp4", "a/._x.mp4", "a/x.overlay.mp4", "a/x.tracks.jsonl"}
    for name in names:
        bucket.touch(f"clips/in/{name}")
    assert expand_address(word)[1] == [f"s3://clips/in/{name}" for name in ("a/x.mp4", "a/y.mp4", "b/x.mp4")]


@pytest.mark.parametrize("word", ["s3://clips/nowhere/*.mp4", "s3://no-such-bucket/*.mp4", "s3://clips/nowhere"])
def test_nothing_in_the_store_is_one_line(bucket: Any, word: str) -> None:
    with pytest.raises(VideoError, match=r"no video|no such file"):
        expand_address(word if word.endswith("mp4") else f"{word}/**/*.mp4")


def test_a_store_whose_library_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    with pytest.raises(MissingExtraError, match=r"gcsfs.*streamparts\[remote\]"):
        plan(["gs://bucket/*.mp4"])
    with pytest.raises(VideoError, match="nonsense"):
        plan(["nonsense://bucket/*.mp4"])
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError, match=r"fsspec.*\[remote\]"):
        plan(["s3://bucket/*.mp4"])


def test_credentials_in_an_address_are_shown_nowhere(tmp_path: Path, model: Path) -> None:
    with pytest.raises(MissingExtraError) as caught:
        run_corpus("gs://me:secret@bucket/*.mp4?token=secret", model, out_dir=tmp_path)
    assert "secret" not in str(caught.value)
