"""What MkDocs does not know by itself: README.md is the home page, docs/index.md gives the order of the pages, and
links to files outside of docs/ lead to pages of the site that show these files. Only `make docs` uses this."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
HOME = "index.md"
API = ("api/index.md", "api/modules.md")
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_BULLET = re.compile(r"^- \[[^\]]*\]\(([^)\s]+)\)", re.MULTILINE)
_LANGUAGES = {".py": "python", ".json": "json", ".yml": "yaml", ".toml": "toml", "": ""}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The order of the pages: as docs/index.md lists them, each paragraph before a list being a section's title."""
    nav: list[object] = [{"Home": HOME}]
    for title, pages in _sections((ROOT / "docs" / HOME).read_text(encoding="utf-8")):
        nav.append({title: pages})
    examples = [name for name in _outside() if name.startswith("examples/") and _page_of(name)]
    nav += [{"API": list(API)}, {"Examples": [{Path(name).name: _page_of(name)} for name in examples]}]
    config.nav = nav
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to outside of docs/."""
    for name in _outside():
        path = ROOT / name
        if (page := _page_of(name)) is None:
            files.append(File.generated(config, name, content=path.read_bytes()))
        elif page != HOME:
            files.append(File.generated(config, page, content=_shown(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are on the site."""
    uri = page.file.src_uri
    origin = next((name for name in _outside() if _page_of(name) == uri), f"docs/{uri}")
    if uri == HOME:
        readme = _relinked((ROOT / "README.md").read_text(encoding="utf-8"), "README.md", uri)
        pages = re.sub(r"\A# (.*)", r"## \1", markdown)
        return f"{readme}\n{_relinked(pages, 'docs/index.md', uri)}"
    return _relinked(markdown, origin, uri)


def _sections(index: str) -> Iterator[tuple[str, list[str]]]:
    blocks = [block.strip() for block in index.split("\n\n")]
    for title, block in itertools.pairwise(blocks):
        if title.endswith(":") and block.startswith("- "):
            yield title.removesuffix(":"), [page for page in _BULLET.findall(block) if "/" not in page]


def _outside() -> list[str]:
    """Files of the project outside of docs/ that pages link to, directly or from one another, by their paths."""
    found: dict[str, None] = {}
    waiting = [
        "README.md",
        *(f"docs/{path.relative_to(ROOT / 'docs')}" for path in sorted((ROOT / "docs").rglob("*.md"))),
    ]
    while waiting:
        name = waiting.pop(0)
        for target in _targets(name):
            if not target.startswith("docs/") and target not in found and (ROOT / target).is_file():
                found[target] = None
                if target.endswith(".md"):
                    waiting.append(target)
    return list(found)


def _targets(name: str) -> Iterator[str]:
    for _, target, _, _ in _LINK.findall((ROOT / name).read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def _page_of(name: str) -> str | None:
    """The page that shows a file of the project; None where it stays a file."""
    if name == "README.md":
        return HOME
    if name.startswith("docs/"):
        return name.removeprefix("docs/") if name.endswith(".md") else None
    path = Path(name)
    if path.suffix == ".md":
        return name
    return f"{name}.md" if path.suffix in _LANGUAGES else None


def _shown(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    return f"# {path.name}\n\n```{_LANGUAGES[path.suffix]}\n{text.rstrip()}\n```\n"


def _relinked(markdown: str, origin: str, uri: str) -> str:
    """`markdown` of the file `origin` with links that fit the page `uri`."""

    def replaced(match: re.Match[str]) -> str:
        begin, target, anchor, end = match.groups()
        name = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if re.match(r"[a-z]+:", target) or not (ROOT / name).exists():
            return match[0]
        place = _page_of(name) or name.removeprefix("docs/")
        return f"{begin}{posixpath.relpath(place, posixpath.dirname(uri) or '.')}{anchor or ''}{end}"

    parts = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if number % 2 else _LINK.sub(replaced, part) for number, part in enumerate(parts))
