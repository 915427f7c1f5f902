"""Shell completion, tested in the real shells that are installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamparts.bundle.shipped import model_names
from streamparts.cli import _parser, main
from streamparts.cli.completion import SHELLS, script
from streamparts.errors import MissingExtraError

FILES = ("dance.mp4", "dance.tracks.jsonl", "my.onnx", "my engine.engine", "notes.txt", "sub/inner.onnx")

_ASK_BASH = """
source ./script
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_shtab_streamparts
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With files of every kind."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def ask(shell: str, folder: Path, *words: str) -> set[str]:
    """Completions of the shell for the last word of `streamparts WORDS` in `folder`."""
    program = shutil.which(shell)
    if program is None or sys.platform == "win32":
        pytest.skip(f"there is no {shell} here")
    (folder / "script").write_text(script(_parser(), shell), encoding="utf-8")
    line = shlex.join(["streamparts", *words])
    if shell == "bash":
        code, options = _ASK_BASH.format(words=line), ["--noprofile", "--norc"]
    else:
        line = " ".join(["streamparts", *words])
        code, options = f"source ./script; complete -C {shlex.quote(line)}", ["--no-config"]
    home = folder.with_name(f"{folder.name}-home")  # elsewhere: fish fills it
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_DATA_HOME": str(home)}
    done = subprocess.run(
        [program, *options, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return {line.partition("\t")[0].rstrip("/") for line in done.stdout.splitlines() if line}


in_both = pytest.mark.parametrize("shell", ["bash", "fish"])


@in_both
def test_a_shell_completes_commands_and_flags(shell: str, folder: Path) -> None:
    assert ask(shell, folder, "do") == {"doctor"}
    assert {"run", "doctor", "completion"} <= ask(shell, folder, "")
    assert ask(shell, folder, "run", "--over") == {"--overlay"}
    assert ask(shell, folder, "run", "dance.mp4", "--back") == {"--backend"}


@in_both
def test_a_shell_completes_the_values_of_a_flag(shell: str, folder: Path) -> None:
    assert ask(shell, folder, "run", "dance.mp4", "--backend", "openv") == {"openvino"}
    assert ask(shell, folder, "schema", "tr") == {"tracks"}
    assert ask(shell, folder, "completion", "") == {*SHELLS}


@in_both
def test_a_shell_completes_names_and_files_of_models(shell: str, folder: Path) -> None:
    assert ask(shell, folder, "run", "--model", "puppet-h") == {"puppet-human"}
    assert ask(shell, folder, "run", "--model", "") == {*model_names(), "my.onnx", "my engine.engine", "sub"}
    assert ask(shell, folder, "bench", "my") == {"my.onnx", "my engine.engine"}


@in_both
def test_a_shell_completes_files_of_the_kind_that_is_meant(shell: str, folder: Path) -> None:
    assert ask(shell, folder, "skeleton", "dan") == {"dance.tracks.jsonl"}
    assert ask(shell, folder, "run", "dan") == {"dance.mp4", "dance.tracks.jsonl"}
    assert ask(shell, folder, "run", "--out-dir", "s") >= {"sub"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_accepted_by_its_shell(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    path = tmp_path / "script"
    path.write_text(script(_parser(), shell), encoding="utf-8")
    done = subprocess.run([program, "-n", str(path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert printed == script(_parser(), shell)
    assert "--overlay" in printed.replace("-l overlay", "--overlay")
    assert "puppet-human" in printed
    helps = [line for line in printed.splitlines() if "doctor" in line]
    assert any("machine" in line for line in helps) or shell == "bash", "the few words of --help"


def test_a_shell_that_is_not_known_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["completion", "csh"])
    assert "choose from" in capsys.readouterr().err


def test_without_shtab_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(MissingExtraError):
        script(_parser(), "bash")
    assert main(["completion", "bash"]) == 1
    assert capsys.readouterr().err.strip().endswith("; pip install shtab")
