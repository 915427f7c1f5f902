"""Who may import whom: the house's rules, read from the source text."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment
from tests.made_tracks import even_tracks

HEAVY = ("torch", "cv2", "onnxruntime", "openvino", "msgspec", "tqdm")
FORMAT_LIBRARIES = {"pandas", "pyarrow", "h5py", "tables", "sleap_io", "mcap", "rerun", "supervision", "google"}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layers"
            yield node.module or ""


def top_levels(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", modules("streamparts"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_package_needs_nothing_that_is_not_deployed(path: Path) -> None:
    assert not top_levels(path) & {"train", "export", "tests", "benchmarks", "examples"}


@pytest.mark.parametrize("path", modules("streamparts"), ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_stays_in_the_models_and_its_backend(path: Path) -> None:
    inside = path.relative_to(ROOT / "streamparts")
    may = inside.parts[0] == "models" or (inside.parts[0] == "backends" and inside.stem.startswith("torch"))
    assert may or not top_levels(path) & {"torch", "torchvision", "safetensors"}


@pytest.mark.parametrize("path", modules("streamparts"), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_sends_messages_stays_in_its_room(path: Path) -> None:
    may = path.parent == ROOT / "streamparts" / "sinks" / "messages"
    assert may or not top_levels(path) & {"zmq", "websockets", "pythonosc", "pylsl"}


@pytest.mark.parametrize("path", modules("streamparts"), ids=lambda path: str(path.relative_to(ROOT)))
def test_clusters_and_stores_stay_in_their_files(path: Path) -> None:
    own = {"ray_cluster.py": {"ray"}, "remote.py": {"fsspec"}} if path.parent.name == "corpus" else {}
    assert not top_levels(path) & {"ray", "fsspec", "s3fs"} - own.get(path.name, set())


def test_a_corpus_of_this_machine_loads_no_cluster_and_no_store() -> None:
    code = "import streamparts; streamparts.run_corpus; import streamparts.corpus.ray_pool, streamparts.corpus.worker"
    assert not loaded_by(code) & {"ray", "fsspec", "s3fs", "torch"}


@pytest.mark.parametrize(("folder", "other"), [("train", "export"), ("export", "train")])
def test_training_and_export_do_not_know_each_other(folder: str, other: str) -> None:
    assert [path for path in modules(folder) if other in top_levels(path)] == []


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


@pytest.mark.parametrize("path", modules("streamparts"), ids=lambda path: str(path.relative_to(ROOT)))
def test_onnx_runtime_comes_in_through_one_door(path: Path) -> None:
    """The one that keeps it from reporting to its maker."""
    inside = path.relative_to(ROOT / "streamparts")
    loads = "onnxruntime" in top_levels(path) and str(inside) not in (
        "bundle/ort.py",
        "bundle/load.py",
    )  # a type, in the latter
    assert not loads or "streamparts.bundle.ort" in set(imported(path))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_no_backend_reports_to_its_maker(backend: str, model_path: Path, tmp_path: Path) -> None:
    """What they would report, over the network, they gather in the home folder; on CI machines some keep quiet."""
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


@pytest.mark.parametrize("path", modules("streamparts"), ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_of_formats_stay_in_the_formats(path: Path) -> None:
    """But for the type of one return value."""
    may = {"supervision"} if path.name == "data.py" else FORMAT_LIBRARIES if path.parent.name == "formats" else set()
    assert not top_levels(path) & FORMAT_LIBRARIES - may


def test_what_knows_of_engines_loads_no_tensorrt() -> None:
    code = "import streamparts.backends.tensorrt.build, streamparts.backends.tensorrt.engine"
    assert not loaded_by(code) & {"tensorrt", "tensorrt_rtx", "cuda", "onnx", "torch"}


def test_every_public_name_is_there() -> None:
    import streamparts

    assert {name for name in streamparts.__all__ if not hasattr(streamparts, name)} == set()
    assert callable(streamparts.track), "a module must not shadow the function"
    assert set(streamparts.__all__) <= set(dir(streamparts))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        streamparts.nonsense  # noqa: B018
