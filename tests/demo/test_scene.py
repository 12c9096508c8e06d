"""Are the visible parts of the shapes what the image shows?"""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmmsmlp.demo.scene import MIN_VISIBLE, compose

pytestmark = pytest.mark.full

SIZE = 160


@pytest.fixture(scope='module')
def scenes():
    return [compose(np.random.default_rng([5, i]), SIZE) for i in range(80)]


@pytest.fixture(scope='module')
def instances(scenes):
    return [instance for _, found in scenes for instance in found]


def rasterise(polygons):
    runs = coco_mask.frPyObjects([p.ravel().tolist() for p in polygons], SIZE, SIZE)
    return coco_mask.decode(coco_mask.merge(runs)).astype(bool)


def test_polygons_are_the_pixel_masks(instances):
    overlaps, areas = [], []
    for instance in instances:
        drawn = rasterise(instance.polygons)
        both = (drawn & instance.mask).sum()
        overlaps.append(both / (drawn | instance.mask).sum())
        areas.append(instance.mask.sum())
    overlaps, areas = np.array(overlaps), np.array(areas)
    # One pixel of a part of 100 is a hundredth; larger ones must agree better.
    assert overlaps.min() > 0.90
    assert overlaps[areas >= 200].min() > 0.95
    assert overlaps.mean() > 0.98


def test_no_pixel_belongs_to_two_shapes(scenes):
    for image, found in scenes:
        assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
        assert sum(instance.mask.astype(int) for instance in found).max() == 1


def test_shapes_differ_from_their_surroundings(scenes):
    """A label on a spot where nothing was drawn would fail here."""
    gaps = []
    for image, found in scenes:
        for instance in found:
            mask = instance.mask.astype(np.uint8)
            ring = cv2.dilate(mask, np.ones((9, 9))) - cv2.dilate(mask, np.ones((3, 3)))
            inner = np.median(image[mask.astype(bool)], axis=0)
            outer = np.median(image[ring.astype(bool)], axis=0)
            gaps.append(np.abs(inner - outer).max())
    assert np.mean(np.array(gaps) > 20) > 0.98


def test_every_shape_is_visible_for_the_most_part(instances):
    visible = np.array([instance.visible for instance in instances])
    assert visible.min() >= MIN_VISIBLE
    # Half a percent is what sampling on a grid may add.
    assert visible.max() < 1.02


def test_overlap_and_truncation_occur(instances):
    cut = [i for i in instances if i.truncated and i.visible < 0.9]
    covered = [i for i in instances if not i.truncated and i.visible < 0.9]
    assert len(cut) > 0.05 * len(instances)
    assert len(covered) > 0.10 * len(instances)
    for instance in cut:
        rows, columns = np.nonzero(instance.mask)
        assert {0, SIZE - 1} & {*rows, *columns}
    assert any(len(instance.polygons) > 1 for instance in instances)


def test_other_image_sizes():
    for size in (64, 200):
        image, found = compose(np.random.default_rng(0), size)
        assert image.shape == (size, size, 3)
        assert found and all(instance.mask.any() for instance in found)
