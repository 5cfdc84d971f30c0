"""A camera that turns on the spot tells its focal length; one that stands still or travels does not."""

import cv2
import numpy as np
import pytest

from models.body.articulation import rotation_matrices
from utils.cameras.turning import focal_of_turning_camera

SIZE = (640, 360)


def texture(seed: int) -> np.ndarray:
    """(900, 1600, 3) uint8: spots of all sizes."""
    random = np.random.default_rng(seed)
    picture = np.zeros((900, 1600), np.float32)
    for sigma in (2.0, 5.0, 12.0):
        layer = cv2.GaussianBlur(random.normal(size=picture.shape).astype(np.float32), (0, 0), sigma)
        picture += layer / layer.std()
    levels = np.clip(128 + 35 * picture, 0, 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)


def K_of(focal: float, size: tuple[int, int]) -> np.ndarray:
    return np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]])


def panned(focal: float, degrees: float, frames: int = 8) -> list[np.ndarray]:
    """Pictures of a far scene by a camera that pans and tilts a little."""
    scene = texture(0)
    pictures = []
    for share in np.linspace(-0.5, 0.5, frames):
        turn = rotation_matrices(np.radians([[0.15 * degrees * share, degrees * share, 0]]))[0]
        H = K_of(focal, SIZE) @ turn @ np.linalg.inv(K_of(900.0, (1600, 900)))
        pictures.append(cv2.warpPerspective(scene, H, SIZE))
    return pictures


def masks(count: int) -> list[np.ndarray]:
    return [np.zeros(SIZE[::-1], bool)] * count


@pytest.mark.parametrize("focal", [420.0, 640.0, 1000.0])
def test_a_pan_tells_the_focal_length(focal: float) -> None:
    found = focal_of_turning_camera(panned(focal, 30.0), masks(8))
    assert found is not None
    assert found.focal == pytest.approx(focal, rel=0.03)


def test_a_person_who_walks_along_does_not_mislead() -> None:
    pictures, where = panned(640.0, 30.0), []
    for picture in pictures:
        # The camera follows somebody with a busy pattern, who stays in the middle.
        picture[60:330, 240:400] = texture(5)[:270, :160]
        mask = np.zeros(SIZE[::-1], bool)
        mask[60:330, 240:400] = True
        where.append(mask)
    found = focal_of_turning_camera(pictures, where)
    assert found is not None
    assert found.focal == pytest.approx(640.0, rel=0.04)


def test_a_camera_that_hardly_turns_tells_nothing() -> None:
    assert focal_of_turning_camera(panned(640.0, 2.0), masks(8)) is None


def test_a_camera_that_travels_tells_nothing() -> None:
    near, far = texture(1), texture(2)
    pictures = []
    for shift in range(0, 320, 40):
        picture = far[100:460, 200 + shift // 4 : 840 + shift // 4].copy()
        picture[180:] = near[300:480, 200 + shift : 840 + shift]
        pictures.append(picture)
    assert focal_of_turning_camera(pictures, masks(len(pictures))) is None


def test_nothing_to_recognise() -> None:
    grey = [np.full((*SIZE[::-1], 3), 90, np.uint8)] * 4
    assert focal_of_turning_camera(grey, masks(4)) is None
