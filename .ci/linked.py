"""Link what an extra of a wheel needs, as installed here, into another environment's site-packages, without a download.

usage: python .ci/linked.py WHEEL EXTRA SITE_PACKAGES
"""

import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed(of: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Names, and the extras wanted of each, that a distribution needs on this machine."""
    for text in of.requires or ():
        need = Requirement(text)
        environments = [{"extra": extra} for extra in ("", *extras)]
        if need.marker is None or any(need.marker.evaluate(environment) for environment in environments):
            yield canonicalize_name(need.name), frozenset(need.extras)


def main() -> None:
    wheel, extra, target = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    (metadata,) = (path for path in zipfile.Path(wheel).iterdir() if path.name.endswith(".dist-info"))
    open_ones: list[tuple[Distribution, frozenset[str]]] = [(PathDistribution(metadata), frozenset({extra}))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while open_ones:
        for name, extras in needed(*open_ones.pop()):
            if (name, extras) in seen or name == "streamparts":
                continue
            seen.add((name, extras))
            found = distribution(name)
            open_ones.append((found, extras))
            for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                place = target / top
                if not place.exists():
                    place.symlink_to(Path(str(found.locate_file(top))))
    print(f"linked {len({name for name, _ in seen})} packages of [{extra}]")


if __name__ == "__main__":
    main()
