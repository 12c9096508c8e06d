"""COCO 2017 boxes and masks at 1333x800 for 12 epochs."""

_base_ = ['mmdet::_base_/datasets/coco_instance.py', './schedule_1x.py']
