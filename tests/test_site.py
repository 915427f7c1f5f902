"""The documentation site: every exported name has an entry, in the order of the index, and links resolve."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

import streamparts
from tests.conftest import ROOT
from tests.pages import PAGES

API = ROOT / "docs" / "api"


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("mkdocs")
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("hooks")


def entries(page: str) -> list[str]:
    """Full names of what a page of the API shows."""
    return re.findall(r"^::: (\S+)$", (API / page).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_exported_name_has_one_entry() -> None:
    assert sorted(entries("index.md")) == [f"streamparts.{name}" for name in streamparts.__all__]


@pytest.mark.parametrize("name", entries("modules.md"))
def test_other_entries_are_there_and_documented(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert (getattr(importlib.import_module(module), attribute).__doc__ or "").strip()


def test_the_site_has_every_page_in_the_order_of_the_index(hooks: ModuleType) -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    sections = list(hooks._sections(index))
    assert next(title for title, _ in sections) == "Start here"
    listed = [page for _, pages in sections for page in pages]
    assert sorted(listed) == sorted(
        page.name for page in PAGES if page.parent.name == "docs" and page.name != "index.md"
    )


def test_links_are_those_of_the_site(hooks: ModuleType) -> None:
    text = (
        "[a](sources.md#kinds) [b](../README.md#measured) [c](../examples/webcam.py) [d](https://a.org) ![e](x.png)\n"
        "```\n[f](sources.md)\n```\n[g](../examples/notebook.ipynb)\n"
    )
    assert hooks._relinked(text, "docs/live.md", "live.md") == (
        "[a](sources.md#kinds) [b](index.md#measured) [c](examples/webcam.py.md) [d](https://a.org) ![e](x.png)\n"
        "```\n[f](sources.md)\n```\n[g](examples/notebook.ipynb)\n"
    )
    assert hooks._relinked("[h](docs/live.md)", "README.md", "index.md") == "[h](live.md)"
    assert hooks._relinked("[i](../docs/live.md)", "api/x.md", "api/x.md") == "[i](../live.md)"


def test_files_outside_of_the_pages_are_found_through_links(hooks: ModuleType) -> None:
    outside = hooks._outside()
    assert {"examples/webcam.py", "examples/notebook.ipynb"} <= set(outside)
    assert not [name for name in outside if name.startswith("docs/")]
    assert all((ROOT / name).is_file() for name in outside)


def test_a_file_is_shown_as_a_page(hooks: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "small.py"
    path.write_text("print(1)\n")
    assert hooks._shown(path) == "# small.py\n\n```python\nprint(1)\n```\n"


def test_the_site_fetches_nothing_from_elsewhere() -> None:
    """Neither while it is built nor in a reader's browser."""
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in config
    assert not re.search(r"https?://|extra_javascript|extra_css|analytics|repo_url", config)
