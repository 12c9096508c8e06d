"""The finder of ``mmcv._ext``: last in line, so that a compiled module always wins."""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

NAME = 'mmcv._ext'


class StandIn(MetaPathFinder, Loader):
    """Finds ``mmcv._ext``, and nothing else, and fills it with the operators."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if name != NAME:
            return None
        return ModuleSpec(NAME, self, origin=str(Path(__file__).with_name('ext.py')))

    def exec_module(self, module: ModuleType) -> None:
        from . import ext

        vars(module).update({name: getattr(ext, name) for name in ext.__all__})
        vars(module).update(__doc__=ext.__doc__, __getattr__=ext.__getattr__)


def stand_in() -> None:
    """Put one finder at the end of ``sys.meta_path``, unless it is there."""
    kind = (StandIn.__module__, StandIn.__qualname__)
    for finder in sys.meta_path:
        if (type(finder).__module__, type(finder).__qualname__) == kind:
            return
    sys.meta_path.append(StandIn())
