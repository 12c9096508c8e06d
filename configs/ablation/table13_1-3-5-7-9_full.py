_base_ = 'table13_1-3-5-7-9_dw.py'

model = dict(backbone=dict(mix_conv='full'))
