_base_ = '../msmlp-swin_t_300e.py'
