"""The backbones; importing this module registers them."""

from .msmlp import MSMLP

__all__ = ['MSMLP']
