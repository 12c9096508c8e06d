"""Is the demo dataset valid COCO, the same each time, and never half there?"""

import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from mmmsmlp.demo import CLASSES, DemoDataError, dataset, make_demo_data

pytestmark = pytest.mark.full

COUNTS = {'train': 60, 'val': 20}
SMALL, LARGE = 32**2, 96**2


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp('demo') / 'shapes'
    assert make_demo_data(out, **COUNTS, seed=3, semantic=True)
    return out


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def load(made, split):
    return COCO(made / 'annotations' / f'{split}.json')


@pytest.mark.parametrize('split', ['train', 'val'])
def test_boxes_areas_and_maps_agree_with_the_polygons(made, split):
    coco = load(made, split)
    assert len(coco.imgs) == COUNTS[split]
    for image in coco.imgs.values():
        stem = image['file_name'].removesuffix('.jpg')
        pixels = cv2.imread(str(made / split / image['file_name']))
        assert pixels.shape == (image['height'], image['width'], 3)
        labels = cv2.imread(
            str(made / 'semantic' / split / f'{stem}.png'), cv2.IMREAD_UNCHANGED
        )
        drawn = np.zeros_like(labels)
        assert coco.imgToAnns[image['id']]
        for annotation in coco.imgToAnns[image['id']]:
            mask = coco.annToMask(annotation).astype(bool)
            drawn[mask] = annotation['category_id']
            rows, columns = np.nonzero(mask)
            left, top, width, height = annotation['bbox']
            assert columns.min() == pytest.approx(left, abs=1)
            assert rows.min() == pytest.approx(top, abs=1)
            assert columns.max() + 1 == pytest.approx(left + width, abs=1)
            assert rows.max() + 1 == pytest.approx(top + height, abs=1)
            assert annotation['area'] == pytest.approx(mask.sum(), rel=0.1)
            assert annotation['iscrowd'] == 0
        # Category ids count from 1, so that 0 is the background on the maps.
        assert (drawn == labels).mean() > 0.995


def test_classes_and_sizes_are_spread(made):
    coco = load(made, 'train')
    assert tuple(c['name'] for c in coco.loadCats(coco.getCatIds())) == CLASSES
    annotations = list(coco.anns.values())
    ids = [annotation['category_id'] for annotation in annotations]
    shares = np.bincount(ids, minlength=5)[1:] / len(ids)
    assert shares.sum() == pytest.approx(1)
    assert shares.min() > 0.15 and shares.max() < 0.35
    areas = np.array([annotation['area'] for annotation in annotations])
    assert 0.3 < np.mean(areas < SMALL) < 0.7
    assert 0.25 < np.mean((areas >= SMALL) & (areas < LARGE)) < 0.6
    assert (areas >= LARGE).any()


def test_same_seed_same_bytes(made, tmp_path):
    again = tmp_path / 'again'
    make_demo_data(again, **COUNTS, seed=3, semantic=True)
    assert contents(again) == contents(made)


def test_a_longer_split_starts_alike_and_a_seed_changes_all(tmp_path):
    few, more, other = (tmp_path / name for name in ('few', 'more', 'other'))
    make_demo_data(few, train=2, val=2, seed=3)
    make_demo_data(more, train=3, val=1, seed=3)
    make_demo_data(other, train=2, val=2, seed=4)
    images = [contents(few / 'train'), contents(more / 'train')]
    assert images[0].items() < images[1].items()
    assert not set(contents(few / 'train').values()) & {
        *contents(few / 'val').values(),
        *contents(other / 'train').values(),
    }
    assert not (few / 'semantic').exists()


def test_complete_data_is_left_alone(tmp_path):
    out = tmp_path / 'data' / 'demo'
    assert make_demo_data(out, train=2, val=1)
    times = {path: path.stat().st_mtime_ns for path in out.rglob('*')}
    assert not make_demo_data(out, train=2, val=1)
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob('*')}
    meta = json.loads((out / 'meta.json').read_text())
    assert (meta['seed'], meta['version']) == (0, dataset.VERSION)
    assert meta['images'] == {'train': 2, 'val': 1}


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    write = dataset._write_split

    def stop_at_val(root, split, meta):
        if split == 'val':
            raise KeyboardInterrupt
        write(root, split, meta)

    monkeypatch.setattr(dataset, '_write_split', stop_at_val)
    with pytest.raises(KeyboardInterrupt):
        make_demo_data(tmp_path / 'demo', train=1, val=1)
    assert not list(tmp_path.iterdir())


def test_other_contents_are_refused_and_kept(tmp_path):
    out = tmp_path / 'demo'
    out.mkdir()
    (out / 'thesis.txt').write_text('mine')
    with pytest.raises(DemoDataError, match='demo exists and is no demo dataset'):
        make_demo_data(out, train=1, val=1)
    assert contents(tmp_path) == {'demo/thesis.txt': b'mine'}


def test_other_settings_and_missing_files_are_refused(tmp_path):
    out = tmp_path / 'demo'
    out.mkdir()  # an empty folder is as good as none
    assert make_demo_data(out, train=1, val=1)
    with pytest.raises(DemoDataError, match='other settings .*delete it'):
        make_demo_data(out, train=1, val=1, seed=1)
    (out / 'val' / '00000.jpg').unlink()
    with pytest.raises(DemoDataError, match='lacks files'):
        make_demo_data(out, train=1, val=1)


@pytest.mark.parametrize(
    ('argument', 'value', 'least'),
    [('train', 0, 1), ('val', -1, 1), ('size', 63, 64), ('seed', -1, 0)],
)
def test_arguments_out_of_range(tmp_path, argument, value, least):
    with pytest.raises(DemoDataError, match=f'{argument} is {value}; give {least}'):
        make_demo_data(tmp_path / 'demo', **{argument: value})
    assert not list(tmp_path.iterdir())
