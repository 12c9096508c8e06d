"""Looking an architecture up by name, or checking one that a user wrote."""

from collections.abc import Collection, Mapping
from copy import deepcopy

SHORT_NAMES = {'t': 'tiny', 's': 'small', 'b': 'base'}


def resolve_arch(
    arch: str | Mapping,
    table: Mapping[str, Mapping],
    per_stage: Collection[str],
) -> dict:
    """Return the settings of ``arch``.

    Args:
        arch: 'tiny', 'small', 'base' or 't', 's', 'b', or a dict with the keys of a
            table entry. ``embed_dims``, an int, is the width of stage 1; it doubles
            per stage.
        table: Settings per name.
        per_stage: The keys that hold one entry for each of stages 1-4.

    Returns:
        A copy of the settings.

    Raises:
        ValueError: Unknown name or key, a missing key, a list of the wrong length, or
            neither a name nor a dict.
    """
    if isinstance(arch, str):
        name = SHORT_NAMES.get(arch.lower(), arch.lower())
        if name not in table:
            raise ValueError(
                f'unknown arch {arch!r}; choose one of {", ".join(table)} '
                f'({", ".join(SHORT_NAMES)}), or give a dict'
            )
        return deepcopy(dict(table[name]))
    if not isinstance(arch, Mapping):
        raise ValueError(f'arch must be a name or a dict, got {arch!r}')
    settings = deepcopy(dict(arch))
    allowed = next(iter(table.values())).keys()
    if settings.keys() != allowed:
        raise ValueError(
            f'an arch dict needs the keys {sorted(allowed)}, got {sorted(settings)}'
        )
    for key in per_stage:
        if len(settings[key]) != 4:
            raise ValueError(
                f'arch[{key!r}] needs one entry for each of the four stages, got '
                f'{settings[key]!r}'
            )
    if any(depth < 1 for depth in settings['depths']):
        raise ValueError(
            f"arch['depths'] must be at least 1 in every stage, got "
            f'{settings["depths"]!r}'
        )
    return settings
