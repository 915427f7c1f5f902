"""The table of baselines: their defaults, and how their learners are built."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from streamparts.models.co_part import CoPartConfig
from streamparts.models.flow_capsules import CapsulesConfig
from streamparts.models.nem import NemConfig
from streamparts.models.psd import PsdConfig

from ..pretrained.perceptual import load_perceptual
from .co_part import CoPartLearner, CoPartWeights
from .flow_capsules import CapsulesLearner, CapsulesWeights
from .learner import BaselineLearner
from .nem import NemLearner
from .psd import PsdLearner, PsdWeights
from .settings import BaselineConfig


class Baseline(NamedTuple):
    """One method."""

    about: str
    """In a few words, for the help."""
    defaults: dict[str, object]
    """Fields of BaselineConfig that differ from its defaults."""
    build: Callable[[BaselineConfig], BaselineLearner]


def build_co_part(config: BaselineConfig) -> BaselineLearner:
    shape = CoPartConfig(config.num_parts, config.image_size)
    return CoPartLearner(shape, load_perceptual(*config.features), CoPartWeights(), config.subject_masks)


def build_capsules(config: BaselineConfig) -> BaselineLearner:
    return CapsulesLearner(CapsulesConfig(config.num_parts, config.image_size), CapsulesWeights())


def build_psd(config: BaselineConfig) -> BaselineLearner:
    return PsdLearner(PsdConfig(config.num_parts, config.image_size), PsdWeights())


def build_nem(config: BaselineConfig) -> BaselineLearner:
    relational = config.method == "r-nem"
    return NemLearner(NemConfig(config.num_parts, config.image_size, relational=relational))


METHODS: dict[str, Baseline] = {
    "co-part": Baseline(
        "Siarohin et al. 2020, segments with one affine motion each", {"rotation_degrees": 0.0}, build_co_part
    ),
    "flow-capsules": Baseline(
        "Sabour et al. 2021, layered shapes with poses",
        {"image_size": 64, "batch_size": 8, "reach": 6, "learning_rate": 3e-4, "betas": (0.9, 0.999)},
        build_capsules,
    ),
    "psd": Baseline(
        "Xu et al. 2019, latent motions of parts and their structure",
        {"image_size": 64, "batch_size": 8, "reach": 6, "learning_rate": 1e-3, "betas": (0.9, 0.999)},
        build_psd,
    ),
    "nem": Baseline(
        "Greff et al. 2017, a spatial mixture by expectation maximisation",
        {"image_size": 32, "batch_size": 8, "learning_rate": 1e-3, "betas": (0.9, 0.999)},
        build_nem,
    ),
    "r-nem": Baseline(
        "van Steenkiste et al. 2018, the same with relations, predicting the next frame",
        {"image_size": 32, "batch_size": 8, "reach": 6, "learning_rate": 1e-3, "betas": (0.9, 0.999)},
        build_nem,
    ),
}
