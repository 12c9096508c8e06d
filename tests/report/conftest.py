"""A small clean COCO set that a test bends."""

import pytest

from mmmsmlp.data.cache import Cache
from tests.helpers.coco_set import Set


@pytest.fixture
def coco(tmp_path):
    """A clean set."""
    return Set(tmp_path)


@pytest.fixture
def cache(tmp_path):
    """A cache of its own."""
    return Cache(tmp_path / 'cache.sqlite3')
