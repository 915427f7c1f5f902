"""Both pages in a real browser, for behaviour that plain requests cannot test, such as the origin of a form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from streamparts.naming.page import NamePage
from streamparts.sinks.preview.page import Page
from tests.browser import Browser, chromium, eventually
from tests.test_name_page import Stored, serving
from tests.tiny_model import tiny_spec

SPEC = tiny_spec(parts=("part 0", "near", "far"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def stored() -> Stored:
    return []


@pytest.fixture
def page(stored: Stored) -> Iterator[NamePage]:
    with serving(SPEC, stored, 1) as page:
        yield page


def test_names_typed_in_a_browser_are_saved_after_a_mistake_and_a_reload(
    browser: Browser, page: NamePage, stored: Stored
) -> None:
    tab = browser.tab()
    tab.go(page.address)
    tab.type("[name=name0]", "near")
    tab.value("document.querySelector('form button:not([disabled])').click()")
    assert "is given to 2 parts" in tab.until("document.querySelector('.wrong')?.textContent")
    assert not stored
    tab.go(page.address)
    tab.type("[name=name0]", "Pfötchen 手")
    tab.press_enter()
    tab.type("[name=name1]", "nah")
    assert not stored, "Enter in a field does not end the page with names that are still to come"
    tab.value("document.querySelector('form button:not([disabled])').click()")
    assert "tiny.onnx" in tab.until("document.title == 'saved' && document.body.textContent")
    assert stored == [({0: "Pfötchen 手", 1: "nah", 2: "far"}, [])]
    assert page.saved.wait(5)


def test_another_sites_form_saves_nothing(browser: Browser, page: NamePage, stored: Stored, tmp_path: Path) -> None:
    fields = "".join(f"<input name=name{k} value=x{k}><input name=partner{k} value=name>" for k in range(3))
    strange = tmp_path / "strange.html"
    strange.write_text(f"<form method=post action={page.address}save>{fields}</form>", encoding="utf-8")
    tab = browser.tab()
    tab.go(strange.as_uri())
    tab.value("document.forms[0].submit()")
    tab.until(
        "location.protocol == 'http:' || document.title.includes('404') || location.href.includes('chrome-error')"
    )
    assert not stored


@pytest.mark.slow
def test_the_seventh_tab_of_the_preview_shows_pictures_too_and_all_say_when_the_run_has_ended(browser: Browser) -> None:
    with closing(Page()) as page:
        tabs = [browser.tab() for _ in range(7)]
        for number, tab in enumerate(tabs):
            tab.go(page.address)
            page.tell(f"{number} fps", [("head", "#ff0000", True), ("<b>", "#00ff00", False)])
            page.show(np.full((48, 64, 3), 20 * number, np.uint8))
            tab.until("document.querySelector('img').naturalWidth == 64")
            tab.until(f"document.querySelector('#about').textContent == '{number} fps'")
        assert tabs[6].value("document.querySelector('#names').textContent") == "head<b>"
        assert tabs[6].value("document.querySelector('#names .away').textContent") == "<b>"
    for tab in tabs:
        assert "has ended" in tab.until("document.title == 'ended' && document.querySelector('#about').textContent")
        assert tab.value("document.querySelector('button').disabled")


def test_the_stop_button_ends_the_run(browser: Browser) -> None:
    with closing(Page()) as page:
        tab = browser.tab()
        tab.go(page.address)
        tab.value("document.querySelector('button').click()")
        eventually(lambda: not page.poll(), "the run is told to end")


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}])
def test_a_strange_origin_or_host_does_not_stop_the_run(headers: dict[str, str]) -> None:
    with closing(Page()) as page:
        address = urlsplit(page.address)
        with closing(HTTPConnection("127.0.0.1", address.port or 0, timeout=10)) as connection:
            connection.request("POST", address.path + "stop", b"", headers)
            assert connection.getresponse().status == 404
        assert page.poll()
