"""ModelSpec: a model file's description, and its limits. A description is untrusted input."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

SCHEMA = "streamparts.model/3"
OLDER_SCHEMAS = ("streamparts.model/2", "streamparts.model/1")
"""Older schemas that are also read; missing fields have defaults."""

MAX_NAME = 64
"""Maximum characters of a name. Names appear in file names, terminals and JSON."""
MAX_TEXT = 10_000
"""Maximum characters of a free text."""
MAX_ENTRIES = 256
"""Maximum entries of a table."""
MAX_PARTS = 254
"""Maximum number of parts: a label is one byte, and 0 is the background."""
MAX_SIDE = 4096
"""Maximum length of the input's longer side, in pixels."""
MAX_MARGIN = 2.0
"""Maximum margin of the crop around a subject."""
MAX_NUMBER = 1_000_000
"""Maximum of channels, parts or pixels in any layer of a network."""

COORDINATES = (
    "affines map a part's canonical frame to the image in normalised coordinates 2x/W - 1, 2y/H - 1; "
    "origin at the top-left corner, pixel centres at +0.5, x right, y down"
)

NetworkValue = int | float | str | bool | list[int | float]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
Method = Literal["assembly", "scops", "supervised", "co-part", "flow-capsules", "psd", "nem", "r-nem"]
DIRECTED: tuple[Method, ...] = ("assembly", "supervised")
"""Methods whose poses come from the network. All others compute them from the masks, whose axes have no direction."""


class SubjectSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters to crop a subject and to compute its score, so that it can be followed. Raises ValueError with a
    one-line message for invalid values."""

    margin: float = 0.25
    """Margin of the training crops around the subject's box, on every side, as a share of the box's longer side."""
    slope: tuple[float, ...]
    """subject_score = sigmoid(slope . features + offset), with the first two or all three features of
    tracking/presence.py."""
    offset: float
    """See `slope`."""
    source: str
    """Method by which the subject was found in training, as text: "motion", "rendered bodies"."""

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= MAX_MARGIN:
            raise ValueError(f"the subject's margin must be 0 to {MAX_MARGIN}, got {short(self.margin)}")
        if not 2 <= len(self.slope) <= 3:
            raise ValueError(f"the subject's slope must be two or three numbers, got {len(self.slope)}")
        numbers = [*self.slope, self.offset]
        if not all(math.isfinite(value) and abs(value) <= MAX_NUMBER for value in numbers):
            raise ValueError(f"the subject's slope and offset must be finite, sensible numbers, got {short(numbers)}")
        _require_text("the subject's source", self.source)


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Description of a model, written by the export and read by everything that runs the model. Raises ValueError with
    a one-line message for invalid or unprintable values."""

    schema: str = SCHEMA
    """Version of this description."""
    name: str
    """Short name, as given to --model."""
    method: Method
    """Training method of the model: label-free ones, or supervised by rendered bodies."""
    parts: tuple[str, ...]
    """(K,) one name per part, in the order of the labels, without background."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Mirrored parts, in addition to those with "left" and "right" in their names."""
    input_hw: tuple[int, int]
    """Height and width of the input image, in pixels."""
    coordinates: str = COORDINATES
    """Coordinate convention of the affines, in words."""
    description: str = ""
    """Description of the parts in one sentence."""
    training: str = ""
    """Data, commit and command of the training."""
    license: str = ""
    """Licence of the weights."""
    metrics: dict[str, float] = {}
    """Measured quality."""
    precision: Precision = "fp32"
    """Precision of the computation in the graph; inputs and outputs are the same for all."""
    network: dict[str, NetworkValue] = {}
    """"kind" and shape of the network, from which the torch backend builds it; empty if unknown."""
    versions: dict[str, str] = {}
    """Versions of the packages that made the file."""
    subject: SubjectSpec | None = None
    """Parameters for following the subject; None for models that only see whole frames."""

    def __post_init__(self) -> None:
        if self.schema not in (SCHEMA, *OLDER_SCHEMAS):
            raise ValueError(
                f"schema is {short(self.schema)}, this version reads {', '.join((SCHEMA, *OLDER_SCHEMAS))}"
            )
        require_part_names(self.parts)
        _require_pairs(self.parts, self.pairs)
        if not all(1 <= side <= MAX_SIDE for side in self.input_hw):
            raise ValueError(f"input_hw must be 1 to {MAX_SIDE}, got {short(self.input_hw)}")
        require_names("name", [self.name])
        for field in ("coordinates", "description", "training", "license"):
            _require_text(field, getattr(self, field))
        for field in ("metrics", "network", "versions"):
            _require_table(field, getattr(self, field))

    @property
    def num_parts(self) -> int:
        return len(self.parts)

    @property
    def undirected(self) -> bool:
        """True if a part's axes have no direction: a pose may differ by half a turn."""
        return self.method not in DIRECTED

    @property
    def symmetric_pairs(self) -> tuple[tuple[int, int], ...]:
        """Numbers of mirrored parts, according to their names or `pairs`."""
        stored = tuple((self.parts.index(one), self.parts.index(other)) for one, other in self.pairs)
        return pairs_by_name(self.parts) + stored

    def to_json(self) -> str:
        """JSON text for the model file's metadata."""
        return msgspec.json.encode(self).decode()


def short(value: object) -> str:
    """Shorten an untrusted value for a one-line error."""
    text = ascii(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def error_line(error: BaseException) -> str:
    """Return an error's message in one printable line."""
    text = " ".join(str(error).split())[:200]
    return "".join(char if char.isprintable() else "?" for char in text)


def require_part_names(names: Sequence[str]) -> None:
    """Raise ValueError unless these are valid names for a model's parts."""
    if not 1 <= len(names) <= MAX_PARTS or len(set(names)) != len(names):
        raise ValueError(f"parts must be 1 to {MAX_PARTS} different names, got {short(list(names))}")
    require_names("parts", names)


def _require_pairs(parts: Sequence[str], pairs: Sequence[tuple[str, str]]) -> None:
    named = [parts[number] for pair in pairs_by_name(parts) for number in pair]
    for name in (name for pair in pairs for name in pair):
        if name not in parts:
            raise ValueError(f"pairs must be of parts, but there is no part {short(name)}")
        if name in named:
            raise ValueError(f"pairs must contain each part once, but {short(name)} is in two, or paired by its name")
        named.append(name)


def require_names(field: str, names: Iterable[str]) -> None:
    for name in names:
        if not 1 <= len(name) <= MAX_NAME or not name.isprintable() or name != name.strip() or name in (".", ".."):
            raise ValueError(f"{field} must be 1 to {MAX_NAME} printable characters, got {short(name)}")
        if "/" in name or "\\" in name:
            raise ValueError(f"{field} must not contain a slash, got {short(name)}")


def _require_text(field: str, text: str) -> None:
    if len(text) > MAX_TEXT or not text.replace("\n", " ").isprintable():
        raise ValueError(f"{field} must be at most {MAX_TEXT} printable characters, got {short(text)}")


def _require_table(field: str, table: Mapping[str, NetworkValue]) -> None:
    if len(table) > MAX_ENTRIES:
        raise ValueError(f"{field} has {len(table)} entries, more than the limit of {MAX_ENTRIES}")
    require_names(f"a name in {field}", table)
    for name, value in table.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str):
                _require_text(f"{field} {short(name)}", item)
            elif not math.isfinite(item) or (field == "network" and abs(item) > MAX_NUMBER):
                raise ValueError(f"{field} {short(name)} must be a finite, sensible number, got {short(item)}")
        if isinstance(value, list) and len(value) > MAX_ENTRIES:
            raise ValueError(f"{field} {short(name)} has {len(value)} numbers, more than the limit of {MAX_ENTRIES}")


def pairs_by_name(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pairs of parts whose names differ only in "left" and "right", or "Left" and "Right"."""
    number = {name: part for part, name in enumerate(names)}
    mirrored = ((name, name.replace("left", "right").replace("Left", "Right")) for name in names)
    return tuple((number[left], number[right]) for left, right in mirrored if left != right and right in number)
