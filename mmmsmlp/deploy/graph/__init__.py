"""A trained model as one graph: from 8-bit pictures to boxes, maps or classes."""

from .api import Graph, graph_of

__all__ = ['Graph', 'graph_of']
