"""The classifier of the hosts and hybrids: every token is normed, then averaged.

That is the order of the hosts' released code, whose classifiers convert to it.
"""

_base_ = './imagenet-classifier.py'

model = dict(
    backbone=dict(gap_before_final_norm=False),
    neck=dict(type='GlobalAveragePooling'),
)
