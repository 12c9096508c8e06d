"""Running an exported model, without torch: ``mmmsmlp.deploy.load('model.onnx')``.

``graph/`` and ``export.py`` make such files and need the toolboxes; the rest of this
room needs numpy, OpenCV, and a runtime.
"""

from .runtime import Classes, Deployed, Detections, load

__all__ = ['Classes', 'Deployed', 'Detections', 'load']
