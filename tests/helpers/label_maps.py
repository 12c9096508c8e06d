"""Small sets of label maps, and what is read of them."""

from pathlib import Path

import numpy as np
from PIL import Image


def map_set(root, image='{}.jpg', label='{}.png', values=(0, 1), count=5):
    for kind in ('images', 'masks'):
        (root / kind).mkdir(parents=True)
    for i in range(count):
        pixels = np.full((8, 12, 3), i, np.uint8)
        Image.fromarray(pixels).save(root / 'images' / image.format(f'p{i}'))
        labels = np.resize(np.array(values, np.uint8), (8, 12))
        Image.fromarray(labels).save(root / 'masks' / label.format(f'p{i}'))
    return root


def maps_read(result, split):
    """What the maps of a split hold as they are read, by their images' names."""
    source, end = result.sources[split], result.map_suffix
    names = Path(source.listed).read_text().split()
    return {
        name: np.unique(np.array(Image.open(Path(source.labels) / f'{name}{end}')))
        for name in names
    }
