"""ADE20K at 512x512 for 160,000 iterations."""

_base_ = ['./ade20k.py', './schedule_160k.py', './segmentation-runtime.py']
