"""COCO 2017 boxes at 1333x800 for 12 epochs."""

_base_ = ['mmdet::_base_/datasets/coco_detection.py', './schedule_1x.py']
