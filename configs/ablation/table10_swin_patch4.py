_base_ = '../swin_t_300e.py'
