"""The models once more, from a state dict alone: plain, slow, and sharing no code."""

from .pyramid import plain_forward

__all__ = ['plain_forward']
