"""A small clean COCO set, as tables that a test bends before they are written."""

import json

import numpy as np
from PIL import Image

from mmmsmlp.data.cache import Cache
from mmmsmlp.data.coco_checks import Use
from mmmsmlp.data.coco_set import check_set
from mmmsmlp.data.findings import Findings

NAMES = ('cup', 'fork', 'knife')


class Set:
    """``data`` is what the JSON will hold; the pictures lie there already."""

    def __init__(self, root):
        self.root, self.images = root, root / 'images'
        self.images.mkdir()
        rng = np.random.default_rng(0)
        pictures, objects = [], []
        for i in range(6):
            width, height = 90 + i, 60 + i
            pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.images / f'{i}.jpg')
            name = dict(id=i + 10, file_name=f'{i}.jpg', width=width, height=height)
            pictures.append(name)
            for k in range(3):
                x, y, w, h = 5.0 + 20 * k, 8.0, 12.0, 10.0 + k
                mask = [[x, y, x + w, y, x + w, y + h, x, y + h]]
                objects.append(
                    dict(id=len(objects) + 1, image_id=i + 10, category_id=k + 1,
                         bbox=[x, y, w, h], area=w * h, iscrowd=0, segmentation=mask)
                )  # fmt: skip
        categories = [dict(id=k, name=name) for k, name in enumerate(NAMES, 1)]
        self.data = dict(info={}, images=pictures, annotations=objects,
                         categories=categories)  # fmt: skip
        self.text = None  # in place of the data

    @property
    def file(self):
        """The JSON, written anew from ``data``."""
        path = self.root / 'set.json'
        text = json.dumps(self.data) if self.text is None else self.text
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def check(self, full=False, cache=None, **use):
        """The findings, and what is known of the set."""
        wanted = dict(classes=NAMES, place='classes', masks=True, trains=True)
        found = Findings()
        cache = cache or Cache(self.root / 'cache.sqlite3')
        known = check_set(
            str(self.file), str(self.images), Use(**(wanted | use)), found, cache, full
        )
        return found, known
