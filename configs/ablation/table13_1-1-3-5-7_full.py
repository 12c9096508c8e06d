_base_ = 'table13_1-1-3-5-7_dw.py'

model = dict(backbone=dict(mix_conv='full'))
