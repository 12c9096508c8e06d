"""The configs of the package: their names, what a name says, and where they lie."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import did_you_mean

if TYPE_CHECKING:
    from mmengine.config import Config

PACKAGE = Path(__file__).resolve().parent
SIZES = ('t', 's', 'b')
SCHEDULES = ('1x', '3x', '160k', '300e')


@dataclass(frozen=True)
class Leaf:
    """A config's name, ``{head}_{backbone}_{size}_{schedule}``, taken apart.

    A classifier has no head in its name; ``head`` is then empty.
    """

    head: str
    backbone: str
    size: str
    schedule: str

    @classmethod
    def parse(cls, name: str) -> 'Leaf | None':
        """``None`` for others: another head's, a demo's, an ablation's, a user's."""
        if '/' in name:
            return None
        fields = name.split('_')
        if len(fields) == 3:
            fields.insert(0, '')
        if len(fields) != 4 or fields[2] not in SIZES or fields[3] not in SCHEDULES:
            return None
        return cls(*fields)


def root() -> Path:
    """The folder that holds ``configs`` and ``tools``.

    That is ``mmmsmlp/.mim`` after ``pip install .``, and the checkout otherwise.

    Raises:
        FileNotFoundError: Neither has configs.
    """
    places = (PACKAGE / '.mim', PACKAGE.parent)
    for place in places:
        if (place / 'configs' / '_base_').is_dir():
            return place
    raise FileNotFoundError(
        f'no configs in {places[0]} or {places[1]}; install mmmsmlp again '
        '(pip install .) or use a checkout'
    )


def checkout() -> Path | None:
    """The checkout that the package runs from; ``None`` where it is installed."""
    return PACKAGE.parent if (PACKAGE.parent / 'setup.py').is_file() else None


def list_configs(pattern: str = '*') -> list[str]:
    """Names of the configs that match a shell pattern, such as ``'retinanet_*_1x'``.

    Those in a subfolder carry it: ``'ablation/table9_local_patch4'``.
    """
    folder = root() / 'configs'
    paths = (path.relative_to(folder) for path in folder.rglob('*.py'))
    names = (path.with_suffix('').as_posix() for path in paths)
    ours = [name for name in names if not name.startswith('_base_/')]
    return sorted(fnmatch.filter(ours, pattern))


def config_path(name: str) -> Path:
    """The file of a config, by the name that :func:`list_configs` gives it.

    Raises:
        KeyError: There is none; names near ones.
    """
    name = name.removesuffix('.py')
    if name not in list_configs():
        raise KeyError(f'there is no config {name!r}{advice(name)}')
    return root() / 'configs' / f'{name}.py'


def advice(name: str) -> str:
    """The end of a sentence: what to write for a name that no config has."""
    everywhere = f'; mmmsmlp.list_configs() names all, in {root() / "configs"}'
    return did_you_mean(name, list_configs(), 3, 0.5) or everywhere


def get_config(name: str) -> 'Config':
    """Read a config by name, as a :class:`mmengine.config.Config`.

    ``DetInferencer(mmmsmlp.get_config('retinanet_msmlp_t_1x'), CHECKPOINT)`` works
    wherever the package is installed.

    Raises:
        KeyError: There is none; names near ones.
    """
    from mmengine.config import Config

    return Config.fromfile(str(config_path(name)))
