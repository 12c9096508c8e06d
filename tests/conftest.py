"""Which tests run? All but the slow ones, unless --all (or -m) says otherwise."""


def pytest_addoption(parser):
    parser.addoption('--all', action='store_true', help='run the slow tests too')


def pytest_collection_modifyitems(config, items):
    if config.getoption('--all') or config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker('slow')]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker('slow')]
