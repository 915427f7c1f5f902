"""Imports: lazy modules, and no cycles. The allowed imports are in pyproject.toml under [tool.importlinter]."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Container, Iterator
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment
from tests.made_tracks import even_tracks

HEAVY = ("torch", "cv2", "onnxruntime", "openvino", "msgspec", "tqdm")
FORMAT_LIBRARIES = {"pandas", "pyarrow", "h5py", "tables", "sleap_io", "mcap", "rerun", "supervision", "google"}
MOST_IN_ROOT = 12
RENAMED_IN_THE_WHEEL = {"train", "export"}
"""Packages that import their own modules relatively, since the wheel contains them under another name."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_in(package: str) -> dict[str, set[str]]:
    """Each module of a package, and those of the same package that it imports anywhere: in functions and for type
    checkers too."""
    modules = {module_name(path): path for path in sorted((ROOT / package).rglob("*.py"))}
    return {name: set(imported(name, path, modules)) for name, path in modules.items()}


def imported(name: str, path: Path, modules: Container[str]) -> Iterator[str]:
    own = name.split(".")[0]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            inside = module.split(".")[0] == own
            assert bool(node.level) == (inside and own in RENAMED_IN_THE_WHEEL), f"{name}: how {module} is imported"
            wanted = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for full in wanted:
            if full.split(".")[0] == own:
                found = full if full in modules else full.rpartition(".")[0]
                assert found in modules, f"{name} imports {full}, which is not there"
                yield found


@pytest.mark.parametrize("package", ["streamparts", "train", "export", "benchmarks"])
def test_no_module_imports_itself_over_others(package: str) -> None:
    """streamparts/__init__.py is left out: what it exports is loaded when it is asked for."""
    graph = imports_in(package)
    graph.pop("streamparts", None)
    assert sum(map(len, graph.values())) > len(graph) / 2
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_the_root_of_train_holds_commands() -> None:
    files = {path.stem for path in (ROOT / "train").glob("*.py")} - {"__init__"}
    commands = {name for name in files if "__main__" in (ROOT / "train" / f"{name}.py").read_text(encoding="utf-8")}
    assert files == commands


def test_no_two_classes_have_one_name() -> None:
    """The networks of two frameworks are the exception: train has ImageNet's, frozen, beside those that are trained."""
    homes: dict[str, list[str]] = {}
    for package in ("streamparts", "train", "export", "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    homes.setdefault(node.name, []).append(module_name(path))
    assert len(homes) > 300
    assert {name for name, modules in homes.items() if len(modules) > 1} <= {"ResNet50", "SqueezeNet"}


def test_the_root_holds_few_files() -> None:
    files = [path.name for path in (ROOT / "streamparts").iterdir() if path.is_file()]
    assert len(files) <= MOST_IN_ROOT, files
    assert not {"run.py", "track.py", "types.py"} & set(files), "would shadow a function, or a library"


def test_the_picture_of_the_rooms_is_true() -> None:
    """Every room is in CONTRIBUTING.md, and the files that it sends people to are there, three a line at most."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = {
        path.parent.name for package in ("streamparts", "train") for path in (ROOT / package).glob("*/__init__.py")
    }
    assert set(re.findall(r"^  (\w+)/ ", page, re.MULTILINE)) == rooms
    rows = re.findall(r"^\| (?:add|change) .*$", page, re.MULTILINE)
    assert len(rows) == 6
    for row in rows:
        names = re.findall(r"[\w/]+\.py", row)
        assert 0 < len(names) <= 3
        for name in names:
            assert (ROOT / name).is_file() or (ROOT / "streamparts" / name).is_file(), name


def loaded_by(code: str) -> set[str]:
    listing = f"{code}\nimport sys; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True, env=environment()
    )
    return {name.split(".")[0] for name in result.stdout.split()}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import streamparts") & set(HEAVY)


def test_opening_a_video_loads_no_network_and_no_drawing() -> None:
    assert not loaded_by("import streamparts; streamparts.open_source") & {"torch", "cv2", "onnxruntime"}


def test_the_command_line_shows_its_help_without_loading_anything_heavy() -> None:
    assert not loaded_by("import streamparts.cli; streamparts.cli._parser()") & set(HEAVY)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_no_backend_reports_to_its_maker(backend: str, model_path: Path, tmp_path: Path) -> None:
    """Libraries that report usage over the network store it in the home folder first; on CI machines some do not."""
    pytest.importorskip(backend)
    code = f"import streamparts\nstreamparts.Tracker({str(model_path)!r}, backend={backend!r})"
    quiet = ("ORT_DISABLE_TELEMETRY", "CI", "TF_BUILD", "JENKINS_URL")
    home = {name: value for name, value in environment().items() if name not in quiet}
    home |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=home)
    assert list(tmp_path.rglob("*")) == []


def test_running_a_video_loads_no_torch(video: Path, model_path: Path, tmp_path: Path) -> None:
    code = (
        f"import streamparts\nstreamparts.run({str(video)!r}, {str(model_path)!r}, overlay={str(tmp_path / 'o.mp4')!r})"
    )
    assert "torch" not in loaded_by(code)


def test_sending_over_one_protocol_loads_no_other() -> None:
    code = "import streamparts.runtime.stream as stream, streamparts.sinks.messages.udp; stream.parse_addresses('udp://:9')"
    assert not loaded_by(code) & {"zmq", "websockets", "pythonosc", "pylsl"}


def test_a_format_loads_no_library_of_another(tmp_path: Path) -> None:
    tracks = even_tracks(tmp_path / "t.jsonl")
    code = "from streamparts.formats import convert\nimport streamparts; streamparts.data.Tracks.to_supervision\n"
    assert not loaded_by(code) & {*FORMAT_LIBRARIES, "cv2", "torch"}
    code += "".join(f"convert({str(tracks)!r}, {str(tmp_path / name)!r})\n" for name in ("t.csv", "t.json", "t.trc"))
    assert not loaded_by(code) & {*FORMAT_LIBRARIES, "cv2", "torch"}


def test_what_knows_of_engines_loads_no_tensorrt() -> None:
    code = "import streamparts.backends.tensorrt.build, streamparts.backends.tensorrt.backend"
    assert not loaded_by(code) & {"tensorrt", "tensorrt_rtx", "cuda", "onnx", "torch"}


def test_every_public_name_is_there() -> None:
    import streamparts

    assert {name for name in streamparts.__all__ if not hasattr(streamparts, name)} == set()
    assert callable(streamparts.track), "a module must not shadow the function"
    assert set(streamparts.__all__) <= set(dir(streamparts))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        streamparts.nonsense  # noqa: B018


def test_a_corpus_of_this_machine_loads_no_cluster_and_no_store() -> None:
    code = "import streamparts; streamparts.run_corpus; import streamparts.corpus.ray_pool, streamparts.corpus.worker"
    assert not loaded_by(code) & {"ray", "fsspec", "s3fs", "torch"}
