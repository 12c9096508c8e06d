"""Which tests run: the tiers --fast, default and --all; and a stand-in for yacs."""

import gc
import os
import re
import sys
import types

import pytest

from mmmsmlp.run.config import keep_what_is_slow

pytest.register_assert_rewrite('tests.helpers')
pytest_plugins = ['tests.helpers.fixtures']

WINDOWS = sys.platform == 'win32'
FAST_LIMIT = 60  # seconds for one test of the fast tier; the usual one takes 0.05


def pytest_addoption(parser):
    tiers = parser.getgroup('tiers')
    tiers.addoption('--fast', action='store_true', help='leave out full and slow tests')
    tiers.addoption('--all', action='store_true', help='run the slow tests too')


def pytest_collection_modifyitems(config, items):
    for item in items:
        if 'trained' in getattr(item, 'fixturenames', ()):  # it runs tools/train.py
            item.add_marker('full')
        needs_root = item.get_closest_marker('root')
        if needs_root and (WINDOWS or os.getuid() != 0):
            item.add_marker(pytest.mark.skip(f'needs root for {needs_root.args[0]}'))
        if WINDOWS and _needs_posix(item):
            item.add_marker(pytest.mark.skip('bash, links and signals are POSIX'))
    left_out = _left_out(config)
    kept, others = [], []
    for item in items:
        marked = any(map(item.get_closest_marker, left_out))
        (others if marked else kept).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = kept
    if config.getoption('--fast'):
        for item in items:
            item.add_marker(pytest.mark.timeout(FAST_LIMIT))


def _needs_posix(item) -> bool:
    marked = item.get_closest_marker('posix')
    return bool(marked) or 'run_shell' in getattr(item, 'fixturenames', ())


def _left_out(config) -> set[str]:
    """Marks of the tests that the tier lacks, but for those that -m speaks of."""
    fast, whole = config.getoption('--fast'), config.getoption('--all')
    if fast and whole:
        raise pytest.UsageError('--fast and --all are two tiers; give one')
    marks = {'slow', 'full'} if fast else set() if whole else {'slow'}
    return marks - set(re.findall(r'\w+', config.option.markexpr))


@pytest.fixture(autouse=True, scope='module')
def nothing_is_done_twice():
    """Config bases are read once; what lives by now is not searched for garbage.

    mmengine collects garbage for every dataset, which takes a second once a few hundred
    tests and all toolboxes are in memory.
    """
    keep_what_is_slow()
    gc.collect()
    gc.freeze()


@pytest.fixture
def yacs_config(monkeypatch):
    """Makes yacs configs; the module exists while the file is written only."""
    module = types.ModuleType('yacs.config')

    class CfgNode(dict):
        def __init__(self, *args):
            super().__init__(*args)
            self.__dict__['__immutable__'] = True

        def __setstate__(self, state):
            raise AssertionError('the real class was called')

    CfgNode.__module__, CfgNode.__qualname__ = 'yacs.config', 'CfgNode'
    module.CfgNode = CfgNode
    monkeypatch.setitem(sys.modules, 'yacs', types.ModuleType('yacs'))
    monkeypatch.setitem(sys.modules, 'yacs.config', module)

    def make(shift_dist=(-2, -1, 0, 1, 2)):
        return CfgNode({'MODEL': CfgNode({'SHIFT_DIST': list(shift_dist)})})

    return make
