"""Repeated runs of a corpus: the work they do and skip."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from streamparts import Smoothing, __version__, load_model, run_corpus
from streamparts.cli import main
from streamparts.corpus.manifest import Manifest
from streamparts.corpus.options import BOTH, CorpusOptions, Settings
from streamparts.corpus.places import LocalFolder
from streamparts.corpus.records import CorpusResult
from streamparts.corpus.work import Worker
from streamparts.errors import StreampartsError, VideoError
from streamparts.runtime.options import Tracking
from streamparts.sinks.outputs import Outputs
from streamparts.sources.reading import Reading
from tests.conftest import ROOT
from tests.corpora import NAMES, Pools, files_in, frame_numbers, inline_pools, manifest_lines, write_corpus
from tests.media import decode, numbered_video, picture_file, read_number
from tests.tiny_model import tiny_spec, write_tiny_model


@pytest.fixture(autouse=True)
def pools(monkeypatch: pytest.MonkeyPatch) -> Pools:
    return inline_pools(monkeypatch)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "in")


def go(corpus: Path | str, model: Path, out: Path, **options: Any) -> dict[str, CorpusResult]:
    lines: list[str] = []
    arguments = {"backend": "onnxruntime", "overlay": False, "say": lines.append, **options}
    results = run_corpus(corpus, model, out_dir=out, **arguments)
    go.said = lines  # type: ignore[attr-defined]
    return {result.name: result for result in results}


def said() -> str:
    return "\n".join(go.said)  # type: ignore[attr-defined]


def statuses(results: dict[str, CorpusResult]) -> dict[str, str]:
    return {name: result.status for name, result in results.items()}


ALL_DONE = dict.fromkeys(NAMES, "done")
ALL_SKIPPED = dict.fromkeys(NAMES, "skipped")


def test_what_is_done_is_skipped_without_reading_it(
    tmp_path: Path, corpus: Path, model: Path, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = go(corpus, model, tmp_path / "out")
    before = (tmp_path / "out" / "manifest.jsonl").read_bytes()
    monkeypatch.setattr("streamparts.corpus.work.sha256_of", lambda path: pytest.fail("was read"))
    again = go(corpus, model, tmp_path / "out")
    assert statuses(first) == ALL_DONE and statuses(again) == ALL_SKIPPED
    assert len(pools) == 1, "no worker is started"
    assert again["a/x"].frames == first["a/x"].frames == 8
    assert (tmp_path / "out" / "manifest.jsonl").read_bytes() == before
    assert said() == "3 of 3 videos are done already"


def test_the_same_content_with_another_date_is_read_and_skipped(
    tmp_path: Path, corpus: Path, model: Path, pools: Pools
) -> None:
    go(corpus, model, tmp_path / "out")
    os.utime(corpus / "a" / "x.mp4", ns=(1, 1))
    assert statuses(go(corpus, model, tmp_path / "out")) == ALL_SKIPPED
    assert pools.asked == ["a/x"]
    assert statuses(go(corpus, model, tmp_path / "out")) == ALL_SKIPPED
    assert len(pools) == 2, "the date is known now"
    assert [line["status"] for line in manifest_lines(tmp_path / "out")] == ["done"] * 3


def test_a_corpus_that_was_moved_is_skipped(tmp_path: Path, corpus: Path, model: Path) -> None:
    go(corpus, model, tmp_path / "out")
    shutil.copytree(corpus, tmp_path / "moved")
    assert statuses(go(tmp_path / "moved", model, tmp_path / "out")) == ALL_SKIPPED


def test_another_corpus_with_the_same_names_replaces_nothing(tmp_path: Path, corpus: Path, model: Path) -> None:
    go(corpus, model, tmp_path / "out")
    other = write_corpus(tmp_path / "other", num_frames=20)
    results = go(other, model, tmp_path / "out")
    assert set(statuses(results).values()) == {"failed"}
    assert f"{corpus}/a/x.mp4; give another --out-dir" in (results["a/x"].error or "")
    assert frame_numbers(tmp_path / "out" / "a" / "x.tracks.jsonl") == list(range(8))


def test_new_content_is_tracked_again(tmp_path: Path, corpus: Path, model: Path, pools: Pools) -> None:
    go(corpus, model, tmp_path / "out")
    numbered_video(corpus / "a" / "x.mp4", 13, 48, 64)
    results = go(corpus, model, tmp_path / "out")
    assert statuses(results) == {**ALL_SKIPPED, "a/x": "done"}
    assert frame_numbers(tmp_path / "out" / "a" / "x.tracks.jsonl") == list(range(13))


def test_another_model_or_other_options_do_all_again_and_say_so(tmp_path: Path, corpus: Path, model: Path) -> None:
    out = tmp_path / "out"
    go(corpus, model, out)
    other = write_tiny_model(tmp_path / "other.onnx", spec=tiny_spec(parts=("rouge", "vert")))
    assert statuses(go(corpus, other, out)) == ALL_DONE
    assert "3 are processed again: they were made with another model" in said()
    assert b"rouge" in (out / "a" / "x.tracks.jsonl").read_bytes()
    assert statuses(go(corpus, other, out, smoothing=Smoothing())) == ALL_DONE
    assert "3 are processed again: they were made with other options" in said()
    assert statuses(go(corpus, other, out, smoothing=Smoothing(), threads=1, hwaccel="auto")) == ALL_SKIPPED


def test_the_options_that_count_are_those_that_change_the_outputs() -> None:
    tracks = Outputs(tracks=Path("tracks.jsonl"))
    plain = CorpusOptions(outputs=tracks)
    same = [
        CorpusOptions(outputs=replace(tracks, encoder="h264_nvenc", audio=False)),
        CorpusOptions(outputs=tracks, reading=Reading(hwaccel="cuda")),
    ]
    other = [
        CorpusOptions(),
        CorpusOptions(outputs=replace(tracks, masks=True)),
        CorpusOptions(outputs=tracks, reading=Reading(every=2)),
        CorpusOptions(outputs=tracks, tracking=Tracking(max_fps=2)),
        CorpusOptions(outputs=replace(BOTH, tracks=None)),
        CorpusOptions(outputs=replace(BOTH, encoder="x")),
    ]
    assert {options.sha256 for options in same} == {plain.sha256}
    assert len({options.sha256 for options in (plain, *other)}) == 7


def test_options_have_the_sums_of_earlier_versions() -> None:
    """Otherwise whole corpora would be processed again after an update."""
    region = Tracking(smoothing=Smoothing(), roi=(1.0, 2.0, 3.0, 4.0), max_fps=3.0)
    part = Reading(damaged="drop", start=1.0, end=2.5, every=3)
    made = (
        CorpusOptions(),
        CorpusOptions(outputs=replace(BOTH, overlay=None)),
        CorpusOptions(tracking=region, reading=Reading(fps=Fraction(25))),
        CorpusOptions(outputs=replace(BOTH, masks=True), reading=part),
    )
    assert [options.sha256[:8] for options in made] == ["21703f2b", "499a371b", "7104a1b3", "d8afbcf0"]


def test_outputs_that_are_gone_or_were_changed_are_made_again(tmp_path: Path, corpus: Path, model: Path) -> None:
    out = tmp_path / "out"
    go(corpus, model, out)
    (out / "a" / "x.tracks.jsonl").unlink()
    (out / "a" / "y.tracks.jsonl").write_text("scribble")
    assert statuses(go(corpus, model, out)) == {"a/x": "done", "a/y": "done", "b/x": "skipped"}
    assert "2 are processed again: outputs were removed or changed" in said()


def test_force_does_all_again(tmp_path: Path, corpus: Path, model: Path) -> None:
    go(corpus, model, tmp_path / "out")
    assert statuses(go(corpus, model, tmp_path / "out", force=True)) == ALL_DONE


def test_files_of_others_are_kept_unless_forced(tmp_path: Path, corpus: Path, model: Path) -> None:
    precious = tmp_path / "out" / "b" / "x.tracks.jsonl"
    precious.parent.mkdir(parents=True)
    precious.write_text("precious")
    with pytest.raises(VideoError, match=r"b/x\.tracks\.jsonl: exists already.*--force"):
        go(corpus, model, tmp_path / "out")
    assert files_in(tmp_path / "out") == {"b/x.tracks.jsonl"}
    assert precious.read_text() == "precious"
    assert statuses(go(corpus, model, tmp_path / "out", force=True)) == ALL_DONE


def test_a_failed_video_is_tried_again_by_the_next_run(tmp_path: Path, corpus: Path, model: Path) -> None:
    good = (corpus / "a" / "x.mp4").read_bytes()
    (corpus / "a" / "x.mp4").write_text("half copied")
    out = tmp_path / "out"
    assert statuses(go(corpus, model, out)) == {**ALL_DONE, "a/x": "failed"}
    assert not (out / "a" / "x.tracks.jsonl").exists()
    (corpus / "a" / "x.mp4").write_bytes(good)
    assert statuses(go(corpus, model, out)) == {**ALL_SKIPPED, "a/x": "done"}
    assert sorted((line["name"], line["status"]) for line in manifest_lines(out)) == [(name, "done") for name in NAMES]


def test_a_file_that_is_missing_fails_as_one_of_many(tmp_path: Path, corpus: Path, model: Path) -> None:
    results = run_corpus(
        [corpus / "a" / "x.mp4", corpus / "a" / "none.mp4"],
        model,
        out_dir=tmp_path / "out",
        overlay=False,
        backend="onnxruntime",
    )
    assert [result.status for result in results] == ["done", "failed"]
    assert results[1].error is not None and "a/none.mp4: no such file (on " in results[1].error


@pytest.mark.parametrize("retries", [0, 2])
def test_a_lost_worker_costs_an_attempt_as_often_as_asked(
    tmp_path: Path, corpus: Path, model: Path, pools: Pools, retries: int
) -> None:
    pools.dies = lambda task: task.name == "a/y"
    results = go(corpus, model, tmp_path / "out", retries=retries)
    assert statuses(results) == {**ALL_DONE, "a/y": "failed"}
    assert (results["a/y"].error, results["a/y"].attempts) == ("it died", retries + 1)
    assert [attempt for name, attempt in pools[-1].asked if name == "a/y"] == list(range(1, retries + 2))


def test_an_attempt_goes_on_after_the_tracks_that_the_one_before_it_left(
    tmp_path: Path, corpus: Path, model: Path, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first worker dies when the files are complete but for the last lines, and still in their own folder."""
    from streamparts.corpus import work

    out, names = tmp_path / "out", work.outputs_in

    def die_once(scratch: Path, name: str) -> object:
        monkeypatch.setattr(work, "outputs_in", names)
        tracks = scratch / "tracks.jsonl"
        tracks.write_bytes(b"".join(tracks.read_bytes().splitlines(keepends=True)[:5]) + b'{"type":"fra')
        raise MemoryError("no memory")

    monkeypatch.setattr(work, "outputs_in", die_once)
    results = go(corpus / "a" / "x.mp4", model, out)
    (result,) = results.values()
    assert (result.status, result.frames, result.attempts, result.resumed_at) == ("done", 8, 2, 4)
    assert frame_numbers(out / "x.tracks.jsonl") == list(range(8))
    assert "x: unexpected MemoryError: no memory; it is tried again" in said()


def test_an_overlay_is_begun_anew_and_is_one_file(
    tmp_path: Path, corpus: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An mp4 cannot be continued in one file."""
    from streamparts.corpus import work

    out, names = tmp_path / "out", work.outputs_in

    def die_once(scratch: Path, name: str) -> object:
        monkeypatch.setattr(work, "outputs_in", names)
        raise MemoryError("no memory")

    monkeypatch.setattr(work, "outputs_in", die_once)
    (result,) = go(corpus / "a" / "x.mp4", model, out, overlay=True).values()
    assert (result.status, result.frames, result.attempts, result.resumed_at) == ("done", 8, 2, None)
    assert files_in(out) == {"x.overlay.mp4", "x.tracks.jsonl", "manifest.jsonl"}
    assert [read_number(image) for image, _ in decode(out / "x.overlay.mp4")] == list(range(8))
    assert frame_numbers(out / "x.tracks.jsonl") == list(range(8))


def test_an_overlay_whose_pictures_change_their_size_has_all_its_files(tmp_path: Path, model: Path) -> None:
    (tmp_path / "in" / "shots").mkdir(parents=True)
    for number, height in enumerate((96, 96, 64)):
        picture_file(tmp_path / "in" / "shots" / f"{number}.png", number, height)
    (result,) = go(tmp_path / "in" / "shots", model, tmp_path / "out", overlay=True).values()
    wanted = ["shots.overlay.mp4", "shots.overlay.001.mp4", "shots.tracks.jsonl"]
    assert [file.path for file in result.outputs] == wanted
    assert files_in(tmp_path / "out") == {*wanted, "manifest.jsonl"}


@pytest.mark.parametrize("step", ["finished", "moved", "line"])
def test_a_kill_at_the_end_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, corpus: Path, model: Path, pools: Pools, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Between what is written down, the files at their places, and the line in the manifest."""

    class Killed(BaseException):
        pass

    def kill(*args: object) -> None:
        raise Killed

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        if step == "finished":
            patch.setattr(LocalFolder, "put", kill)
        elif step == "moved":
            patch.setattr(Manifest, "add", kill)
        else:
            patch.setattr("streamparts.corpus.driver.work_folder", kill)
        with pytest.raises(Killed):
            go(corpus / "a" / "x.mp4", model, out)
    runs = []
    monkeypatch.setattr("streamparts.corpus.work.run_one", lambda *args, **options: runs.append(args))
    results = go(corpus / "a" / "x.mp4", model, out)
    assert runs == []
    assert [(result.status, result.frames) for result in results.values()] == [
        ("skipped" if step == "line" else "done", 8)
    ]
    assert frame_numbers(out / "x.tracks.jsonl") == list(range(8))
    assert len(manifest_lines(out)) == 1


def test_half_a_line_of_a_manifest_is_cut_off_and_a_damaged_one_told(tmp_path: Path, corpus: Path, model: Path) -> None:
    manifest = tmp_path / "out" / "manifest.jsonl"
    go(corpus, model, tmp_path / "out")
    whole = manifest.read_bytes()
    manifest.write_bytes(whole + b'{"schema":"stre')
    assert statuses(go(corpus, model, tmp_path / "out")) == ALL_SKIPPED
    assert manifest.read_bytes() == whole
    manifest.write_bytes(b"nonsense\n" + whole)
    with pytest.raises(VideoError, match=r"manifest\.jsonl: line 1 is damaged"):
        go(corpus, model, tmp_path / "out")


def test_a_video_that_changes_while_it_is_read_fails(
    tmp_path: Path, corpus: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamparts.corpus import work

    run = work.run_one

    def touching(path: Path, *args: Any, **options: Any) -> object:
        summary = run(path, *args, **options)
        os.utime(path, ns=(7, 7))
        return summary

    monkeypatch.setattr(work, "run_one", touching)
    (result,) = go(corpus / "a" / "x.mp4", model, tmp_path / "out").values()
    assert (result.status, result.attempts) == ("failed", 1)
    assert "was changed while it was read" in (result.error or "")
    assert files_in(tmp_path / "out") == {"manifest.jsonl"}


def test_a_folder_of_outputs_that_cannot_be_one_is_a_line(tmp_path: Path, corpus: Path, model: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VideoError, match=r"file: is a file"):
        go(corpus, model, tmp_path / "file")
    with pytest.raises(VideoError, match=r"output folder|is a file"):
        go(corpus, model, tmp_path / "file" / "below")


def test_a_subset_keeps_its_names_and_the_lines_of_the_others(tmp_path: Path, corpus: Path, model: Path) -> None:
    out = tmp_path / "out"
    go(str(corpus / "**" / "*.mp4"), model, out)
    assert statuses(go(corpus / "a" / "x.mp4", model, out)) == {"a/x": "skipped"}
    assert len(manifest_lines(out)) == 3


def test_trimming_masks_and_sequences_of_pictures_reach_the_workers(tmp_path: Path, corpus: Path, model: Path) -> None:
    (corpus / "shots").mkdir()
    for number in range(4):
        picture_file(corpus / "shots" / f"{number}.png", number)
    results = go(corpus / "shots", model, tmp_path / "out", start=0.1, every=2, fps=10, masks=True)
    assert statuses(results) == {"shots": "done"}
    text = (tmp_path / "out" / "shots.tracks.jsonl").read_text()
    assert frame_numbers(tmp_path / "out" / "shots.tracks.jsonl") == [1, 3]
    assert '"counts"' in text
    picture_file(corpus / "shots" / "9.png", 9)
    assert statuses(go(corpus / "shots", model, tmp_path / "out", start=0.1, every=2, fps=10, masks=True)) == {
        "shots": "done"
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"overlay": False, "tracks": False}, "overlays, tracks or both"),
        ({"tracks": False, "masks": True}, "masks go into the tracks"),
        ({"workers": 0}, "workers 0"),
        ({"retries": -1}, "retries -1"),
        ({"backend": "abacus"}, "no backend called 'abacus'"),
        ({"gpus_per_task": 1}, "give cluster"),
        ({"start": 2, "end": 1}, "0 <= start < end"),
        ({"cluster": "auto", "cpus_per_task": -1}, "must not be negative"),
    ],
)
def test_arguments_that_make_no_sense_are_value_errors(
    tmp_path: Path, corpus: Path, model: Path, arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        run_corpus(corpus, model, out_dir=tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_a_worker_refuses_another_version_and_another_disk(tmp_path: Path, model: Path) -> None:
    settings = Settings(load_model(model), CorpusOptions(), "onnxruntime", 1, str(tmp_path), "token", "0.0.1")
    with pytest.raises(StreampartsError, match=r"started by 0\.0\.1"):
        Worker(settings)
    with pytest.raises(VideoError, match=r"machines.*share"):
        Worker(replace(settings, version=__version__))


def test_every_line_is_of_the_schema_and_every_field_in_the_documentation(
    tmp_path: Path, corpus: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    (corpus / "a" / "x.mp4").write_text("broken")
    go(corpus, model, tmp_path / "out")
    assert main(["schema", "manifest"]) == 0
    schema = json.loads(capsys.readouterr().out)
    for line in manifest_lines(tmp_path / "out"):
        jsonschema.validate(line, schema)
        assert set(line) == set(schema["properties"])
    page = (ROOT / "docs" / "corpus.md").read_text(encoding="utf-8")
    fields = {name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert set(schema["properties"]) == fields
