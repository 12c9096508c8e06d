"""How a run went, to look at: one HTML page of one run or of several side by side."""

from .page import write_report
from .read import Run, read_curves, read_run

__all__ = ['Run', 'read_curves', 'read_run', 'write_report']
