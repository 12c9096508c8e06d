"""Whose key names are these?"""

from collections.abc import Collection

from .host_key_maps import HOSTS
from .key_maps import MSMLP, KeyMap

FAMILIES = (MSMLP, *HOSTS)


def find_family(keys: Collection[str]) -> KeyMap | None:
    """Return the map of the family whose keys these are, or None."""
    return next((family for family in FAMILIES if family.fits(keys)), None)
