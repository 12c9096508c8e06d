"""A small clean COCO set that a test bends, and the demo data in any layout."""

import pytest

from mmmsmlp.data.cache import Cache
from mmmsmlp.data.own import Request, prepare
from mmmsmlp.demo.dataset import make_demo_data
from tests.helpers.coco_set import Set


@pytest.fixture
def coco(tmp_path):
    """A clean set."""
    return Set(tmp_path)


@pytest.fixture
def cache(tmp_path):
    """A cache of its own."""
    return Cache(tmp_path / 'cache.sqlite3')


@pytest.fixture(scope='session')
def demo(tmp_path_factory):
    """The demo data, with label maps; a test copies what it changes."""
    root = tmp_path_factory.mktemp('shapes') / 'demo'
    make_demo_data(root, train=10, val=4, size=96, semantic=True)
    return root


@pytest.fixture
def own(tmp_path, cache):
    """Prepare a path under the working folder; ``own(path, task='boxes', ...)``."""

    def run(path, task='boxes', loops=('train', 'val', 'test'), **asked):
        wanted = Request(task, loops, **asked)
        return prepare(str(path), wanted, str(tmp_path / 'run'), cache)

    return run
