"""A local web page that shows and names the parts of a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from http import HTTPStatus
from urllib.parse import parse_qs

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.bundle.colours import part_color
from streamparts.bundle.spec import MAX_NAME, ModelSpec
from streamparts.errors import ModelError
from streamparts.naming.names import Pair
from streamparts.naming.pictures import jpeg
from streamparts.sinks.preview.local_page import PAGE_HEAD, LocalHandler, LocalServer

MAX_FORM_BYTES = 256_000
"""Maximum size of the form: 254 names of 64 characters fit."""
FORM_TYPE = "application/x-www-form-urlencoded"
BY_NAME, NOBODY = "name", ""
"""Choices of a mirrored part besides the part numbers."""

Save = Callable[[Mapping[int, str], Sequence[Pair]], str]
"""Stores names by part number and mirrored pairs, and returns where. Raises ModelError for invalid input."""

_STYLE = """img{display:block;max-width:100%}li{list-style:none;margin:0 0 20px}ul{padding:0}b{display:inline-block;
min-width:2em;text-align:center;padding:4px;color:#fff;text-shadow:0 0 3px #000}
.wrong{background:var(--wrong);color:#fff;padding:8px}"""
_NO_ENTER = '<button disabled hidden aria-hidden="true"></button>'
"""Enter in a field presses a form's first button: this one does nothing, so that only Save saves."""


class NamePage:
    """Serves the form until it is saved or closed."""

    def __init__(self, spec: ModelSpec, pictures: Sequence[Sequence[ByteArray]], save: Save, port: int = 0) -> None:
        """`pictures` of each part are from `part_pictures`; `save` gets the input.

        Raises ModelError if `port` is in use; 0 is any free one.
        """
        self.saved = threading.Event()
        """Set once the names are stored and the browser has its answer."""
        self.spec, self._save = spec, save
        self._rows = [jpeg(np.hstack(row)) if row else b"" for row in pictures]
        self._lock, self._is_stored = threading.Lock(), False
        try:
            self._server = LocalServer(port, partial(_NamesHandler, self), "streamparts-names")
        except OSError as error:
            raise ModelError(f"the page cannot use port {port} ({error.strerror}); give another one") from error
        self._server.start()

    @property
    def address(self) -> str:
        """Address for a browser; anyone who has it can name the parts."""
        return self._server.address

    def close(self) -> None:
        self._server.close()

    def picture(self, word: str) -> bytes:
        """JPEG of the row called "part0" and so on; empty for others."""
        number = word.removeprefix("part")
        return self._rows[int(number)] if number.isdecimal() and int(number) < len(self._rows) else b""

    def form(self, names: Sequence[str] = (), partners: Sequence[str] = (), wrong: str = "") -> str:
        """The page, filled with the input or else with the model's names."""
        spec = self.spec
        names = names or spec.parts
        partners = partners or _partners(spec)
        problem = f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""
        parts = "".join(self._part(part, names, partners) for part in range(spec.num_parts))
        return (
            f"{PAGE_HEAD}<title>{escape(spec.name)}: parts</title>"
            f"<style>{_STYLE}</style><h1>The parts of {escape(spec.name)}</h1>{problem}"
            f'<form method="post" action="save" autocomplete="off">{_NO_ENTER}<ul>'
            f"{parts}</ul><button>Save</button></form></html>"
        )

    def store(self, names: Sequence[str], partners: Sequence[str]) -> str:
        """Store names and mirrored parts, one for each part. Returns where they are stored. Raises ModelError."""
        pairs = dict[frozenset[int], Pair]()
        for part, partner in enumerate(partners):
            if partner in (BY_NAME, NOBODY):
                continue
            if not (partner.isdecimal() and int(partner) < len(names)):
                raise ModelError(f"part {part} cannot be mirrored by {partner[:20]!r}: there is no such part")
            if int(partner) == part:
                raise ModelError(f"part {part} cannot mirror itself")
            pairs.setdefault(frozenset((part, int(partner))), (names[part], names[int(partner)]))
        with self._lock:
            if self._is_stored:
                raise ModelError("the names are already saved; start streamparts name again to change them")
            where = self._save(dict(enumerate(names)), list(pairs.values()))
            self._is_stored = True
        return where

    def _part(self, part: int, names: Sequence[str], partners: Sequence[str]) -> str:
        red, green, blue = part_color(part)
        choices = [
            (BY_NAME, "by name (left, right)"),
            *((str(k), f"{k}: {name}") for k, name in enumerate(names)),
        ]
        options = "".join(
            f'<option value="{value}"{" selected" * (value == partners[part])}>{escape(text)}</option>'
            for value, text in choices
            if value != str(part)
        )
        picture = f'<img src="part{part}" alt="part {part} in several frames">' if self._rows[part] else "never visible"
        return (
            f'<li><b style="background:rgb({red},{green},{blue})">{part}</b>'
            f'<label>name <input name="name{part}" maxlength="{MAX_NAME}" value="{escape(names[part])}" required>'
            "</label>"
            f'<label>mirrored by <select name="partner{part}">{options}</select></label>{picture}</li>'
        )


def _partners(spec: ModelSpec) -> list[str]:
    """Initial choice of the mirrored part, for each part."""
    number = {name: str(part) for part, name in enumerate(spec.parts)}
    stored = {one: number[other] for pair in spec.pairs for one, other in (pair, pair[::-1])}
    return [stored.get(name, BY_NAME) for name in spec.parts]


class _NamesHandler(LocalHandler):
    def __init__(self, page: NamePage, *request: object) -> None:
        self._page = page
        super().__init__(*request)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        what = self.asked_for()
        if what == "":
            self.answer(self._page.form())
        elif what and (picture := self._page.picture(what)):
            self.answer(picture, "image/jpeg")
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        if self.asked_for() != "save" or not self.is_own_form():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != FORM_TYPE or not length.isdecimal():
            self.send_error(HTTPStatus.BAD_REQUEST)
        elif int(length) > MAX_FORM_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._save(self.rfile.read(int(length)))

    def _save(self, body: bytes) -> None:
        num_parts = self._page.spec.num_parts
        try:
            typed = parse_qs(
                body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=2 * num_parts
            )
            names = [typed[f"name{part}"][-1].strip() for part in range(num_parts)]
            partners = [typed[f"partner{part}"][-1] for part in range(num_parts)]
        except (ValueError, KeyError):  # not sent by the page
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        try:
            where = self._page.store(names, partners)
        except ModelError as error:
            self.answer(self._page.form(names, partners, str(error)), status=HTTPStatus.UNPROCESSABLE_ENTITY)
            return
        try:
            self.answer(
                f"{PAGE_HEAD}<title>saved</title><p>The names are in {escape(where)}. This page has ended; you can "
                "close it.</p></html>"
            )
        finally:
            self._page.saved.set()
