"""The mix-shift operator in Triton; nothing here imports Triton before it is used."""

from .availability import unavailable

__all__ = ['unavailable']
