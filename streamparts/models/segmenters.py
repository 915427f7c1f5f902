"""The table of segmenters, see segmenter.py, by the name of their method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from streamparts.errors import ModelError
from streamparts.models.checkpoint import load_weights, read_config, read_metadata
from streamparts.models.co_part import CoPart, CoPartConfig
from streamparts.models.flow_capsules import CapsulesConfig, FlowCapsules
from streamparts.models.nem import Nem, NemConfig
from streamparts.models.psd import Psd, PsdConfig
from streamparts.models.segmenter import Segmenter


class SegmenterKind(NamedTuple):
    """One method's network."""

    config: type[Any]
    """Dataclass of its shape, a SegmenterConfig."""
    build: Callable[[Any], Segmenter]


SEGMENTERS: dict[str, SegmenterKind] = {
    "co-part": SegmenterKind(CoPartConfig, CoPart),
    "flow-capsules": SegmenterKind(CapsulesConfig, FlowCapsules),
    "psd": SegmenterKind(PsdConfig, Psd),
    "nem": SegmenterKind(NemConfig, Nem),
    "r-nem": SegmenterKind(NemConfig, Nem),
}


def load_segmenter(checkpoint: Path) -> tuple[str, Segmenter]:
    """Load the method and the network, in eval mode, of a checkpoint. Raises ModelError."""
    method = read_metadata(checkpoint)[1].get("method")
    if method not in SEGMENTERS:
        raise ModelError(f"{checkpoint} is of the method {method!r}, which this version does not have")
    kind = SEGMENTERS[str(method)]
    return str(method), load_weights(checkpoint, kind.build(read_config(checkpoint, kind.config))).eval()
