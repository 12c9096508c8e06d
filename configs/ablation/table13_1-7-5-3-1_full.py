_base_ = 'table13_1-7-5-3-1_dw.py'

model = dict(backbone=dict(mix_conv='full'))
