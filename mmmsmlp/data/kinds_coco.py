"""What a kind of trouble is, and every kind that a COCO file can have."""

from functools import partial
from typing import NamedTuple


class Kind(NamedTuple):
    """What a kind of finding says: file, ``what``, a count, and so on.

    Of a repair, ``consequence`` is what would happen without it, ``cure`` what is done.
    """

    outcome: str
    what: str
    consequence: str
    cure: str


error, repair, warning = (
    partial(Kind, outcome) for outcome in ('error', 'repair', 'warning')
)
_AS_STORED = (
    "Read them as they are stored: dict(type='LoadImageFromFile', "
    "color_type='color_ignore_orientation') first in every pipeline"
)

UPRIGHT = (
    'Save them upright and without the tag: this format is turned always (TIFF) or '
    'never (WebP, AVIF) when it is read'
)
LOOK = 'Look at some (--report). If so'

COCO = {
    # The file and its tables.
    'json-broken': error(
        'no JSON that can be read',
        'Training would end in a traceback of the JSON reader',
        'Correct that place, or export the file anew',
    ),
    'json-shape': error(
        "lacks a list of COCO: 'images', 'annotations', or 'categories' with names",
        'Nothing could be read from it',
        'Give the annotations in the form of COCO (docs/data.md)',
    ),
    'json-bom': repair(
        'starts with a byte order mark',
        'The JSON reader would refuse it',
        'It is left out of the copy that is read',
    ),
    'json-nan': warning(
        'numbers are NaN or Infinity, which JSON does not have',
        'Other programs may refuse the file',
        'Boxes and areas that are no numbers are dealt with below',
    ),
    'info-missing': repair(
        "has no 'info'",
        'Some versions of pycocotools end in a KeyError when they score',
        'An empty one is added to the copy that is read',
    ),
    'image-key': error(
        'images that lack a value or have one of the wrong type',
        'Training would end in a KeyError or a TypeError',
        "Each of 'images' needs an 'id', a 'file_name' that is text, and 'width' and "
        "'height' that are numbers without quotes",
    ),
    'annotation-key': error(
        'annotations that lack a value or have one of the wrong type',
        'Training would end in a KeyError or a TypeError',
        "Each of 'annotations' needs 'image_id', 'category_id' and a 'bbox' of four "
        'numbers [x, y, width, height], without quotes',
    ),
    'image-id-repeated': error(
        'ids are used by more than one image',
        'All but the last image of an id would be lost, and its boxes be drawn on '
        'another one',
        "Give each of 'images' an id of its own",
    ),
    'file-repeated': warning(
        'files are listed as more than one image',
        'They are trained on or scored more than once',
        'Remove what is listed twice, if that is not meant',
    ),
    'no-images': error(
        "'images' is empty",
        'There would be nothing to read',
        'Export the file anew, with its images',
    ),
    'annotation-of-no-image': warning(
        "annotations belong to images that 'images' does not list",
        'They take no part',
        'Add the images, or remove the annotations',
    ),
    'annotations-all-foreign': error(
        "none of the annotations belongs to an image that 'images' lists",
        'Every image would count as empty',
        "Make 'image_id' the 'id' of an image: the same value of the same type",
    ),
    'category-unknown': error(
        "annotations have a category_id that 'categories' does not list",
        'They would be left out in silence',
        'Add the category, or correct the number (of the same type, without quotes)',
    ),
    'annotation-ids': repair(
        'annotation ids are 0, repeated or missing',
        'pycocotools takes an object of id 0 for one not found, and loses all but the '
        'last of one id',
        'They are numbered from 1 in the copy that is read; no result names them',
    ),
    'no-annotations': error(
        'holds no annotations to score against',
        'Every metric would be -1',
        "To write predictions only, set test_evaluator's format_only=True and "
        'outfile_prefix=PATH; else name a file with annotations',
    ),
    'no-boxes': error(
        'holds no box of any class',
        'There would be nothing to learn',
        'Compare the classes and the categories; name a file that has boxes',
    ),
    'all-crowd': error(
        'all annotations have iscrowd 1',
        'None would be trained on, and none be scored',
        'Set iscrowd to 0: 1 is for groups that nobody told apart',
    ),
    'all-ignored': error(
        "all annotations have 'ignore' 1",
        'None would be trained on, and all be scored',
        "Take 'ignore' away, or set iscrowd to 1 where objects are not told apart",
    ),
    'ignored': warning(
        "annotations have 'ignore' 1",
        'Training leaves them out, and scoring counts them as objects to be found',
        "Set iscrowd to 1 for those that are not to be scored, or take 'ignore' away",
    ),
    'iscrowd-missing': repair(
        "annotations have no 'iscrowd'",
        'Scoring would end in a KeyError after the first epoch',
        'It is 0 in the copy that is read: no object is a crowd',
    ),
    'area': repair(
        "annotations have no 'area', or one that is no positive number",
        'Training would end in a KeyError, or leave them out in silence',
        "It is the mask's, or else width * height, in the copy that is read",
    ),
    # Classes.
    'class-missing': error(
        'classes of the config have no category',
        'Labels would be shifted against the names',
        'Spell classes and categories alike, or correct metainfo.classes',
    ),
    'class-twins': error(
        'names stand for several categories that all have boxes',
        'Labels beyond num_classes would be trained, and the AP be wrong',
        'Rename one of them, or give all its annotations the same category_id',
    ),
    'class-empty-twin': repair(
        'names stand for several categories, of which one has boxes',
        'Labels would be shifted and lie beyond num_classes',
        'The categories without boxes are left out of the copy that is read',
    ),
    'class-order': repair(
        'lists its categories in another order than the classes of the config',
        'Each class would be trained and drawn under the name of another',
        'They are put in the order of the classes in the copy that is read; ids stay',
    ),
    'class-empty': warning(
        'classes have no box',
        'They cannot be learned from it, or not be scored on it',
        'Add examples, or take them out of the classes',
    ),
    'class-extra': warning(
        'categories that have boxes are not among the classes',
        'Their boxes take no part, and their objects count as background',
        'Add them to metainfo.classes and to num_classes, if they are wanted',
    ),
    # Boxes.
    'box-empty': repair(
        'boxes have no size, a negative one, none that is a number, or lie outside '
        'their image',
        'The loss could become NaN, and scoring would count them as objects not found',
        'They are left out of the copy that is read',
    ),
    'box-of-mask': repair(
        'boxes are missing or have no size, and their masks have one',
        'Training would end in a KeyError, or leave the objects out',
        'They are the bounds of the masks in the copy that is read',
    ),
    'box-tiny': warning(
        'boxes are less than one pixel wide or high',
        'Training leaves them out, and scoring counts them',
        'Remove them, if they are slips of the mouse',
    ),
    'box-overhangs': warning(
        'boxes reach beyond their image by more than a pixel',
        'They are trained on and scored as they are',
        'Clip them, if that is not meant',
    ),
    'box-corners': error(
        'boxes are [x1, y1, x2, y2]; COCO has [x, y, width, height]',
        'Every box would be too large and be wrong',
        'Write x2 - x1 and y2 - y1 in place of x2 and y2',
    ),
    'box-fractions': error(
        'all boxes are fractions of the image; COCO has pixels',
        'Every box would be less than a pixel large and be left out',
        "Multiply x and width by the image's width, y and height by its height",
    ),
    'annotation-twins': repair(
        'annotations repeat another one: image, category, box and mask are the same',
        'Every object would be trained on twice, and be found once at most when scored',
        'Those after the first are left out of the copy that is read',
    ),
    'twins-few': warning(
        'annotations repeat another one: image, category, box and mask are the same',
        'So few are taken as they are, for published scores count them',
        'Remove them, if the data are your own',
    ),
    # Masks.
    'mask-missing': error(
        'annotations have no mask, and the model is trained or scored with masks',
        "Training would end in KeyError: 'mask'",
        'Draw them, remove those annotations, or take a box detector such as '
        'configs/retinanet_msmlp_t_1x.py',
    ),
    'mask-broken': error(
        'masks are of no form that COCO has',
        'Training or scoring would end in a traceback',
        "'segmentation' is a list of polygons [x1, y1, x2, y2, ...] of three points or "
        "more, or a run-length code with 'size' [height, width] and 'counts'",
    ),
    'masks-miss': error(
        'masks lie outside their boxes',
        'They would be learned empty, or of another place',
        "Draw both in the pixels of the image: 'bbox' is [x, y, width, height], and "
        'polygons are [x1, y1, x2, y2, ...]',
    ),
    'mask-misses': warning(
        'masks lie outside their boxes',
        'They are learned empty, or of another place',
        'Correct the box or the mask',
    ),
    'mask-size': error(
        "run-length codes have another 'size' than their image",
        'Training would end in a traceback, or the mask be wrong',
        "Make 'size' [height, width] of the image, and draw the mask in it",
    ),
    'mask-pieces': repair(
        'masks have pieces of less than three points or of an odd count of numbers',
        'pycocotools takes four numbers for a box when it scores',
        'Those pieces are left out of the copy that is read',
    ),
    'mask-flat': repair(
        'masks are one list of numbers, where COCO has a list of polygons',
        'Training would end in a TypeError',
        'Each is one polygon in the copy that is read',
    ),
    # Images as the JSON has them.
    'size-missing': repair(
        "images have no 'width' or 'height'",
        'Training would end in a KeyError',
        "They are the picture's in the copy that is read",
    ),
    'size-differs': error(
        'pictures have another size than the file says',
        'Their boxes would lie in the wrong place',
        'Correct the boxes and sizes, or bring the pictures that were annotated',
    ),
    'size-rotated': error(
        'pictures are turned by their EXIF orientation, the file has the size before',
        'Their boxes would lie in the wrong place',
        _AS_STORED,
    ),
    'size-unturned': error(
        'pictures are read without their EXIF orientation, the file has the size once '
        'turned by it',
        'Their boxes would lie in the wrong place',
        "Save them turned (Pillow's ImageOps.exif_transpose), or read JPEG and "
        'PNG without color_ignore_orientation',
    ),
    'turned-unclear': warning(
        'pictures have an EXIF orientation, and their size does not tell whether the '
        'boxes follow it',
        'Boxes drawn on them the other way would lie in the wrong place',
        f'{LOOK}: {_AS_STORED}',
    ),
    'path-separators': repair(
        'file names have the backslashes of Windows',
        'No such file would be found',
        'They are slashes in the copy that is read',
    ),
    'path-moved': repair(
        'file names are paths of another place, or spelled as another system does',
        'No such file would be found',
        'They name the files under the image folder in the copy that is read',
    ),
    'score-file': error(
        'does not list all images of the dataset, whose predictions it is to score',
        'Scoring would end in an AssertionError after the first epoch',
        "Set the evaluator's ann_file to the annotations of the dataset",
    ),
    'splits-share': warning(
        'pictures are in the training and in the evaluation data',
        'The metric says nothing of new pictures',
        'Take them out of one of both, if that is not meant',
    ),
}
