"""The files of locks/ hold what pyproject.toml and constraints.txt ask for, each file by its hash."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

LOCKS = ROOT / "locks"
IMAGE_EXTRAS = ("openvino", "messages")
"""Of Dockerfile's EXTRAS."""
ENTRY = re.compile(r"^([a-zA-Z0-9][\w.-]*)==(\S+)", re.MULTILINE)
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def wanted(*extras: str) -> Iterator[Requirement]:
    """By the package itself and its extras, those of extras that extras name included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for text in (*project["dependencies"], *(text for extra in extras for text in more(project, extra))):
        yield Requirement(text)


def more(project: dict[str, dict[str, list[str]]], extra: str) -> Iterator[str]:
    for text in project["optional-dependencies"][extra]:
        need = Requirement(text)
        if need.name == "streamparts":
            for inner in need.extras:
                yield from more(project, inner)
        else:
            yield text


def locked(name: str) -> dict[str, set[str]]:
    """Versions by the name that package indexes give."""
    found: dict[str, set[str]] = {}
    for package, version in ENTRY.findall((LOCKS / name).read_text(encoding="utf-8")):
        found.setdefault(plain(package), set()).add(version)
    return found


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(("name", "extras"), [("image.txt", IMAGE_EXTRAS), ("dev.txt", ("dev",))])
def test_every_package_that_is_asked_for_is_locked_in_a_version_that_will_do(name: str, extras: Sequence[str]) -> None:
    versions = locked(name)
    for need in wanted(*extras):
        if need.name == "torch":  # comes from elsewhere
            assert "torch" not in versions
            continue
        if need.marker and "python_version <" in str(need.marker):
            continue
        assert versions.get(plain(need.name)), f"locks/{name} lacks {need}: make lock"
        assert all(map(need.specifier.contains, versions[plain(need.name)])), f"locks/{name} breaks {need}: make lock"


def test_what_the_constraints_pin_has_that_version_in_every_lock() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    for path in LOCKS.glob("*.txt"):
        for name, versions in locked(path.name).items():
            assert versions == {pinned.get(name, next(iter(versions)))} or name not in pinned, f"{path}: {name}"
    assert pinned.keys() - locked("dev.txt").keys() == {"torch"}


def test_the_image_has_what_the_tests_ran_with() -> None:
    tested = locked("dev.txt")
    for name in ("image.txt", "cuda.txt"):
        for package, versions in locked(name).items():
            assert versions <= tested.get(package, versions), f"{name}: {package}"


@pytest.mark.parametrize("name", ["image.txt", "cuda.txt", "dev.txt", "build.txt"])
def test_a_lock_has_a_hash_for_every_package_and_no_address(name: str) -> None:
    package = ""
    hashes: dict[str, int] = {}
    for line in (LOCKS / name).read_text(encoding="utf-8").splitlines():
        if entry := ENTRY.match(line):
            package = entry[0]
            hashes[package] = 0
        elif HASH.fullmatch(line):
            hashes[package] += 1
        else:
            assert line.startswith("    # via "), f"{name}: {line!r}"
    assert hashes and all(hashes.values()), [package for package, count in hashes.items() if not count]


def test_what_builds_the_wheel_is_locked_and_nothing_else_may_build_it() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    for need in map(Requirement, build["requires"]):
        assert all(map(need.specifier.contains, locked("build.txt")[plain(need.name)])), f"{need}: make lock"
    for name in ("Dockerfile", "Dockerfile.cuda", "Makefile", ".ci/run"):
        text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
        builds = [line for line in text.splitlines() if re.search(r"pip .*( wheel |--editable)", line)]
        own = [line for line in builds if ".venv-demo" not in line]
        assert own and all("--no-build-isolation" in line for line in own), name


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda", "Makefile", ".ci/run"])
def test_the_locks_are_what_images_and_tests_are_made_of(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    used = re.findall(r"--require-hashes(?:\s|\\)+--requirement (locks/\w+\.txt)", text)
    assert (
        used
        == {
            "Dockerfile": ["locks/build.txt", "locks/image.txt"],
            "Dockerfile.cuda": ["locks/build.txt", "locks/image.txt", "locks/cuda.txt"],
            "Makefile": ["locks/dev.txt", "locks/build.txt"],
            ".ci/run": ["locks/image.txt"],
        }[name]
    )
    assert all((ROOT / path).is_file() for path in used)
