"""The page for naming parts: its content, its storage, and its access control."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest

from streamparts.backends.loading import load_model
from streamparts.bundle.spec import ModelSpec
from streamparts.errors import ModelError
from streamparts.naming.names import Pair, renamed
from streamparts.naming.page import FORM_TYPE, MAX_FORM_BYTES, NamePage
from tests.conftest import environment
from tests.tiny_model import tiny_spec

pytestmark = pytest.mark.usefixtures("no_threads_left")
SPEC = tiny_spec(parts=("<b>&", "near", "far"))
Stored = list[tuple[dict[int, str], list[Pair]]]


@pytest.fixture
def stored() -> Stored:
    """Saved input."""
    return []


@contextmanager
def serving(spec: ModelSpec, stored: Stored, num_pictures: int) -> Iterator[NamePage]:
    """The page of a model of three parts; the first has so many images, the second one, the third none."""

    def save(names: Mapping[int, str], pairs: Sequence[Pair]) -> str:
        try:
            renamed(spec, names, pairs)
        except ValueError as error:
            raise ModelError(str(error)) from error
        stored.append((dict(names), list(pairs)))
        return "tiny.onnx"

    picture = np.full((8, 8, 3), 200, np.uint8)
    with closing(NamePage(spec, [[picture] * num_pictures, [picture], []], save)) as page:
        yield page


@pytest.fixture
def page(stored: Stored) -> Iterator[NamePage]:
    with serving(SPEC, stored, 2) as page:
        yield page


def ask(address: str, path: str = "", form: dict[str, str] | bytes | None = None, **headers: str) -> tuple[int, str]:
    url = urlsplit(address)
    with closing(HTTPConnection("127.0.0.1", url.port or 0, timeout=10)) as connection:
        body = urlencode(form) if isinstance(form, dict) else form
        kind = {} if form is None else {"Content-Type": FORM_TYPE}
        given = {**kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request("GET" if form is None else "POST", url.path + path, body, given)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("latin-1")


def typed(*names: str, partners: Sequence[str] = ()) -> dict[str, str]:
    chosen = [*partners, *["name"] * (len(names) - len(partners))]
    return {
        **{f"name{part}": text for part, text in enumerate(names)},
        **{f"partner{part}": text for part, text in enumerate(chosen)},
    }


def test_the_page_shows_every_part_with_its_name(page: NamePage) -> None:
    status, text = ask(page.address)
    assert status == 200
    assert re.findall(r'name="name\d" maxlength="64" value="([^"]*)"', text) == ["&lt;b&gt;&amp;", "near", "far"]
    assert "<b>&" not in text
    assert re.findall(r'<img src="(\w+)"', text) == ["part0", "part1"] and "never visible" in text
    assert ask(page.address, "part0")[1].startswith("\xff\xd8")
    assert [ask(page.address, word)[0] for word in ("part2", "part3", "part", "partx", "nothing")] == [404] * 5


def test_what_is_saved_is_what_was_typed(page: NamePage, stored: Stored) -> None:
    status, text = ask(page.address, "save", typed(" head ", "Pfötchen", "far", partners=["name", "2", "1"]))
    assert status == 200 and "tiny.onnx" in text
    assert stored == [({0: "head", 1: "Pfötchen", 2: "far"}, [("Pfötchen", "far")])]
    assert page.saved.wait(5)
    assert ask(page.address, "save", typed("a", "b", "c"))[0] == 422, "only once"
    assert len(stored) == 1


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (typed("head", "head", "far"), "&#x27;head&#x27; is given to 2 parts"),
        (typed("head", "", "far"), "1 to 64 printable characters"),
        (typed("a", "b", "c", partners=["0"]), "part 0 cannot mirror itself"),
        (typed("a", "b", "c", partners=["9"]), "there is no such part"),
        (typed("a", "b", "c", partners=["1", "2"]), "is in two"),
    ],
)
def test_what_cannot_be_is_said_on_the_page_with_all_that_was_typed(
    page: NamePage, stored: Stored, form: dict[str, str], reason: str
) -> None:
    status, text = ask(page.address, "save", form)
    assert status == 422 and reason in text
    assert f'value="{form["name0"]}"' in text
    assert not stored and not page.saved.is_set()


def test_a_mark_in_a_name_does_no_harm_on_the_page(page: NamePage) -> None:
    text = ask(page.address, "save", typed('"><script>', "x/y", "far"))[1]
    assert "<script>" not in text and "&lt;script&gt;" in text


def test_who_does_not_know_the_address_gets_nothing(page: NamePage, stored: Stored) -> None:
    form = typed("a", "b", "c")
    wrong = page.address[:-5] + "x/"
    assert [ask(wrong)[0], ask(wrong, "save", form)[0]] == [404, 404]
    assert ask(page.address, Host="evil.example")[0] == 404
    assert ask(page.address, "save", form, Host="evil.example")[0] == 404
    assert ask(page.address, "save", form, Origin="http://evil.example")[0] == 404
    assert ask(page.address, "save", form, Origin="null")[0] == 404
    assert not stored
    assert ask(page.address, "save", form, Origin=f"http://127.0.0.1:{urlsplit(page.address).port}")[0] == 200


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"name0=a", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"&".join(b"x%d=1" % k for k in range(50)), {}, 400),
        (urlencode(typed("a", "b", "c")).encode(), {"Content_Type": "application/json"}, 400),
        (b"x", {"Content_Length": "-1"}, 400),
        (b"x", {"Content_Length": str(MAX_FORM_BYTES + 1)}, 413),
    ],
)
def test_what_the_page_does_not_send_is_refused(
    page: NamePage, stored: Stored, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert ask(page.address, "save", body, **headers)[0] == status
    assert not stored and ask(page.address)[0] == 200


def started(model: Path, video: Path, *words: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "streamparts", "name", str(model), "--frames", str(video), *words]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C
    )
    assert process.stdout is not None
    match = re.search(r"http://127\.0\.0\.1:\d+/[\w-]+/", process.stdout.readline())
    assert match is not None
    return process, match[0]


def test_the_command_ends_once_the_names_are_saved(model: Path, video: Path) -> None:
    process, address = started(model, video)
    assert ask(address)[0] == 200
    assert ask(address, "save", typed("poppy", "leaf", partners=["1", "0"]))[0] == 200
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert "wrote" in out
    spec = load_model(model).spec
    assert (spec.parts, spec.symmetric_pairs) == (("poppy", "leaf"), ((0, 1),))


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_ctrl_c_ends_the_command_without_saving(model: Path, video: Path) -> None:
    before = model.read_bytes()
    process, _ = started(model, video)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
    assert model.read_bytes() == before
