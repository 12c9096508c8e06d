"""Every kind of trouble that is looked for: its outcome, its words and its cure."""

from .kinds_coco import COCO, Kind, error, warning

PICTURES = {
    'picture-missing': error(
        'pictures do not exist',
        'Training would end when it comes to one',
        'Copy them there, or correct the names or the image folder',
    ),
    'picture-empty': error(
        'pictures are files of no bytes',
        'Training would end when it comes to one',
        'Copy them anew, or take them out of the data',
    ),
    'picture-broken': error(
        'files are no pictures that can be read',
        'Training would end when it comes to one',
        'Copy or convert them anew, or take them out of the data',
    ),
    'picture-truncated': error(
        'pictures break off before their end',
        'What is missing would be grey, or training end when it comes to one',
        'Copy them anew, or take them out of the data',
    ),
    'picture-deep': error(
        'pictures have 16 bits and use a small part of them',
        'They would be read as black: reading keeps the upper 8 of 16 bits',
        'Scale them by their range to 8 bits, or to the full 16',
    ),
    'picture-16-bit': warning(
        'pictures have 16 bits',
        'The upper 8 of them are read',
        'Convert them yourself, if the lower ones matter',
    ),
    'picture-float': error(
        'pictures hold floating-point or 32-bit numbers',
        'They would be read as black, or not at all',
        'Scale them by their range to 8 bits a channel',
    ),
    'picture-cmyk': warning(
        'pictures are CMYK',
        'Their colours are converted without their profile',
        'Convert them to RGB, if colours matter',
    ),
    'picture-alpha': warning(
        'pictures have transparency',
        'It is dropped: what is transparent shows the colour beneath',
        'Put them on a background, if that is not meant',
    ),
    'picture-animated': warning(
        'pictures are animated',
        'Their first frame is read at most',
        'Save the frames that matter as pictures',
    ),
    'picture-thin': warning(
        'pictures are one pixel wide or high',
        'Nothing can be seen in them',
        'Take them out of the data',
    ),
    'picture-too-thin': error(
        'pictures are so thin that resizing leaves nothing of them',
        'Training would end when it comes to one',
        'Take them out of the data',
    ),
    'picture-large': warning(
        'pictures have more than 90 million pixels',
        'Each takes a second or more, and a gigabyte while it is resized',
        'Scale or cut them before',
    ),
    'picture-huge': error(
        'pictures are larger than can be read into the memory here',
        'Training would end when it comes to one',
        'Scale or cut them before',
    ),
}

LABEL_MAPS = {
    'map-none': error(
        'no file that ends with the suffix of the config',
        'There would be nothing to read',
        'Set img_suffix and seg_map_suffix of the dataset to what is there',
    ),
    'map-missing': error(
        'images have no label map',
        'Training would end when it comes to one',
        "Add the maps, or take the images away; a map has its image's name with "
        'seg_map_suffix in place of img_suffix',
    ),
    'map-extra': warning(
        'label maps have no image',
        'They take no part',
        'Add the images, or look whether img_suffix is right',
    ),
    'map-size': error(
        'label maps have another size than their image',
        'Training would end, or labels lie in the wrong place',
        'Make each map as large as its image, resized without interpolation',
    ),
    'map-colours': error(
        'label maps have several channels (colours), where one number a pixel is '
        'needed',
        'Training would end in a traceback',
        'Convert each colour to the number of its class, in a PNG of one channel; '
        '--data does so where the folder has a labelmap.txt (name:red,green,blue::)',
    ),
    'map-fractions': error(
        'label maps hold fractions',
        'They would be cut to whole numbers, for other classes',
        'Save the number of the class at each pixel, in a PNG of one channel',
    ),
    'map-palettes': error(
        'the palettes of the label maps differ, and give a colour several numbers',
        'A number would mean another class in each map',
        'Write the number of the class in place of the colour; --data does so where '
        'the folder has a labelmap.txt (name:red,green,blue::)',
    ),
    'map-palette': error(
        'label maps have a palette, and the pipeline reads them by cv2',
        'Colours would be read in place of numbers',
        "Read them with dict(type='LoadAnnotations') as it is, or with "
        "imdecode_backend='pillow'",
    ),
    'map-values': error(
        'label maps hold values that are no class',
        'Training would end in an IndexError, or on a GPU in a device-side assert',
        'Correct the numbers or the classes',
    ),
    'map-wide': error(
        'label maps hold values over 255',
        'They would be taken modulo 256, for other classes',
        'Number the classes from 0 to 254',
    ),
    'map-lossy': warning(
        'label maps are JPEG files',
        'Compression changes numbers at the edges of objects',
        'Save maps as PNG',
    ),
    'map-255': error(
        'the label maps hold 0 and 255 only, and 255 is ignored',
        'Nothing but the background would be learned',
        'Write 1 in place of 255',
    ),
    'map-too-many': error(
        'more than 255 classes',
        'Class 255 is what is ignored, and a map has 8 bits',
        'Join classes',
    ),
    'map-zero-lost': error(
        'reduce_zero_label takes 0 for a label to ignore, but 0 is a class here',
        'The first class would be lost and every other one be shifted',
        'Set reduce_zero_label=False of the dataset',
    ),
    'map-zero-doubt': warning(
        'reduce_zero_label ignores label 0, and no map holds the last class',
        'If 0 is a class, it is lost and every other one is shifted',
        'Set reduce_zero_label=False of the dataset, if your first class is 0',
    ),
    'map-class-empty': warning(
        'classes have no pixel',
        'They cannot be learned from it, or not be scored on it',
        'Add examples, or take them out of the classes',
    ),
}

FOLDERS = {
    'folder-none': error(
        'no folder of a class with pictures',
        'There would be nothing to read',
        'Put the pictures of each class in a folder of its own',
    ),
    'folder-count': error(
        'the folders are not as many as the classes',
        'Training would end in an AssertionError, or on labels that the model lacks',
        'Make folders, metainfo.classes and num_classes agree',
    ),
    'folder-empty': warning(
        'classes have no picture',
        'They cannot be learned from it, or not be scored on it',
        'Add pictures, or remove the folders and the classes',
    ),
    'folder-one-split': error(
        'classes are in one of the splits only',
        'Training and evaluation would give one number to different classes',
        'Make the same folders in both, empty ones where there are no pictures',
    ),
    'folder-stray': warning(
        'files are no pictures of a class',
        'They take no part',
        'Move them into the folder of their class, or away',
    ),
    'list-broken': error(
        'lines are not a file name and a class number',
        'Training would end in a ValueError',
        "Write 'folder/file.jpg 3' in each line",
    ),
    'list-label': error(
        'lines have a class number that is none of the classes',
        'Training would end in an IndexError, or on a GPU in a device-side assert',
        'Number the classes from 0',
    ),
    'twins': warning(
        'pictures are in the training and in the evaluation data, byte for byte',
        'The metric says too much of new pictures',
        'Take them out of one of both',
    ),
}

KINDS: dict[str, Kind] = {**COCO, **PICTURES, **LABEL_MAPS, **FOLDERS}
