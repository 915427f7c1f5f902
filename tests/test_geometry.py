import cv2
import numpy as np
import pytest

from streamparts.geometry import (
    Letterbox,
    affine_from_moments,
    mask_moments,
    normalised_grid,
    normalised_to_pixels,
    pixels_to_normalised,
)

SIZES = [((720, 1280), (256, 256)), ((1280, 720), (128, 128)), ((100, 100), (256, 256)), ((1, 999), (64, 96))]


def test_the_normalised_grid_holds_pixel_centres() -> None:
    assert np.allclose(normalised_grid(2, 4)[0, :, 0], [-0.75, -0.25, 0.25, 0.75])
    assert np.allclose(normalised_grid(2, 4)[:, 0, 1], [-0.5, 0.5])


def test_the_corners_of_an_image_are_minus_one_and_one() -> None:
    corners = np.array([[-1.0, -1.0], [1.0, 1.0]])
    assert normalised_to_pixels(corners, 30, 40).tolist() == [[0, 0], [40, 30]]


def test_pixels_and_normalised_coordinates_are_inverse() -> None:
    points = np.random.default_rng(0).uniform(-20, 700, (50, 2))
    assert np.allclose(normalised_to_pixels(pixels_to_normalised(points, 480, 640), 480, 640), points)


@pytest.mark.parametrize(("frame_hw", "model_hw"), SIZES)
def test_a_letterbox_stays_inside_the_model_and_touches_two_sides(
    frame_hw: tuple[int, int], model_hw: tuple[int, int]
) -> None:
    box = Letterbox.fit(frame_hw, model_hw)
    (x, y), (height, width) = box.offset_xy, box.inner_hw
    assert 0 <= x <= x + width <= model_hw[1] and 0 <= y <= y + height <= model_hw[0]
    assert height == model_hw[0] or width == model_hw[1]


@pytest.mark.parametrize(("frame_hw", "model_hw"), SIZES)
def test_model_and_frame_pixels_are_inverse(frame_hw: tuple[int, int], model_hw: tuple[int, int]) -> None:
    box = Letterbox.fit(frame_hw, model_hw)
    points = np.random.default_rng(0).uniform(0, 500, (50, 2))
    assert np.allclose(box.model_to_frame(box.frame_to_model(points)), points)


def test_the_corners_of_the_inner_picture_are_the_corners_of_the_frame() -> None:
    box = Letterbox.fit((720, 1280), (256, 256))
    rows, columns = box.inner_slices
    corners = np.array([[columns.start, rows.start], [columns.stop, rows.stop]], np.float64)
    assert box.model_to_frame(corners).tolist() == [[0, 0], [1280, 720]]


def test_an_affine_goes_to_frame_pixels_as_its_points_do() -> None:
    box = Letterbox.fit((720, 1280), (256, 256))
    affine = np.array([[0.3, -0.1, 0.2], [0.05, 0.2, -0.1]], np.float32)
    canonical = np.array([0.6, -0.8], np.float32)
    point = affine[:, :2] @ canonical + affine[:, 2]
    expected = box.model_to_frame(normalised_to_pixels(point, 256, 256))
    moved = box.affines_to_frame(affine[None])[0]
    assert np.allclose(moved[:, :2] @ canonical + moved[:, 2], expected, atol=1e-3)


def test_moving_affines_to_the_frame_leaves_the_input_alone() -> None:
    affines = np.ones((1, 2, 3), np.float32)
    Letterbox.fit((720, 1280), (256, 256)).affines_to_frame(affines)
    assert (affines == 1).all()


def test_areas_scale_with_the_square_of_the_picture() -> None:
    assert Letterbox.fit((720, 1280), (256, 256)).areas_to_frame(np.ones(1, np.float32)).tolist() == [25]


def test_padding_puts_the_picture_in_the_middle_on_black() -> None:
    box = Letterbox.fit((2, 4), (4, 4))
    padded = box.pad(np.full((2, 4, 3), 9, np.uint8))
    assert padded[:, 0, 0].tolist() == [0, 9, 9, 0]


@pytest.mark.parametrize("frame_hw", [(0, 10), (10, -1)])
def test_a_letterbox_of_nothing_is_refused(frame_hw: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        Letterbox.fit(frame_hw, (64, 64))


def test_moments_of_a_rectangle_are_those_of_calculus() -> None:
    mask = np.zeros((100, 200), np.uint8)
    mask[20:60, 40:140] = 1
    mean, covariance, mass = mask_moments(mask)
    assert mass == 4000
    assert np.allclose(mean, [-0.1, -0.2])
    assert np.allclose(np.diag(covariance), [1 / 12, 0.8**2 / 12], rtol=1e-3)


def test_moments_of_nothing_are_zero_and_give_a_finite_affine() -> None:
    mean, covariance, mass = mask_moments(np.zeros((8, 8)))
    assert mass == 0
    assert np.isfinite(affine_from_moments(mean, covariance)).all()


def test_the_affine_of_moments_reproduces_the_covariance() -> None:
    covariance = np.array([[0.3, 0.1], [0.1, 0.2]])
    affine = affine_from_moments(np.array([0.5, -0.5]), covariance, sigmas=1)
    matrix = affine[:, :2]
    assert np.allclose(matrix @ matrix.T, covariance, atol=1e-6)
    assert np.linalg.det(matrix) > 0
    assert affine[:, 2].tolist() == [0.5, -0.5]


def test_opencv_scales_in_the_same_convention() -> None:
    """A bright pixel's centre goes where pure multiplication puts it."""
    image = np.zeros((16, 16), np.float32)
    image[5, 11] = 1
    large = cv2.resize(image, (64, 64), interpolation=cv2.INTER_LINEAR)
    y, x = np.mgrid[:64, :64] + 0.5
    center = np.array([(large * x).sum(), (large * y).sum()]) / large.sum()
    assert np.allclose(center, np.array([11.5, 5.5]) * 4, atol=1e-3)
