"""Tests pin error classes, values and the offending input, not sentences: a copy-edit breaks none."""

from __future__ import annotations

import ast
import re

from tests.conftest import ROOT

SENTENCE = re.compile(r"(?<![\w.'\"\\{}/*<>=-])[a-z]+(?:,? [a-z]+){3,}(?![\w'{*/<>=-]|\.\w)")
"""Four plain words in a row."""


def patterns(source: str) -> list[str]:
    """The constant parts of every `match=` of a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "match":
            found += [each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant)]
    return [each for each in found if isinstance(each, str)]


def test_no_pattern_is_a_sentence() -> None:
    files = sorted((ROOT / "tests").glob("test_*.py"))
    found = {path.name: patterns(path.read_text(encoding="utf-8")) for path in files}
    assert sum(map(len, found.values())) > 300, "this test reads what it should"
    sentences = {name: [each for each in texts if SENTENCE.search(each)] for name, texts in found.items()}
    assert {name: texts for name, texts in sentences.items() if texts} == {}


def test_a_sentence_is_told_from_a_value() -> None:
    assert SENTENCE.search("x.mp4: the file cannot be read")
    assert not SENTENCE.search(r"x\.mp4: its frames need 2 MB in .*cache")
    assert patterns("with raises(X, match=f'a {b} c'): ...") == ["a ", " c"]
