import numpy as np
import pytest

from streamparts.tracking.pose_filter import PoseFilter
from streamparts.tracking.smoothing import Smoothing

SIDE = 256


def poses(centers: np.ndarray, degrees: float | np.ndarray = 0.0, scales: tuple[float, float] = (20, 10)) -> np.ndarray:
    """(F, K, 2, 3) float32 affines from centers (F, K, 2)."""
    radians = np.deg2rad(np.broadcast_to(degrees, centers.shape[:2]))
    cos, sin = np.cos(radians), np.sin(radians)
    out = np.empty((*centers.shape[:2], 2, 3), np.float32)
    out[..., 0, 0], out[..., 1, 0] = cos * scales[0], sin * scales[0]
    out[..., 0, 1], out[..., 1, 1] = -sin * scales[1], cos * scales[1]
    out[..., 2] = centers
    return out


def filtered(
    measured: np.ndarray, seen: np.ndarray | None = None, rate: float = 60.0, smoothing: Smoothing | None = None
) -> np.ndarray:
    pose_filter = PoseFilter(measured.shape[1], smoothing)
    seen = np.ones(measured.shape[:2], bool) if seen is None else seen
    certain = np.ones(measured.shape[1], np.float32)
    return np.stack([pose_filter.update(i / rate, measured[i], certain, seen[i], SIDE) for i in range(len(measured))])


def still(num_frames: int, num_parts: int = 1) -> np.ndarray:
    return np.full((num_frames, num_parts, 2), 100.0)


def moving(num_frames: int, speed_px: float, rate: float = 60.0) -> np.ndarray:
    x = 40 + speed_px * np.arange(num_frames) / rate
    return np.stack([x, np.full(num_frames, 90.0)], -1)[:, None]


def test_a_pose_at_rest_without_noise_stays_exactly_where_it_is() -> None:
    measured = poses(still(50), 30)
    assert np.allclose(filtered(measured), measured, atol=1e-3)


def test_steady_motion_is_followed_without_delay() -> None:
    measured = poses(moving(120, 150.0))
    assert np.abs(filtered(measured)[60:, :, :, 2] - measured[60:, :, :, 2]).max() < 0.3


def test_noise_at_rest_becomes_several_times_calmer() -> None:
    measured = poses(still(400, 8) + np.random.default_rng(0).normal(0, 1.5, (400, 8, 2)))
    steps = [np.abs(np.diff(x[100:, ..., 2], axis=0)).mean() for x in (measured, filtered(measured))]
    assert steps[1] < steps[0] / 5


def test_an_outlier_hardly_moves_the_track() -> None:
    measured = poses(still(100) + np.random.default_rng(0).normal(0, 0.5, (100, 1, 2)))
    measured[60, 0, :, 2] += 40
    assert np.abs(filtered(measured)[58:66, 0, :, 2] - 100).max() < 4


def test_a_part_that_has_jumped_is_believed_after_three_frames() -> None:
    centers = still(100)
    centers[50:] += 60
    out = filtered(poses(centers + np.random.default_rng(0).normal(0, 0.5, centers.shape)))
    assert np.abs(out[54:, 0, :, 2] - 160).max() < 3


def test_outliers_that_disagree_are_never_believed() -> None:
    rng = np.random.default_rng(0)
    centers = still(100) + rng.normal(0, 0.5, (100, 1, 2))
    centers[50:60, 0] = rng.uniform(0, 256, (10, 2))
    assert np.abs(filtered(poses(centers))[62:, 0, :, 2] - 100).max() < 12


def test_a_hidden_part_goes_on_for_a_moment_and_then_rests() -> None:
    seen = np.ones((120, 1), bool)
    seen[60:] = False
    out = filtered(poses(moving(120, 120.0)), seen)[:, 0, 0, 2]
    assert out[63] > out[59] + 3
    assert out[119] - out[100] < 0.5


def test_what_a_hidden_part_measures_does_not_matter() -> None:
    seen = np.ones((60, 1), bool)
    seen[30:40] = False
    one, other = poses(moving(60, 60.0)), poses(moving(60, 60.0))
    other[30:40] = 7
    assert np.array_equal(filtered(one, seen), filtered(other, seen))


def test_a_part_that_was_never_seen_passes_unchanged() -> None:
    measured = poses(np.random.default_rng(0).uniform(0, 256, (20, 2, 2)), 10)
    seen = np.tile([True, False], (20, 1))
    assert np.allclose(filtered(measured, seen)[:, 1], measured[:, 1], atol=1e-3)


def test_an_angle_passes_half_a_turn_without_a_jump() -> None:
    degrees = np.linspace(150, 210, 120)[:, None]
    out = filtered(poses(still(120), degrees))
    found = np.rad2deg(np.arctan2(out[..., 1, 0], out[..., 0, 0]))[:, 0] % 360
    assert np.abs(found - degrees[:, 0])[40:].max() < 2


def test_the_same_scene_at_twice_the_size_gives_twice_the_tracks() -> None:
    rng = np.random.default_rng(0)
    centers = moving(60, 80.0) + rng.normal(0, 1, (60, 1, 2))
    small, pose_filter = filtered(poses(centers)), PoseFilter(1)
    for i, measured in enumerate(2 * poses(centers)):
        large = pose_filter.update(i / 60, measured, np.ones(1, np.float32), np.ones(1, bool), 2 * SIDE)
        assert np.allclose(large, 2 * small[i], rtol=1e-4, atol=1e-3)


def test_prediction_cancels_a_known_latency() -> None:
    measured = poses(moving(120, 150.0))
    ahead = filtered(measured, smoothing=Smoothing(predict_seconds=0.05))
    assert np.abs(ahead[80:-3, 0, 0, 2] - measured[83:, 0, 0, 2]).max() < 0.6


def test_an_uncertain_measurement_counts_less() -> None:
    def after(confidence: float) -> float:
        pose_filter, sure = PoseFilter(1), np.ones(1, bool)
        for i in range(30):
            pose_filter.update(i / 60, poses(still(1))[0], np.ones(1, np.float32), sure, SIDE)
        moved = poses(still(1) + 2)[0]
        return float(pose_filter.update(0.5, moved, np.array([confidence], np.float32), sure, SIDE)[0, 0, 2])

    assert 100 < after(0.2) < after(1.0) < 102


@pytest.mark.parametrize("rate", [30.0, 60.0])
def test_a_start_is_followed_sooner_where_measurements_keep_lying_ahead(rate: float) -> None:
    centers = still(round(2 * rate), 8) + np.random.default_rng(0).normal(0, 1.0, (round(2 * rate), 8, 2))
    start = np.maximum(np.arange(len(centers)) / rate - 1, 0)
    on_the_way = 60 * np.minimum(start / 0.3, 1) ** 2 * (3 - 2 * np.minimum(start / 0.3, 1))
    centers[..., 0] += on_the_way[:, None]
    late = []
    for gain in (0.0, 2.0):
        found = filtered(poses(centers), rate=rate, smoothing=Smoothing(leaning_gain=gain))[..., 0, 2]
        late.append(np.abs(found - 100 - on_the_way[:, None])[start > 0].mean())
    assert late[1] < 0.95 * late[0]


def test_chance_is_hardly_ever_taken_for_leaning() -> None:
    measured = poses(still(600, 8) + np.random.default_rng(0).normal(0, 1.5, (600, 8, 2)))
    steps = [
        np.abs(np.diff(filtered(measured, smoothing=Smoothing(leaning_gain=gain))[100:, ..., 2], axis=0)).mean()
        for gain in (0.0, 2.0)
    ]
    assert steps[1] < 2 * steps[0]


def test_measurements_of_little_confidence_do_not_teach_how_noisy_the_others_are() -> None:
    rng, pose_filter = np.random.default_rng(0), PoseFilter(1)
    for i in range(200):
        sure = i < 120
        measured = poses(still(1) + rng.normal(0, 0.5 if sure else 5.0, (1, 1, 2)))[0]
        confidence = np.array([1.0 if sure else 0.1], np.float32)
        pose_filter.update(i / 60, measured, confidence, np.ones(1, bool), SIDE)
        if i == 119:
            before = pose_filter.expected(2.0, SIDE)[1][0]
    noise = pose_filter._noise[0, 0] ** 0.5
    assert noise < 0.8 and noise < 1.2 * before


def test_a_part_that_is_hardly_seen_goes_on_for_a_moment_and_slows_down() -> None:
    def after(confidence: float) -> float:
        pose_filter, measured = PoseFilter(1), poses(moving(72, 150.0))
        for i in range(60):
            pose_filter.update(i / 60, measured[i], np.ones(1, np.float32), np.ones(1, bool), SIDE)
        for i in range(60, 72):
            out = pose_filter.update(i / 60, measured[59], np.full(1, confidence, np.float32), np.ones(1, bool), SIDE)
        return float(out[0, 0, 2] - measured[59, 0, 0, 2])

    # undamped, 150 px/s leads 30 px on in those 12 frames
    assert 3 < after(0.01) < 20
    assert after(1.0) < 2


def test_of_two_measurements_that_are_hardly_worth_anything_one_may_still_count_less() -> None:
    def after(confidence: float) -> float:
        pose_filter = PoseFilter(1)
        for i in range(66):
            far, worth = (0, 1.0) if i < 60 else (40, confidence)
            measured = poses(still(1) + far)[0]
            out = pose_filter.update(i / 60, measured, np.full(1, worth, np.float32), np.ones(1, bool), SIDE)
        return float(out[0, 0, 2] - 100)

    assert 0 < after(0.01) < 0.5 * after(0.04)


def test_times_that_do_not_increase_are_refused() -> None:
    pose_filter, args = PoseFilter(1), (poses(still(1))[0], np.ones(1, np.float32), np.ones(1, bool), SIDE)
    pose_filter.update(1.0, *args)
    with pytest.raises(ValueError, match="must increase"):
        pose_filter.update(1.0, *args)


@pytest.mark.parametrize(
    "wrong", [{"noise": (0, 1, 1)}, {"leaning_gain": -1.0}, {"predict_seconds": 2.0}, {"noise_range": (2.0, 3.0)}]
)
def test_senseless_constants_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"smoothing|predict_seconds|noise_range"):
        Smoothing(**wrong)
