"""Text files from other systems are readable, and all of ours are written with an explicit encoding."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from streamparts.errors import TracksError, VideoError
from streamparts.formats import convert
from streamparts.sources import expand_sources
from streamparts.texts import decoded, encoding_of, listed_lines, readable
from tests.conftest import ROOT


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_text_is_read_as_editors_of_all_systems_save_it(tmp_path: Path, encoding: str, end: str) -> None:
    text = f"größe,x{end}müller,1{end}"
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    assert decoded(path.read_bytes()) == "größe,x\nmüller,1\n"
    assert path.read_text(encoding=encoding_of(path)) == "größe,x\nmüller,1\n"


def test_what_is_no_text_is_refused_with_its_line() -> None:
    with pytest.raises(ValueError, match="line 3 is not text"):
        decoded(b"a\nb\nc\0d")
    with pytest.raises(ValueError, match="line 2 is not text"):
        decoded(b"a\n\x81\xff")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_list_of_sources_from_windows_is_read(tmp_path: Path, encoding: str) -> None:
    for name in ("müll.mp4", "b c.mp4"):
        (tmp_path / name).touch()
    words = f'# clips\r\n"müll.mp4"\r\n"{tmp_path / "b c.mp4"}"\r\n'
    (tmp_path / "list.txt").write_bytes(words.encode(encoding))
    assert expand_sources([f"@{tmp_path / 'list.txt'}"]) == [str(tmp_path / "müll.mp4"), str(tmp_path / "b c.mp4")]


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode on Windows")
def test_a_list_may_hold_names_that_are_no_utf8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).touch()
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.mp4\n")
    assert listed_lines(tmp_path / "list.txt") == [os.fsdecode(b"caf\xe9.mp4")]


def test_a_list_that_is_no_text_says_the_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a.mp4\n\0\0")
    with pytest.raises(VideoError, match=r"list\.txt: line 2 is not text"):
        expand_sources([f"@{tmp_path / 'list.txt'}"])


def test_names_are_readable_whatever_bytes_they_have() -> None:
    assert readable(os.fsdecode(b"caf\xe9 \xc3\xa9")).encode() == "caf\ufffd é".encode()


def test_boxes_and_tables_from_windows_are_read(tmp_path: Path) -> None:
    from train.inputs.boxes import read_boxes

    path = tmp_path / "boxes.csv"
    path.write_bytes("name,x,y,width,height\r\nmüll.png,1,2,3,4\r\n".encode("cp1252"))
    assert list(read_boxes(path)) == ["müll.png"]
    path.write_bytes("name,x,y,width,height\r\nmüll.png,1,2,3,4\r\n".encode("utf-16"))
    assert list(read_boxes(path)) == ["müll.png"]


@pytest.mark.parametrize("data", [b"a\xff\n\xfeb\n\x81\x8d", "a\nb\n".encode("utf-16") + b"\x00\xd8"])
def test_a_table_that_is_no_text_says_the_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(ValueError, match="line 3 is not text"):
        encoding_of(tmp_path / "t.csv")
    for kind in (None, "dlc"):
        with pytest.raises(TracksError, match=r"t\.csv: .*line 3"):
            convert(tmp_path / "t.csv", tmp_path / "t.jsonl", kind or "csv", rate=25, size=(48, 64))


def test_a_table_with_semicolons_says_what_to_change(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("frame;pts\n0;0\n", encoding="utf-8")
    with pytest.raises(TracksError, match=r"t\.csv: line 1.*commas"):
        convert(tmp_path / "t.csv", tmp_path / "t.jsonl", "csv", rate=25, size=(48, 64))


def test_any_bytes_are_text_or_one_line_that_says_where_not() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = rng.integers(0, 256, rng.integers(0, 60), np.uint8).tobytes()
        try:
            assert "\r" not in decoded(data)
        except ValueError as error:
            assert re.match(r"line \d+ is not text", str(error))
        readable(os.fsdecode(data.replace(b"\0", b""))).encode()


def opened_as_text(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that open a text file without an encoding."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if not isinstance(call.func, ast.Attribute) or any(word.arg == "encoding" for word in call.keywords):
            continue
        mode = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
        opens = call.func.attr == "open" and isinstance(mode, str) and mode in ("r", "w", "a", "x")
        if opens or (call.func.attr == "write_text") or (call.func.attr == "read_text" and not call.args):
            yield call


def test_every_text_file_of_ours_says_how_it_is_encoded() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for package in ("streamparts", "train", "export", "benchmarks")
        for path in sorted((ROOT / package).rglob("*.py"))
        for call in opened_as_text(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []
