"""mmcv's compiled module ``mmcv._ext`` by torchvision and torch: no compiler needed.

``ext`` holds every operator under mmcv's own name; ``finder`` lets ``import mmcv._ext``
find it where nothing is compiled. The other files are the operators by subject. They
import torch and each other only, so that the folder also works by itself, as
``mmcv/_mmmsmlp_ops`` (``python -m mmmsmlp mmcv-ops install``).
"""
