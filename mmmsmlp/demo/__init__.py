"""A small generated dataset to try, test and show the models on."""

from .dataset import DemoDataError, make_demo_data
from .shapes import CLASSES, PALETTE

__all__ = ['CLASSES', 'PALETTE', 'DemoDataError', 'make_demo_data']
