"""Which tests run (the slow ones with --all or -m only), and a stand-in for yacs."""

import sys
import types

import pytest

pytest.register_assert_rewrite('tests.helpers')
pytest_plugins = ['tests.helpers.fixtures']


def pytest_addoption(parser):
    parser.addoption('--all', action='store_true', help='run the slow tests too')


def pytest_collection_modifyitems(config, items):
    if config.getoption('--all') or config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker('slow')]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker('slow')]


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
