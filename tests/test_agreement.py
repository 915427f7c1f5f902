import msgspec
import numpy as np
import pytest

from streamparts.arrays import ByteArray
from streamparts.backends.tolerances import TOLERANCES
from streamparts.bundle.agreement import Agreement, Tolerance
from streamparts.bundle.spec import ModelSpec
from streamparts.data import NetworkOutputs
from streamparts.errors import ModelError
from streamparts.parity.agreement import (
    Comparison,
    compare,
    in_each,
    in_turn,
    pose_differences,
    pose_errors_px,
    same_pixels,
    score_differences,
)

K, SIZE = 2, 64


def spec(method: str = "assembly") -> ModelSpec:
    return ModelSpec(name="x", method=method, parts=("a", "b"), input_hw=(SIZE, SIZE))  # type: ignore[arg-type]


class Said:
    """A backend whose outputs depend on the image's first pixel; `change` modifies them."""

    name = "said"

    def __init__(self, **change: float) -> None:
        self.change = change
        self.batches: list[int] = []

    def run(self, images: ByteArray) -> NetworkOutputs:
        self.batches.append(len(images))
        labels = np.repeat(images[:, :1, :1, 0] % (K + 1), SIZE, axis=1).repeat(SIZE, axis=2)
        labels[:, : int(self.change.get("rows", 0))] ^= 1
        affines = np.tile(np.eye(2, 3, dtype=np.float32), (len(images), K, 1, 1))
        affines[:, :, 0, 2] += self.change.get("shift", 0)
        scores = np.full((len(images), K), 0.5 + self.change.get("score", 0), np.float32)
        return NetworkOutputs(labels, affines, scores)


def pictures(count: int) -> ByteArray:
    images = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(count)
    return images


def compared(candidate: Said, count: int = 3, sizes: tuple[int, ...] = (1,)) -> Comparison:
    return compare(Said().run, candidate.run, pictures(count), spec(), in_each(count, sizes))


@pytest.mark.parametrize("sizes", [(8, 1, 3, 2), (1,), (5, 5)])
@pytest.mark.parametrize("count", [1, 2, 7, 14, 15, 207])
def test_sizes_that_take_turns_cover_every_frame_and_each_is_had(count: int, sizes: tuple[int, ...]) -> None:
    slices = list(in_turn(count, sizes))
    assert set(range(count)) == {row for rows in slices for row in range(rows.start, rows.stop)}
    had = {rows.stop - rows.start for rows in slices}
    assert had >= {size for size in sizes if size <= count} and all(0 <= rows.start < rows.stop for rows in slices)


def test_equal_runners_agree_in_batches_of_every_size_asked_for() -> None:
    other = Said()
    comparison = compared(other, 5, (1, 3, 3, 8))
    assert other.batches == [1] * 5 + [3, 2] + [5]
    agreement = comparison.agreement()
    assert agreement.num_frames == 5
    assert (agreement.labels, agreement.worst_labels, agreement.pose_px, agreement.score) == (1, 1, 0, 0)
    assert agreement.problem(TOLERANCES["fp32"]) is None


@pytest.mark.parametrize(
    ("change", "got"),
    [
        ({"rows": 16}, {"labels": 0.75, "worst_labels": 0.75}),
        ({"shift": 0.125}, {"pose_px": 8.0, "pose_median_px": 8.0, "pose_p99_px": 8.0, "pose_mean_px": 8.0}),
        ({"score": 0.25}, {"score": 0.25, "score_mean": 0.25}),
    ],
)
def test_differences_are_measured_in_shares_pixels_and_scores(change: dict[str, float], got: dict[str, float]) -> None:
    agreement = compared(Said(**change)).agreement()
    assert {name: getattr(agreement, name) for name in got} == pytest.approx(got)
    for tolerance in TOLERANCES.values():
        assert "allowed are" in str(agreement.problem(tolerance))


def test_of_a_frame_in_several_batches_the_largest_differences_count() -> None:
    class WrongInPairs(Said):
        """Shifts, spoils labels and scores in batches of two, and nowhere else."""

        def run(self, images: ByteArray) -> NetworkOutputs:
            self.change = {"rows": 16, "shift": 0.125, "score": 0.25} if len(images) == 2 else {}
            return super().run(images)

    for sizes in ((2, 1), (1, 2)):
        comparison = compared(WrongInPairs(), 4, sizes)
        assert comparison.label_mismatch == pytest.approx(0.25) and comparison.score == pytest.approx(0.25)
        assert comparison.pose_px == pytest.approx(8)


def test_evidence_counts_as_scores_do_and_must_be_there_in_both() -> None:
    def with_evidence(value: float, images: ByteArray) -> NetworkOutputs:
        return Said().run(images)._replace(evidence=np.full((len(images), K, 2), value, np.float32))

    def both(one: float, other: float) -> Comparison:
        rows = in_turn(3, (2,))
        return compare(
            lambda images: with_evidence(one, images), lambda images: with_evidence(other, images), pictures(3), spec(),
            rows,
        )  # fmt: skip

    assert both(0.5, 0.75).score == pytest.approx(0.25)
    assert np.isinf(both(0.5, float("nan")).score).all()
    with pytest.raises(ModelError, match=r"output.*evidence.*and absent"):
        compare(lambda images: with_evidence(0.5, images), Said().run, pictures(3), spec(), in_turn(3, (2,)))


def test_outputs_of_another_kind_are_refused() -> None:
    def cut(images: ByteArray) -> NetworkOutputs:
        out = Said().run(images)
        return out._replace(labels=out.labels[:, 1:])

    with pytest.raises(ModelError, match=r"output.*labels"):
        compare(Said().run, cut, pictures(3), spec(), in_turn(3, (2,)))


def test_the_worst_frame_is_the_one_that_is_furthest_beyond_what_is_allowed() -> None:
    still = np.zeros((2, 2, 2), np.uint8)
    comparison = Comparison(np.array([0, 0.02]), np.array([[3.0, np.nan], [0, 0]]), np.array([0, 0.01]), still, still)
    assert comparison.worst(Tolerance(labels=0.99, pose_px=1, score=1)) == 0
    assert comparison.worst(Tolerance(labels=0.99, pose_px=1, score=1, far=5)) == 1
    assert comparison.worst(Tolerance(labels=0.99, pose_px=2, score=1, mean=True)) == 1
    assert comparison.worst(Tolerance(labels=0.9, pose_px=5, score=1e-3)) == 1
    assert comparison.of(slice(1)).agreement().worst_labels == 1
    assert comparison.mean_pose_px.tolist() == comparison.max_pose_px.tolist() == [3, 0]


def measured(**values: float) -> Agreement:
    sound = Agreement(
        num_frames=1, labels=1, worst_labels=1, worst_frame=0, pose_mean_px=0, pose_median_px=0, pose_p99_px=0,
        pose_px=0, score_mean=0, score=0,
    )  # fmt: skip
    return msgspec.structs.replace(sound, **values)


EACH_TOLERANCE = [
    *TOLERANCES.values(),
    Tolerance(labels=0.995, pose_px=0.3, score=0.05),
    Tolerance(labels=0.99, pose_px=0.5, score=0.1, mean=True),
]


@pytest.mark.parametrize("limit", EACH_TOLERANCE)
def test_each_tolerance_holds_at_its_edge(limit: Tolerance) -> None:
    def sound(**values: float) -> bool:
        return measured(**values).problem(limit) is None

    labels, score = ("labels", "score_mean") if limit.mean else ("worst_labels", "score")
    poses = {"pose_mean_px": 1.0} if limit.mean else {"pose_px": limit.far}
    if limit.far != 1:
        poses["pose_p99_px"] = 1
    assert sound(**{labels: limit.labels}) and not sound(**{labels: limit.labels - 1e-6})
    assert sound(**{score: limit.score}) and not sound(**{score: 1.001 * limit.score})
    for name, times in poses.items():
        assert sound(**{name: times * limit.pose_px}) and not sound(**{name: 1.001 * times * limit.pose_px})
    for name in (labels, score, *poses):
        assert not sound(**{name: float("nan")})


@pytest.mark.parametrize("side", [32, 256])
def test_pixels_are_those_of_a_picture_of_128_whatever_the_models_size(side: int) -> None:
    images = pictures(1)
    errors = pose_errors_px(
        Said().run(images), Said(shift=1 / 64).run(images), msgspec.structs.replace(spec(), input_hw=(side, side))
    )
    assert errors == pytest.approx(1)


def test_a_part_that_is_not_there_has_no_pose_to_compare() -> None:
    one, other = Said().run(pictures(2)), Said(shift=1).run(pictures(2))
    one.scores[:, 0] = other.scores[:, 0] = 0
    errors = pose_errors_px(one, other, spec())
    assert np.isnan(errors[:, 0]).all() and (errors[:, 1] == 64).all()


def test_poses_read_from_masks_have_no_direction_and_count_where_the_pixels_are_the_same() -> None:
    one = Said().run(pictures(3))
    turned = one._replace(affines=np.concatenate([-one.affines[..., :2], one.affines[..., 2:]], axis=-1))
    assert pose_errors_px(one, turned, spec("scops")).max() == 0
    assert pose_errors_px(one, turned, spec("assembly")).max() == 128
    moved = Said(rows=1).run(pictures(3))
    assert np.isnan(pose_errors_px(one, moved, spec("scops"))).any()
    assert not np.isnan(pose_errors_px(one, moved, spec("assembly"))).any()


def test_half_a_turn_and_other_pixels_are_told() -> None:
    affine = np.array([[[[2, 0, 1], [0, 1, 1]]]], np.float32)
    turned = affine * np.array([-1, -1, 1], np.float32)
    assert pose_differences(affine, turned, undirected=True).item() == 0
    assert pose_differences(affine, turned, undirected=False).item() == 4
    one, other = np.array([[[0, 1, 2]]], np.uint8), np.array([[[0, 1, 0]]], np.uint8)
    assert same_pixels(one, other, 2).tolist() == [[True, False]]


@pytest.mark.parametrize("name", ["shift", "score"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_beyond_any_tolerance(value: float, name: str) -> None:
    agreement = compared(Said(**{name: value})).agreement()
    for tolerance in EACH_TOLERANCE:
        assert "inf" in str(agreement.problem(tolerance))


def test_a_pose_that_is_no_number_counts_where_the_part_is_not_there_too() -> None:
    one, other = Said().run(pictures(1)), Said(shift=float("nan")).run(pictures(1))
    one.scores[:] = other.scores[:] = 0
    assert np.isinf(pose_errors_px(one, other, spec())).all()


def test_scores_of_parts_with_other_pixels_are_not_compared_but_what_is_no_number_is() -> None:
    """One pixel more of two is another score by right."""
    labels = np.array([[[1, 1], [2, 2]]], np.uint8)
    other = np.array([[[1, 1], [2, 0]]], np.uint8)
    poses = np.zeros((1, 2, 2, 3), np.float32)
    wanted = NetworkOutputs(labels, poses, np.array([[0.5, 0.5]], np.float32))
    got = NetworkOutputs(other, poses, np.array([[0.5, 0.9]], np.float32))
    assert score_differences(wanted, got).tolist() == [0]
    assert score_differences(wanted, got._replace(labels=labels)).tolist() == pytest.approx([0.4])
    assert score_differences(wanted, got._replace(scores=np.array([[0.5, np.nan]], np.float32))).tolist() == [np.inf]
