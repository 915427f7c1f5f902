"""Groups of a teacher's slots that form parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from streamparts.models.layers import Affine


@dataclass(frozen=True)
class PartGroups:
    """The slots of each part, and the part's canonical frame within its leading slot's."""

    groups: tuple[tuple[int, ...], ...]
    """Slots of each part; the first one leads: its pose carries the part's."""
    offsets: tuple[tuple[float, float], ...]
    """Centre of the part in the leading slot's canonical frame."""
    angles: tuple[float, ...]
    """Radians from the leading slot's first axis to the part's."""
    ratios: tuple[tuple[float, float], ...]
    """Scale of the part over the scale of the leading slot."""
    near: tuple[tuple[int, int, float], ...] = ()
    """Pairs of parts that nearly move together, and the factor by which they exceed the limit: suggestions for
    merging."""

    def __post_init__(self) -> None:
        if not all(self.groups):
            raise ValueError("every part needs a slot")
        if not len(self.groups) == len(self.offsets) == len(self.angles) == len(self.ratios):
            raise ValueError(
                f"groups, offsets, angles and ratios must have the same length, that of {len(self.groups)} parts"
            )

    @classmethod
    def from_json(cls, text: str) -> PartGroups:
        """Parse the parts.json of a run, written by `to_json`. Raises ValueError for anything else."""
        saved = json.loads(text)
        try:
            return cls(
                _pairs(saved["groups"], int),
                _pairs(saved["offsets"], float),
                tuple(float(angle) for angle in saved["angles"]),
                _pairs(saved["ratios"], float),
                tuple((int(i), int(j), float(ratio)) for i, j, ratio in saved.get("near", ())),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the parts of a teacher ({error!r})") from error

    def to_json(self, indent: int | None = None) -> str:
        return json.dumps(asdict(self), indent=indent)

    @property
    def num_parts(self) -> int:
        return len(self.groups)

    def require_slots(self, num_slots: int) -> None:
        """Raise ValueError unless every slot is below the given number."""
        slots = [slot for group in self.groups for slot in group]
        if not slots or min(slots) < 0 or max(slots) >= num_slots:
            raise ValueError(f"the parts do not fit the {num_slots} slots of the teacher")

    def join_masks(self, masks: Tensor) -> Tensor:
        """(B, 1 + K, S, S) of slots -> (B, 1 + P, S, S) of parts; dropped slots become background."""
        # + 1: slot 0 of the masks is the background
        slots = [torch.tensor(group, device=masks.device) + 1 for group in self.groups]
        parts = torch.stack([masks.index_select(1, group).sum(1) for group in slots], dim=1)
        return torch.cat([1 - parts.sum(1, keepdim=True), parts], dim=1)

    def join_poses(self, affine: Affine) -> Affine:
        """Poses of slots (B, K, ...) -> poses of parts (B, P, ...)."""
        device = affine.scale.device
        leaders = torch.tensor([group[0] for group in self.groups], device=device)
        lead = Affine(*(value.index_select(1, leaders) for value in affine))
        offsets = torch.tensor(self.offsets, device=device)[:, :, None]
        # (B, P, 2): A o + t, the offset moved by the leading slot's pose
        translation = (lead.matrix()[..., :2] @ offsets).squeeze(-1) + lead.translation
        turn = torch.tensor(self.angles, device=device)
        cos, sin = lead.rotation.unbind(-1)
        # the sum of both angles, by the addition theorems
        rotation = torch.stack([cos * turn.cos() - sin * turn.sin(), sin * turn.cos() + cos * turn.sin()], dim=-1)
        return Affine(rotation, lead.scale * torch.tensor(self.ratios, device=device), translation)


def _pairs(rows: Iterable[Iterable[Any]], kind: Callable[[Any], Any]) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(kind(value) for value in row) for row in rows)
