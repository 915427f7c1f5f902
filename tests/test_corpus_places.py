"""A corpus run writes, reads and removes nothing outside its output folder, whatever names contain."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from streamparts.corpus.manifest import Manifest, read_manifest
from streamparts.corpus.places import LocalFolder, is_inside
from streamparts.corpus.plan import plan
from streamparts.corpus.records import CorpusResult
from streamparts.corpus.remote import RemoteFolder, fetched
from streamparts.errors import VideoError

LEADING_OUT = ("../x", "a/../../x", "/x", "a//x", "./x", "", "a/.", "..")


@pytest.mark.parametrize("name", LEADING_OUT)
def test_a_name_that_leads_out_of_the_folder_is_refused_by_everything_that_takes_one(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "x").write_text("of somebody else")
    (tmp_path / "new").write_text("new")
    assert not is_inside(name)
    for folder in (LocalFolder(out), RemoteFolder("memory://out")):
        for use in (folder.read, folder.remove, folder.size):
            with pytest.raises(VideoError, match=r"outside.*output"):
                use(name)
        with pytest.raises(VideoError, match=r"outside.*output"):
            folder.write(name, b"mine")
        with pytest.raises(VideoError, match=r"outside.*output"):
            folder.put(tmp_path / "new", name)
    assert (tmp_path / "x").read_text() == "of somebody else"


def test_a_link_in_the_folder_does_not_lead_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "day").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VideoError, match=r"points.*outside"):
        LocalFolder(tmp_path / "out").write("day/x.tracks.jsonl", b"mine")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_keys_of_a_store_become_names_below_the_folder() -> None:
    names = [item.name for item in plan(["memory://videos/day/../../../x.mp4", "memory://videos/day/z.mp4"])]
    assert all(map(is_inside, names))
    assert len(set(names)) == 2


def test_a_fetched_file_lies_in_the_folder_made_for_it() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/videos/x.mp4", b"0123")
    with fetched("memory://videos/x.mp4") as (path, version):
        assert path.name == "x.mp4"
        assert version.size == 4


@pytest.mark.parametrize("field", ["name", "path"])
def test_a_manifest_that_came_along_with_a_name_that_leads_out_is_refused(tmp_path: Path, field: str) -> None:
    sound = CorpusResult(
        status="done", name="day/x", source="x.mp4", model="m", model_sha256="", options_sha256="", streamparts="0"
    )
    line = json.loads(msgspec.json.encode(sound))
    line["outputs"] = [{"path": "day/x.tracks.jsonl", "bytes": 3}]
    (line if field == "name" else line["outputs"][0])[field] = "day/../../../x"
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    for read in (read_manifest, Manifest):
        with pytest.raises(VideoError, match=r"line 1\b.*'day/\.\./\.\./\.\./x'"):
            read(LocalFolder(tmp_path))
