"""Every kind of trouble that is looked for: its outcome, its words and its cure."""

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


_error, _repair, _warning = (
    partial(Kind, outcome) for outcome in ('error', 'repair', 'warning')
)
_AS_STORED = (
    "Read them as they are stored: dict(type='LoadImageFromFile', "
    "color_type='color_ignore_orientation') first in every pipeline"
)

COCO = {
    # The file and its tables.
    'json-broken': _error(
        'no JSON that can be read',
        'Training would end in a traceback of the JSON reader',
        'Correct that place, or export the file anew',
    ),
    'json-shape': _error(
        "lacks a list of COCO: 'images', 'annotations', or 'categories' with names",
        'Nothing could be read from it',
        'Give the annotations in the form of COCO (docs/data.md)',
    ),
    'json-bom': _repair(
        'starts with a byte order mark',
        'The JSON reader would refuse it',
        'It is left out of the copy that is read',
    ),
    'json-nan': _warning(
        'numbers are NaN or Infinity, which JSON does not have',
        'Other programs may refuse the file',
        'Boxes and areas that are no numbers are dealt with below',
    ),
    'info-missing': _repair(
        "has no 'info'",
        'Some versions of pycocotools end in a KeyError when they score',
        'An empty one is added to the copy that is read',
    ),
    'image-key': _error(
        'images that lack a value or have one of the wrong type',
        'Training would end in a KeyError or a TypeError',
        "Each of 'images' needs an 'id', a 'file_name' that is text, and 'width' and "
        "'height' that are numbers without quotes",
    ),
    'annotation-key': _error(
        'annotations that lack a value or have one of the wrong type',
        'Training would end in a KeyError or a TypeError',
        "Each of 'annotations' needs 'image_id', 'category_id' and a 'bbox' of four "
        'numbers [x, y, width, height], without quotes',
    ),
    'image-id-repeated': _error(
        'ids are used by more than one image',
        'All but the last image of an id would be lost, and its boxes be drawn on '
        'another one',
        "Give each of 'images' an id of its own",
    ),
    'file-repeated': _warning(
        'files are listed as more than one image',
        'They are trained on or scored more than once',
        'Remove what is listed twice, if that is not meant',
    ),
    'no-images': _error(
        "'images' is empty",
        'There would be nothing to read',
        'Export the file anew, with its images',
    ),
    'annotation-of-no-image': _warning(
        "annotations belong to images that 'images' does not list",
        'They take no part',
        'Add the images, or remove the annotations',
    ),
    'annotations-all-foreign': _error(
        "none of the annotations belongs to an image that 'images' lists",
        'Every image would count as empty',
        "Make 'image_id' the 'id' of an image: the same value of the same type",
    ),
    'category-unknown': _error(
        "annotations have a category_id that 'categories' does not list",
        'They would be left out in silence',
        'Add the category, or correct the number (of the same type, without quotes)',
    ),
    'annotation-ids': _repair(
        'annotation ids are 0, repeated or missing',
        'pycocotools takes an object of id 0 for one not found, and loses all but the '
        'last of one id',
        'They are numbered from 1 in the copy that is read; no result names them',
    ),
    'no-annotations': _error(
        'holds no annotations to score against',
        'Every metric would be -1',
        "To write predictions only, set test_evaluator's format_only=True and "
        'outfile_prefix=PATH; else name a file with annotations',
    ),
    'no-boxes': _error(
        'holds no box of any class',
        'There would be nothing to learn',
        'Compare the classes and the categories; name a file that has boxes',
    ),
    'all-crowd': _error(
        'all annotations have iscrowd 1',
        'None would be trained on, and none be scored',
        'Set iscrowd to 0: 1 is for groups that nobody told apart',
    ),
    'iscrowd-missing': _repair(
        "annotations have no 'iscrowd'",
        'Scoring would end in a KeyError after the first epoch',
        'It is 0 in the copy that is read: no object is a crowd',
    ),
    'area': _repair(
        "annotations have no 'area', or one that is no positive number",
        'Training would end in a KeyError, or leave them out in silence',
        "It is the mask's, or else width * height, in the copy that is read",
    ),
    # Classes.
    'class-missing': _error(
        'classes of the config have no category',
        'Labels would be shifted against the names',
        'Spell classes and categories alike, or correct metainfo.classes',
    ),
    'class-twins': _error(
        'names stand for several categories that all have boxes',
        'Labels beyond num_classes would be trained, and the AP be wrong',
        'Rename one of them, or give all its annotations the same category_id',
    ),
    'class-empty-twin': _repair(
        'names stand for several categories, of which one has boxes',
        'Labels would be shifted and lie beyond num_classes',
        'The categories without boxes are left out of the copy that is read',
    ),
    'class-order': _repair(
        'lists its categories in another order than the classes of the config',
        'Each class would be trained and drawn under the name of another',
        'They are put in the order of the classes in the copy that is read; ids stay',
    ),
    'class-empty': _warning(
        'classes have no box',
        'They cannot be learned from it, or not be scored on it',
        'Add examples, or take them out of the classes',
    ),
    'class-extra': _warning(
        'categories that have boxes are not among the classes',
        'Their boxes take no part, and their objects count as background',
        'Add them to metainfo.classes and to num_classes, if they are wanted',
    ),
    # Boxes.
    'box-empty': _repair(
        'boxes have no size, a negative one, none that is a number, or lie outside '
        'their image',
        'The loss could become NaN, and scoring would count them as objects not found',
        'They are left out of the copy that is read',
    ),
    'box-tiny': _warning(
        'boxes are less than one pixel wide or high',
        'Training leaves them out, and scoring counts them',
        'Remove them, if they are slips of the mouse',
    ),
    'box-overhangs': _warning(
        'boxes reach beyond their image by more than a pixel',
        'They are trained on and scored as they are',
        'Clip them, if that is not meant',
    ),
    'box-corners': _error(
        'boxes are [x1, y1, x2, y2]; COCO has [x, y, width, height]',
        'Every box would be too large and be wrong',
        'Write x2 - x1 and y2 - y1 in place of x2 and y2',
    ),
    'box-fractions': _error(
        'all boxes are fractions of the image; COCO has pixels',
        'Every box would be less than a pixel large and be left out',
        "Multiply x and width by the image's width, y and height by its height",
    ),
    # Masks.
    'mask-missing': _error(
        'annotations have no mask, and the model is trained or scored with masks',
        "Training would end in KeyError: 'mask'",
        'Draw them, remove those annotations, or take a box detector such as '
        'configs/retinanet_msmlp_t_1x.py',
    ),
    'mask-broken': _error(
        'masks are of no form that COCO has',
        'Training or scoring would end in a traceback',
        "'segmentation' is a list of polygons [x1, y1, x2, y2, ...] of three points or "
        "more, or a run-length code with 'size' [height, width] and 'counts'",
    ),
    'mask-size': _error(
        "run-length codes have another 'size' than their image",
        'Training would end in a traceback, or the mask be wrong',
        "Make 'size' [height, width] of the image, and draw the mask in it",
    ),
    'mask-pieces': _repair(
        'masks have pieces of less than three points or of an odd count of numbers',
        'pycocotools takes four numbers for a box when it scores',
        'Those pieces are left out of the copy that is read',
    ),
    'mask-flat': _repair(
        'masks are one list of numbers, where COCO has a list of polygons',
        'Training would end in a TypeError',
        'Each is one polygon in the copy that is read',
    ),
    # Images as the JSON has them.
    'size-missing': _repair(
        "images have no 'width' or 'height'",
        'Training would end in a KeyError',
        "They are the picture's in the copy that is read",
    ),
    'size-differs': _error(
        'pictures have another size than the file says',
        'Their boxes would lie in the wrong place',
        'Correct the boxes and sizes, or bring the pictures that were annotated',
    ),
    'size-rotated': _error(
        'pictures are turned by their EXIF orientation, the file has the size before',
        'Their boxes would lie in the wrong place',
        _AS_STORED,
    ),
    'turned-unclear': _warning(
        'pictures are turned by their EXIF orientation, and their size does not tell',
        'Boxes drawn on them as they are stored would lie in the wrong place',
        f'Look at some (--report). If so: {_AS_STORED}',
    ),
    'path-separators': _repair(
        'file names have the backslashes of Windows',
        'No such file would be found',
        'They are slashes in the copy that is read',
    ),
    'path-moved': _repair(
        'file names are paths of another place, or spelled as another system does',
        'No such file would be found',
        'They name the files under the image folder in the copy that is read',
    ),
    'score-file': _error(
        'does not list all images of the dataset, whose predictions it is to score',
        'Scoring would end in an AssertionError after the first epoch',
        "Set the evaluator's ann_file to the annotations of the dataset",
    ),
    'splits-share': _warning(
        'pictures are in the training and in the evaluation data',
        'The metric says nothing of new pictures',
        'Take them out of one of both, if that is not meant',
    ),
}

PICTURES = {
    'picture-missing': _error(
        'pictures do not exist',
        'Training would end when it comes to one',
        'Copy them there, or correct the names or the image folder',
    ),
    'picture-empty': _error(
        'pictures are files of no bytes',
        'Training would end when it comes to one',
        'Copy them anew, or take them out of the data',
    ),
    'picture-broken': _error(
        'files are no pictures that can be read',
        'Training would end when it comes to one',
        'Copy or convert them anew, or take them out of the data',
    ),
    'picture-truncated': _error(
        'pictures break off before their end',
        'What is missing would be grey, or training end when it comes to one',
        'Copy them anew, or take them out of the data',
    ),
    'picture-deep': _error(
        'pictures have 16 bits and use a small part of them',
        'They would be read as black: reading keeps the upper 8 of 16 bits',
        'Scale them by their range to 8 bits, or to the full 16',
    ),
    'picture-16-bit': _warning(
        'pictures have 16 bits',
        'The upper 8 of them are read',
        'Convert them yourself, if the lower ones matter',
    ),
    'picture-float': _error(
        'pictures hold floating-point or 32-bit numbers',
        'They would be read as black, or not at all',
        'Scale them by their range to 8 bits a channel',
    ),
    'picture-cmyk': _warning(
        'pictures are CMYK',
        'Their colours are converted without their profile',
        'Convert them to RGB, if colours matter',
    ),
    'picture-alpha': _warning(
        'pictures have transparency',
        'It is dropped: what is transparent shows the colour beneath',
        'Put them on a background, if that is not meant',
    ),
    'picture-animated': _warning(
        'pictures are animated',
        'Their first frame is read at most',
        'Save the frames that matter as pictures',
    ),
    'picture-thin': _warning(
        'pictures are one pixel wide or high',
        'Nothing can be seen in them',
        'Take them out of the data',
    ),
    'picture-too-thin': _error(
        'pictures are so thin that resizing leaves nothing of them',
        'Training would end when it comes to one',
        'Take them out of the data',
    ),
    'picture-large': _warning(
        'pictures have more than 90 million pixels',
        'Each takes a second or more, and a gigabyte while it is resized',
        'Scale or cut them before',
    ),
    'picture-huge': _error(
        'pictures are larger than can be read into the memory here',
        'Training would end when it comes to one',
        'Scale or cut them before',
    ),
}

LABEL_MAPS = {
    'map-none': _error(
        'no file that ends with the suffix of the config',
        'There would be nothing to read',
        'Set img_suffix and seg_map_suffix of the dataset to what is there',
    ),
    'map-missing': _error(
        'images have no label map',
        'Training would end when it comes to one',
        "Add the maps, or take the images away; a map has its image's name with "
        'seg_map_suffix in place of img_suffix',
    ),
    'map-extra': _warning(
        'label maps have no image',
        'They take no part',
        'Add the images, or look whether img_suffix is right',
    ),
    'map-size': _error(
        'label maps have another size than their image',
        'Training would end, or labels lie in the wrong place',
        'Make each map as large as its image, resized without interpolation',
    ),
    'map-colours': _error(
        'label maps have several channels (colours), where one number a pixel is '
        'needed',
        'Training would end in a traceback',
        'Convert each colour to the number of its class, in a PNG of one channel',
    ),
    'map-palette': _error(
        'label maps have a palette, and the pipeline reads them by cv2',
        'Colours would be read in place of numbers',
        "Read them with dict(type='LoadAnnotations') as it is, or with "
        "imdecode_backend='pillow'",
    ),
    'map-values': _error(
        'label maps hold values that are no class',
        'Training would end in an IndexError, or on a GPU in a device-side assert',
        'Correct the numbers or the classes',
    ),
    'map-wide': _error(
        'label maps hold values over 255',
        'They would be taken modulo 256, for other classes',
        'Number the classes from 0 to 254',
    ),
    'map-lossy': _warning(
        'label maps are JPEG files',
        'Compression changes numbers at the edges of objects',
        'Save maps as PNG',
    ),
    'map-255': _error(
        'the label maps hold 0 and 255 only, and 255 is ignored',
        'Nothing but the background would be learned',
        'Write 1 in place of 255',
    ),
    'map-too-many': _error(
        'more than 255 classes',
        'Class 255 is what is ignored, and a map has 8 bits',
        'Join classes',
    ),
    'map-zero-lost': _error(
        'reduce_zero_label takes 0 for a label to ignore, but 0 is a class here',
        'The first class would be lost and every other one be shifted',
        'Set reduce_zero_label=False of the dataset',
    ),
    'map-zero-doubt': _warning(
        'reduce_zero_label ignores label 0, and no map holds the last class',
        'If 0 is a class, it is lost and every other one is shifted',
        'Set reduce_zero_label=False of the dataset, if your first class is 0',
    ),
    'map-class-empty': _warning(
        'classes have no pixel',
        'They cannot be learned from it, or not be scored on it',
        'Add examples, or take them out of the classes',
    ),
}

FOLDERS = {
    'folder-none': _error(
        'no folder of a class with pictures',
        'There would be nothing to read',
        'Put the pictures of each class in a folder of its own',
    ),
    'folder-count': _error(
        'the folders are not as many as the classes',
        'Training would end in an AssertionError, or on labels that the model lacks',
        'Make folders, metainfo.classes and num_classes agree',
    ),
    'folder-empty': _warning(
        'classes have no picture',
        'They cannot be learned from it, or not be scored on it',
        'Add pictures, or remove the folders and the classes',
    ),
    'folder-one-split': _error(
        'classes are in one of the splits only',
        'Training and evaluation would give one number to different classes',
        'Make the same folders in both, empty ones where there are no pictures',
    ),
    'folder-stray': _warning(
        'files are no pictures of a class',
        'They take no part',
        'Move them into the folder of their class, or away',
    ),
    'list-broken': _error(
        'lines are not a file name and a class number',
        'Training would end in a ValueError',
        "Write 'folder/file.jpg 3' in each line",
    ),
    'list-label': _error(
        'lines have a class number that is none of the classes',
        'Training would end in an IndexError, or on a GPU in a device-side assert',
        'Number the classes from 0',
    ),
    'twins': _warning(
        'pictures are in the training and in the evaluation data, byte for byte',
        'The metric says too much of new pictures',
        'Take them out of one of both',
    ),
}

KINDS: dict[str, Kind] = {**COCO, **PICTURES, **LABEL_MAPS, **FOLDERS}
