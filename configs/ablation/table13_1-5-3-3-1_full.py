_base_ = 'table13_1-5-3-3-1_dw.py'

model = dict(backbone=dict(mix_conv='full'))
