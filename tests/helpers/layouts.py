"""A COCO set in the layouts that other tools export: a small writer for each."""

import json
import shutil
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from PIL import Image


def load(root, name):
    """The tables of a split, and its folder: ``annotations/NAME.json``, ``NAME/``."""
    data = json.loads((root / 'annotations' / f'{name}.json').read_text())
    return data, root / name


def read(source):
    """The tables of a COCO file that was prepared for a loop."""
    return json.loads(Path(source.labels).read_text())


def copy_images(data, source, target):
    target.mkdir(parents=True, exist_ok=True)
    for image in data['images']:
        shutil.copy(source / Path(image['file_name']).name, target)


def roboflow(root, out):
    """``train/_annotations.coco.json``; the project is a category of its own."""
    for split, theirs in (('train', 'train'), ('val', 'valid')):
        data, images = load(root, split)
        copy_images(data, images, out / theirs)
        for category in data['categories']:
            category['supercategory'] = 'shapes'
        project = dict(id=0, name='shapes', supercategory='none')
        data['categories'].insert(0, project)
        file = out / theirs / '_annotations.coco.json'
        file.write_text(json.dumps(data))


def coco(root, out):
    """COCO's own folders and names."""
    for split in ('train', 'val'):
        data, images = load(root, split)
        copy_images(data, images, out / f'{split}2017')
        (out / 'annotations').mkdir(exist_ok=True)
        file = out / 'annotations' / f'instances_{split}2017.json'
        file.write_text(json.dumps(data))


def one_file(root, out, file, folder, prefix=''):
    """One JSON and one folder; what else the tools leave out is left out."""
    data, images = load(root, 'train')
    copy_images(data, images, out / folder)
    for image in data['images']:
        image['file_name'] = prefix + image['file_name']
    (out / file).parent.mkdir(exist_ok=True)
    (out / file).write_text(json.dumps(data))


def cvat(root, out):
    one_file(root, out, 'annotations/instances_default.json', 'images')


def label_studio(root, out):
    one_file(root, out, 'result.json', 'images', 'images\\')


def labelme(root, out):
    one_file(root, out, 'annotations.json', 'JPEGImages', 'JPEGImages/')


def yolo(root, out, masks=False):
    """``images/train``, ``labels/train`` and ``data.yaml``; an empty image has none."""
    for split in ('train', 'val'):
        data, images = load(root, split)
        copy_images(data, images, out / 'images' / split)
        (out / 'labels' / split).mkdir(parents=True)
        sizes = {i['id']: (i['width'], i['height'], i['file_name'])
                 for i in data['images']}  # fmt: skip
        numbers = {c['id']: i for i, c in enumerate(data['categories'])}
        for row in data['annotations']:
            width, height, name = sizes[row['image_id']]
            x, y, w, h = row['bbox']
            values = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
            if masks and isinstance(row['segmentation'], list):
                flat = row['segmentation'][0]
                values = [v / (height if i % 2 else width) for i, v in enumerate(flat)]
            text = ' '.join(f'{value:.6f}' for value in values)
            with open(out / 'labels' / split / f'{Path(name).stem}.txt', 'a') as file:
                file.write(f'{numbers[row["category_id"]]} {text}\n')
    names = [category['name'] for category in data['categories']]
    lines = [f'  {number}: {name}' for number, name in enumerate(names)]
    text = '\n'.join(['path: .', 'train: images/train', 'val: images/val', 'names:'])
    (out / 'data.yaml').write_text('\n'.join([text, *lines]) + '\n')


def voc(root, out):
    """``Annotations``, ``JPEGImages`` and ``ImageSets/Main``, pixels from 1."""
    (out / 'Annotations').mkdir(parents=True)
    (out / 'ImageSets' / 'Main').mkdir(parents=True)
    for split in ('train', 'val'):
        data, images = load(root, split)
        stems = []
        names = {c['id']: c['name'] for c in data['categories']}
        (out / 'JPEGImages').mkdir(exist_ok=True)
        for image in data['images']:
            stem = f'{split}_{Path(image["file_name"]).stem}'
            stems.append(stem)
            shutil.copy(images / image['file_name'], out / 'JPEGImages' / f'{stem}.jpg')
            tree = Element('annotation')
            SubElement(tree, 'filename').text = f'{stem}.jpg'
            size = SubElement(tree, 'size')
            for key in ('width', 'height'):
                SubElement(size, key).text = str(image[key])
            for row in data['annotations']:
                if row['image_id'] != image['id']:
                    continue
                entry = SubElement(tree, 'object')
                SubElement(entry, 'name').text = names[row['category_id']]
                SubElement(entry, 'difficult').text = '0'
                box = SubElement(entry, 'bndbox')
                x, y, w, h = map(round, row['bbox'])
                corners = dict(xmin=x + 1, ymin=y + 1, xmax=x + w, ymax=y + h)
                for key, value in corners.items():
                    SubElement(box, key).text = str(value)
            (out / 'Annotations' / f'{stem}.xml').write_bytes(tostring(tree))
        (out / 'ImageSets' / 'Main' / f'{split}.txt').write_text('\n'.join(stems))


def maps(root, out, images, labels, splits=(('train', 'train'), ('val', 'val'))):
    """Images and label maps in folders, as ``images`` and ``labels`` name them."""
    for split, theirs in splits:
        for source, target in (
            (root / split, images),
            (root / 'semantic' / split, labels),
        ):
            shutil.copytree(source, out / target.format(theirs))


def mmseg(root, out):
    maps(root, out, 'img_dir/{}', 'ann_dir/{}')


def ade(root, out):
    names = (('train', 'training'), ('val', 'validation'))
    maps(root, out, 'images/{}', 'annotations/{}', names)


def class_folders(root, out, splits=('train', 'val')):
    """The largest shape of each image, cut out, in the folder of its class."""
    for split in splits:
        data, images = load(root, split)
        names = {c['id']: c['name'] for c in data['categories']}
        for row in data['annotations']:
            image = data['images'][row['image_id'] - 1]
            x, y, w, h = map(round, row['bbox'])
            folder = out / split / names[row['category_id']]
            folder.mkdir(parents=True, exist_ok=True)
            picture = Image.open(images / image['file_name'])
            picture.crop((x, y, x + w, y + h)).save(folder / f'{row["id"]}.png')


BOXES = dict(coco=coco, roboflow=roboflow, cvat=cvat, label_studio=label_studio,
             labelme=labelme, yolo=yolo, voc=voc)  # fmt: skip


def draw_classes(root, *folders, ending='png'):
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for i in range(3):
            Image.new('RGB', (4, 4)).save(root / folder / f'{i}.{ending}')
