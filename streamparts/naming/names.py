"""Renames the parts of a model file. Nothing else in the file changes; the network stays the same byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from streamparts.backends.loading import load_model
from streamparts.backends.tensorrt.cache import write_atomically
from streamparts.backends.tensorrt.info import encode_info, read_info
from streamparts.backends.tensorrt.info import sidecar_path as engine_sidecar_path
from streamparts.bundle.load import METADATA_KEY, check_model
from streamparts.bundle.metadata import with_metadata
from streamparts.bundle.shipped import is_bundled
from streamparts.bundle.sidecar import sidecar_path, write_model
from streamparts.bundle.spec import ModelSpec, pairs_by_name, require_part_names, short
from streamparts.errors import ModelError

Pair = tuple[str, str]
"""Names of two mirrored parts."""


def renamed(spec: ModelSpec, names: Mapping[int, str], pairs: Sequence[Pair] | None = None) -> ModelSpec:
    """Return the description with new names by part number; the others stay.

    `pairs` of new names replace all stored mirrored pairs; None keeps them. Pairs implied by the names, left and right,
    need not be given. Raises ValueError with a one-line message for an unknown part number, a name that is empty, too
    long, duplicate or has invalid characters, and a wrong pair.
    """
    if unknown := sorted(set(names) - set(range(spec.num_parts))):
        raise ValueError(f"there is no part {unknown[0]}; the parts of {spec.name} are 0 to {spec.num_parts - 1}")
    parts = tuple(names.get(part, name) for part, name in enumerate(spec.parts))
    for name in parts:
        if "=" in name:
            raise ValueError(f"a name must not contain '=', got {short(name)}")
        if (count := parts.count(name)) > 1:
            raise ValueError(f"the name {short(name)} is given to {count} parts; every part needs its own name")
    require_part_names(parts)
    if pairs is None:
        number = {name: part for part, name in enumerate(spec.parts)}
        pairs = [(parts[number[one]], parts[number[other]]) for one, other in spec.pairs]
    for pair in pairs:
        for name in pair:
            if name not in parts:
                raise ValueError(f"cannot pair {short(name)}: no part has that name")
    told = {frozenset((parts[one], parts[other])) for one, other in pairs_by_name(parts)}
    stored = tuple((one, other) for one, other in dict.fromkeys(pairs) if frozenset((one, other)) not in told)
    return msgspec.structs.replace(spec, parts=parts, pairs=stored)


def named_file(model: str | Path, output: Path | None, force: bool = False) -> Path:
    """Return the file that stores the names of a model: its own file, or `output`. Raises ModelError if it must not be
    changed."""
    path = Path(model) if Path(model).suffix == ".engine" else load_model(model).path
    if output is None:
        if is_bundled(path):
            raise ModelError(
                f"{path.stem} is bundled with the package and cannot be changed; give -o FILE.onnx for the named model"
            )
        return path.resolve()
    if output.suffix != path.suffix:
        raise ModelError(f"{output}: the name of the model must end in {path.suffix}")
    if is_bundled(output):
        raise ModelError(f"{output}: is in the package's own folder; choose another one")
    if not output.absolute().parent.is_dir():
        raise ModelError(f"{output}: the folder {output.parent} does not exist; create it first")
    if output.is_dir():
        raise ModelError(f"{output}: is a folder; give the name of a file in it")
    if output.exists() and output.resolve() != path.resolve() and not force:
        raise ModelError(f"{output}: exists already; use --force (in Python: force=True) to replace it")
    return output


def store_names(
    model: str | Path,
    names: Mapping[int, str],
    pairs: Sequence[Pair] | None = None,
    output: str | Path | None = None,
    force: bool = False,
) -> tuple[Path, ModelSpec]:
    """Give parts of a model file new names, see `renamed`. Returns the written file and its description.

    Writes the .onnx file with its sidecar, or `output`; for an .engine, which contains no description, its sidecar.
    Each file is written atomically. Raises ModelError with a one-line message, without changing anything.
    """
    path = named_file(model, None if output is None else Path(output), force)
    try:
        if path.suffix == ".engine":
            return path, _name_engine(Path(model), path, names, pairs)
        bundle = load_model(model)
        spec = renamed(bundle.spec, names, pairs)
        data = with_metadata(bundle.data, METADATA_KEY, spec.to_json())
        if check_model(data) != spec:
            raise ModelError(f"{path}: the names could not be stored in the file; export it again")
        write_model(path, spec, data)
    except ValueError as error:
        raise ModelError(str(error)) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror})") from error
    return path, spec


def _name_engine(engine: Path, path: Path, names: Mapping[int, str], pairs: Sequence[Pair] | None) -> ModelSpec:
    if path.resolve() != engine.resolve():
        raise ModelError(f"{engine}: an engine's names are stored beside it; leave out -o")
    info = read_info(engine)
    spec = renamed(info.model, names, pairs)
    write_atomically(engine_sidecar_path(engine), encode_info(msgspec.structs.replace(info, model=spec)))
    return spec


def files_of(path: Path) -> str:
    """Name the files written by `store_names`."""
    return str(engine_sidecar_path(path) if path.suffix == ".engine" else f"{path} and {sidecar_path(path).name}")


def names_text(spec: ModelSpec) -> str:
    """A line for each part, with its mirrored part."""
    partner = {part: other for pair in spec.symmetric_pairs for part, other in (pair, pair[::-1])}
    lines = []
    for part, name in enumerate(spec.parts):
        mirrored = f"   mirrored by {spec.parts[partner[part]]}" if part in partner else ""
        lines.append(f"{part:>4}  {name}{mirrored}")
    return "\n".join(lines)
