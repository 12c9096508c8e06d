"""Do the outlines have the size and shape that their names say?"""

import cv2
import numpy as np
import pytest

from mmmsmlp.demo.shapes import CLASSES, PALETTE, outline


@pytest.mark.parametrize(
    ('name', 'share'),
    [
        ('circle', np.pi / 4),
        ('square', 1 / 2),
        ('triangle', 3 * np.sqrt(3) / 16),
        ('star', 5 / 4 * 0.45 * np.sin(np.pi / 5)),
    ],
)
@pytest.mark.parametrize('angle', [0.0, 0.4])
def test_area_of_the_circumscribed_square(name, share, angle):
    points = outline(name, 100, angle).astype(np.float32)
    assert cv2.contourArea(points) == pytest.approx(100**2 * share, rel=2e-3)
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(50)


def test_the_tip_of_a_triangle_turns_clockwise():
    assert outline('triangle', 2)[0] == pytest.approx([0, -1])
    assert outline('triangle', 2, np.pi / 2)[0] == pytest.approx([1, 0], abs=1e-12)


def test_unknown_name_lists_the_classes():
    with pytest.raises(ValueError, match="'blob'.*circle, square, triangle, star"):
        outline('blob', 10)


def test_a_colour_for_each_class():
    assert len(PALETTE) == len(set(PALETTE)) == len(set(CLASSES)) == 4
