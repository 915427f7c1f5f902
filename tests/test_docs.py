"""The documentation is correct: its code runs, its commands parse, its links resolve."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import shutil
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from streamparts.bundle.load import find_model
from streamparts.cli import _parser, main
from streamparts.cli.output_flags import with_show_kind
from streamparts.errors import MissingExtraError
from streamparts.learning.trainers import TRAINERS
from tests.conftest import ROOT
from tests.media import first_frames
from tests.pages import PAGES, SHELL, Block, anchors, blocks, headings, inline_commands, links, place

CLIPS = ("dance.mp4", "clip.mp4", "left.mp4", "right.mp4", "other.mp4", "mouse.mp4")
MODELS = ("my.onnx", "mouse.onnx", "dancer.onnx", "arm.onnx")
"""Names that pages use for a user's video and model; here the example and the bundled model."""
TRACKS = {"docs/formats.md": "dance.jsonl", "docs/outputs.md": "dance.jsonl"}
"""Pages that start from tracks, and the name they use for them."""
WHOLE = ("docs/corpus.md", "docs/live.md")
"""Pages that print how many frames an example has; on the others it has its first second."""


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


@pytest.fixture(scope="session")
def short_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first second of each example."""
    folder = tmp_path_factory.mktemp("short")
    for clip in (ROOT / "examples").glob("*.mp4"):
        first_frames(clip, folder / clip.name, 30)
    return folder


@pytest.fixture
def folder(page: Path, puppet_tracks: Path, short_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that the page assumes."""
    text = page.read_text(encoding="utf-8")
    examples = ROOT / "examples" if page_name(page) in WHOLE else short_clips
    (tmp_path / "examples").mkdir()
    for clip in ("people.mp4", "puppet.mp4", *(name for name in ("dog.mp4", "arm.mp4") if name in text)):
        shutil.copyfile(examples / clip, tmp_path / "examples" / clip)
    for names, original in ((CLIPS, short_clips / "people.mp4"), (MODELS, find_model("puppet-human"))):
        for name in names:
            if name in text:
                shutil.copyfile(original, tmp_path / name)
    if name := TRACKS.get(page_name(page)):
        shutil.copyfile(puppet_tracks, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@each_page
def test_its_code_runs(page: Path, folder: Path) -> None:
    """Python and commands in their order, in one folder and one namespace."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    missing: list[str] = []
    for block in blocks(page):
        if block.reason is None:
            try:
                run_block(block, namespace)
            except MissingExtraError as error:
                missing.append(f"{block.place}: {error}")
    if missing:
        pytest.skip("; ".join(missing))


def run_block(block: Block, namespace: dict[str, Any]) -> None:
    if block.language == "python":
        printed = run_python(block, namespace)
        if block.output is not None:
            assert same_text(printed, block.output), f"{block.place}: prints\n{printed}\nnot\n{block.output}"
    for line, words in block.commands():
        if words[0] == "streamparts" and words[1] not in TRAINERS:  # those take minutes; their flags are checked
            run_command(place(block.page, line), words[1:], block.error_below(line))


def run_python(block: Block, namespace: dict[str, Any]) -> str:
    """Captured output."""
    name = page_name(block.page)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            code = compile("\n" * (block.line - 1) + block.text, name, "exec", dont_inherit=True)
            exec(code, namespace)
        except MissingExtraError:
            raise
        except Exception as error:
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
            where = f"{name}:{lines[-1] if lines else block.line}"
            raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
    return printed.getvalue()


def run_command(where: str, words: list[str], error: str | None) -> None:
    """With --force, for pages write what others wrote before, unless it shall fail with `error`. Raises
    MissingExtraError where a library is not here."""
    args = parsed(where, words)
    flags = ("quiet",) if error else ("quiet", "force")
    words += [f"--{flag}" for flag in flags if getattr(args, flag, None) is False]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(words)
    if error:
        assert (code, said.getvalue().strip()) == (1, error), where
        return
    if code and "pip install 'streamparts[" in said.getvalue():
        raise MissingExtraError(said.getvalue().strip())
    assert code == 0, f"{where}: exit code {code}: {said.getvalue()}"


def same_text(printed: str, shown: str) -> bool:
    """True if the texts are equal up to a last line of "..."; decimal numbers may differ by 0.2."""
    begin, ellipsis, _ = shown.partition("\n...")
    got, want = printed.strip().split("\n"), begin.strip().split("\n")
    got = got[: len(want)] if ellipsis else got
    number = r"\d+\.\d+"
    texts, wanted = (re.sub(number, "#", "\n".join(lines)) for lines in (got, want))
    values, numbers = ([float(value) for value in re.findall(number, "\n".join(lines))] for lines in (got, want))
    return texts == wanted and values == pytest.approx(numbers, abs=0.2)


def parsed(where: str, words: list[str]) -> argparse.Namespace:
    """By the parser of `streamparts`."""
    return understood(where, lambda: _parser().parse_args(with_show_kind(words)))


def understood(where: str, parse: Callable[[], Any]) -> Any:
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        try:
            return parse()
        except SystemExit as end:
            if not end.code:  # --help
                return None
    pytest.fail(f"{where}: {said.getvalue().strip()}")


def parse_flags_of(module: str, words: list[str]) -> Any:
    """Parsed by the module of a trainer."""
    loaded = import_module(module)
    if hasattr(loaded, "parse_config"):
        return loaded.parse_config(words)
    make = getattr(loaded, "parser", None) or loaded._parser
    return make().parse_args(words)


def check_command(where: str, words: list[str]) -> None:
    """Check that the command is valid; a bare name is only looked up."""
    match words:
        case ["streamparts", command]:
            assert command.startswith("-") or command in _parser().format_help(), f"{where}: no command {command}"
        case ["streamparts", command, *rest] if command in TRAINERS:
            pytest.importorskip("tyro")
            understood(where, lambda: parse_flags_of(TRAINERS[command].module, rest))
        case ["streamparts", *rest]:
            parsed(where, rest)
        case ["python" | "python3", "-m", module, *rest]:
            path = module.replace(".", "/")
            is_there = any((ROOT / name).is_file() for name in (f"{path}.py", f"{path}/__main__.py"))
            assert is_there, f"{where}: no module {module}"
            if rest and module.split(".")[0] in ("train", "export"):
                pytest.importorskip("tyro")
                file = module if (ROOT / f"{path}.py").is_file() else f"{module}.__main__"
                understood(where, lambda: parse_flags_of(file, rest))
        case ["torchrun", *rest]:
            launcher = pytest.importorskip("torch.distributed.run").get_args_parser()
            given = understood(where, lambda: launcher.parse_args(rest))
            assert given.module, f"{where}: -m is missing"
            program = [given.training_script, *given.training_script_args]
            check_command(where, program if program[0] == "streamparts" else ["python", "-m", *program])
        case ["python" | "python3", script, *_] if script.endswith(".py"):
            assert (ROOT / script).is_file(), f"{where}: no file {script}"
        case ["make", target]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"{where}: no target {target}"
        case _:
            pytest.fail(f"{where}: a command that nothing checks: {' '.join(words)}")


@each_page
def test_its_commands_are_understood(page: Path) -> None:
    for block in blocks(page):
        for line, words in block.commands():
            check_command(place(page, line), words)
    for line, words in inline_commands(page):
        check_command(place(page, line), words)


@each_page
def test_what_is_not_run_says_why(page: Path) -> None:
    """Blocks without code need no reason, and a reason is a few words."""
    for block in blocks(page):
        code = block.language == "python" or any(True for _ in block.commands())
        assert code or block.reason is None, f"{block.place}: nothing here would run, so it needs no reason"
        assert block.reason is None or len(block.reason.split()) >= 2, f"{block.place}: why is it not run?"
        known = (*SHELL, "python", "json", "markdown")
        assert block.language in known, f"{block.place}: {block.language} is not checked"


@each_page
def test_its_json_is_json(page: Path) -> None:
    for block in blocks(page):
        if block.language == "json":
            try:
                json.loads(block.text)
            except ValueError:
                for offset, line in enumerate(block.text.split("\n")):
                    try:
                        json.loads(line)
                    except ValueError as error:
                        pytest.fail(f"{place(page, block.line + offset)}: {error}")


@each_page
def test_its_links_lead_somewhere(page: Path) -> None:
    for line, target in links(page):
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), f"{place(page, line)}: {target} does not exist"
        assert other.is_relative_to(ROOT), f"{place(page, line)}: {target} is outside of the project"
        if anchor:
            assert anchor in anchors(other), f"{place(page, line)}: {name} has no heading #{anchor}"


@each_page
def test_it_has_one_title_and_it_comes_first(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").split("\n")
    assert [number for number, _ in headings(page) if lines[number - 1].startswith("# ")] == [1], page_name(page)


def test_the_index_lists_every_page_once() -> None:
    listed = [target for _, target in links(ROOT / "docs" / "index.md")]
    pages = [page.name for page in PAGES if page.parent.name == "docs" and page.name != "index.md"]
    assert sorted(target for target in listed if "/" not in target) == sorted(pages)
    assert "docs/index.md" in [target for _, target in links(ROOT / "README.md")]


@pytest.mark.parametrize("model", ["puppet-human", "person"])
def test_the_shipped_models_card_follows_the_template(model: str) -> None:
    """Rows of the table and sections, in their order."""
    (template,) = (block.text for block in blocks(ROOT / "docs" / "model-card.md") if block.language == "markdown")
    card = find_model(model).with_suffix(".md").read_text(encoding="utf-8")
    assert form_of(card) == form_of(template)
    assert form_of(template)[-2:] == ["## Measured", "## Limits"]


def form_of(card: str) -> list[str]:
    """Row headings of the first table, and headings of sections."""
    table, _, rest = card.partition("## ")
    return re.findall(r"^\| (\w[\w ]*) \|", table, re.MULTILINE) + re.findall(r"^## .*", "## " + rest, re.MULTILINE)


def test_troubleshooting_quotes_messages_that_exist() -> None:
    """Messages in quotation marks; those below commands are compared with the commands' output."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    code = [path for folder in ("streamparts", "train") for path in sorted((ROOT / folder).rglob("*.py"))]
    source = "".join(path.read_text(encoding="utf-8") for path in code)
    quoted = re.findall(r'"([^"]{10,})"', text)
    assert len(quoted) >= 3
    assert [message for message in quoted if message not in source] == []


MADE_UP = """# Made up

Text with a [link](gone.md), `[no](link.md)` and `streamparts run a.mp4 \\| streamparts
info webcam`.

1. A list:

   <!-- not run: needs a camera -->
   ```
   $ streamparts run webcam \\
       --smooth  # live
   streamparts: error: none
   ```

```python
print(1)
```

```
1
```

| `streamparts run b.mp4` | [here](#made-up) |
"""


def test_pages_are_read_as_they_are_written(tmp_path: Path) -> None:
    page = tmp_path / "made-up.md"
    page.write_text(MADE_UP)
    shell, python, output = blocks(page)
    assert (shell.line, shell.language, shell.reason) == (10, "", "needs a camera")
    assert list(shell.commands()) == [(10, ["streamparts", "run", "webcam", "--smooth"])]
    assert shell.error_below(10) is None
    assert shell.error_below(11) == "streamparts: error: none"
    assert (python.line, python.text, python.reason, python.output) == (16, "print(1)", None, "1")
    assert list(output.commands()) == []
    assert list(links(page)) == [(3, "gone.md"), (23, "#made-up")]
    assert list(inline_commands(page)) == [
        (3, ["streamparts", "info", "webcam"]),
        (23, ["streamparts", "run", "b.mp4"]),
    ]
    assert anchors(page) == {"made-up"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("# A\n```\nnever closed\n", "page.md:2: this block has no end"),
        ("# A\n<!-- not run: why -->\ntext\n", "page.md:3: the reason before this line is not above a block"),
        ("# A\n<!-- not run: why -->\n", "the last reason is not above a block"),
        ("<!-- not run: a b -->\n<!-- not run: c d -->\n```\nx\n```\n", "page.md:2: two reasons for one block"),
    ],
)
def test_a_page_that_is_written_wrongly_is_named(tmp_path: Path, text: str, reason: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(AssertionError, match=re.escape(reason)):
        blocks(page)


def test_a_failure_names_page_and_line() -> None:
    """The checks themselves, on a page with one mistake of each kind."""
    page = ROOT / "docs" / "made-up.md"
    python = Block(page, 7, "python", "x = 1\ny = x / 0", None, None)
    with pytest.raises(AssertionError, match=r"docs/made-up\.md:8: ZeroDivisionError"):
        run_block(python, {})
    wrong = Block(page, 3, "python", "print('0.500 s: 2 parts')", None, "0.500 s: 3 parts")
    with pytest.raises(AssertionError, match=r"docs/made-up\.md:3: prints"):
        run_block(wrong, {})
    run_block(Block(page, 3, "python", "print('0.55 a')\nprint('b')", None, "0.50 a\n..."), {})
    shell = Block(
        page, 5, "", "$ streamparts info nothing.onnx\nstreamparts run a.mp4 --no-such-flag  # why", None, None
    )
    assert [line for line, _ in shell.commands()] == [5, 6]
    with pytest.raises(AssertionError, match=r"docs/made-up\.md:5: exit code 1: .*nothing\.onnx"):
        run_block(shell, {})
    for words, reason in (
        ("streamparts run a.mp4 --no-such-flag", "unrecognized arguments: --no-such-flag"),
        ("streamparts dance", "no command dance"),
        ("streamparts render-puppets human --no-such-flag", "the following arguments are required: --out"),
        ("streamparts train clips --out run --no-such-flag", "--no-such-flag"),
        ("python -m train.puppets human --no-such-flag", "the following arguments are required: --out"),
        ("python -m train.nothing", "no module train.nothing"),
        ("python examples/nothing.py", "no file examples/nothing.py"),
        ("make nothing", "no target nothing"),
    ):
        with pytest.raises((AssertionError, pytest.fail.Exception), match=f"made-up.md:9: (?s:.*){reason}"):
            check_command("docs/made-up.md:9", words.split())
