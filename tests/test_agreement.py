import msgspec
import numpy as np
import pytest

from streamparts.agreement import FAR, TOLERANCES, Agreement, compare, pose_errors
from streamparts.backends import Outputs
from streamparts.bundle import ModelSpec
from streamparts.data import ByteArray
from streamparts.errors import ModelError

K, SIZE = 2, 64


def spec(method: str = "assembly") -> ModelSpec:
    return ModelSpec(name="x", method=method, parts=("a", "b"), input_hw=(SIZE, SIZE))  # type: ignore[arg-type]


class Said:
    """A backend whose outputs depend on the picture's first pixel; `change` makes it another."""

    name = "said"

    def __init__(self, **change: float) -> None:
        self.change = change
        self.batches: list[int] = []

    def run(self, images: ByteArray) -> Outputs:
        self.batches.append(len(images))
        labels = np.repeat(images[:, :1, :1, 0] % (K + 1), SIZE, axis=1).repeat(SIZE, axis=2)
        labels[:, : int(self.change.get("rows", 0))] ^= 1
        affines = np.tile(np.eye(2, 3, dtype=np.float32), (len(images), K, 1, 1))
        affines[:, :, 0, 2] += self.change.get("shift", 0)
        scores = np.full((len(images), K), 0.5 + self.change.get("score", 0), np.float32)
        return Outputs(labels, affines, scores)


def pictures(count: int) -> ByteArray:
    images = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(count)
    return images


def test_equal_backends_agree_in_batches_of_every_size_asked_for() -> None:
    other = Said()
    agreement = compare(Said(), other, spec(), pictures(5), (1, 3, 3, 8))
    assert other.batches == [1] * 5 + [3, 2] + [5]
    assert agreement.batches == (1, 3, 8) and agreement.num_frames == 5
    assert (agreement.labels, agreement.worst_labels, agreement.pose_px, agreement.score) == (1, 1, 0, 0)
    assert agreement.problem(TOLERANCES["fp32"], (SIZE, SIZE)) is None


@pytest.mark.parametrize(
    ("change", "got"),
    [
        ({"rows": 16}, {"labels": 0.75, "worst_labels": 0.75}),
        ({"shift": 0.125}, {"pose_px": 4.0, "pose_median_px": 4.0, "pose_p99_px": 4.0}),
        ({"score": 0.25}, {"score": 0.25}),
    ],
)
def test_differences_are_measured_in_shares_pixels_and_scores(change: dict[str, float], got: dict[str, float]) -> None:
    agreement = compare(Said(), Said(**change), spec(), pictures(3))
    assert {name: getattr(agreement, name) for name in got} == pytest.approx(got)
    for tolerance in TOLERANCES.values():
        assert "allowed are" in str(agreement.problem(tolerance, (SIZE, SIZE)))


def measured(**values: float) -> Agreement:
    sound = Agreement(
        num_frames=1, batches=(1,), labels=1, worst_labels=1, worst_frame=0, pose_median_px=0, pose_p99_px=0,
        pose_px=0, score=0,
    )  # fmt: skip
    return msgspec.structs.replace(sound, **values)


@pytest.mark.parametrize("precision", TOLERANCES)
def test_the_tolerance_of_each_precision_holds_at_its_edge(precision: str) -> None:
    limit = TOLERANCES[precision]

    def sound(**values: float) -> bool:
        return measured(**values).problem(limit, (128, 128)) is None

    assert sound(worst_labels=limit.labels) and not sound(worst_labels=limit.labels - 1e-6)
    assert sound(pose_p99_px=limit.pose_px) and not sound(pose_p99_px=1.001 * limit.pose_px)
    assert sound(pose_px=FAR * limit.pose_px) and not sound(pose_px=1.001 * FAR * limit.pose_px)
    assert sound(score=limit.score) and not sound(score=1.001 * limit.score)
    for name in ("worst_labels", "pose_p99_px", "pose_px", "score"):
        assert not sound(**{name: float("nan")})


def test_pixels_are_those_of_the_models_size() -> None:
    assert measured(pose_p99_px=0.09).problem(TOLERANCES["fp32"], (256, 256)) is None
    assert measured(pose_p99_px=0.09).problem(TOLERANCES["fp32"], (128, 128)) is not None


def test_a_part_that_is_not_there_has_no_pose_to_compare() -> None:
    one, other = Said().run(pictures(2)), Said(shift=1).run(pictures(2))
    one.scores[:, 0] = other.scores[:, 0] = 0
    assert pose_errors(one, other, spec()).shape == (2,)


def test_poses_read_from_masks_have_no_direction_and_count_where_the_pixels_are_the_same() -> None:
    one = Said().run(pictures(3))
    turned = one._replace(affines=np.concatenate([-one.affines[..., :2], one.affines[..., 2:]], axis=-1))
    assert pose_errors(one, turned, spec("scops")).max() == 0
    assert pose_errors(one, turned, spec("assembly")).max() == SIZE
    moved = Said(rows=1).run(pictures(3))
    assert pose_errors(one, moved, spec("scops")).size < one.scores.size


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_an_error(value: float) -> None:
    with pytest.raises(ModelError, match="not finite"):
        compare(Said(), Said(shift=value), spec(), pictures(1))
