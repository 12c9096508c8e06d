"""A report on data to look at: one HTML page that needs no network."""

from .page import write_report
from .views import view_of

__all__ = ['view_of', 'write_report']
