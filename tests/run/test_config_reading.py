"""Does mmengine read and format once what it would again and again?"""

from mmengine.config import Config, utils
from mmengine.config import config as mmengine_config
from yapf.yapflib import yapf_api

from mmmsmlp.run import config as run_config
from mmmsmlp.run.config import load_config


def test_mmengine_reads_each_metafile_once():
    name = 'mask-rcnn_msmlp_t_1x'  # two of its bases are called mmdet::
    first = load_config(name)
    known = utils.load.cache_info()
    again = load_config(name)
    assert again.to_dict() == first.to_dict() and again.model.type == 'MaskRCNN'
    now = utils.load.cache_info()
    assert now.misses == known.misses and now.hits > known.hits + 50


def test_a_config_is_formatted_once_for_each_content(monkeypatch):
    made = []

    def counted(text, **style):
        made.append(text)
        return format_code(text, **style)

    format_code = yapf_api.FormatCode
    for module in (yapf_api, mmengine_config):
        if hasattr(module, 'FormatCode'):  # mmengine 0.10.7 has it by name
            kept = run_config._keeping(counted)
            monkeypatch.setattr(module, 'FormatCode', kept)
    cfg = Config(dict(model=dict(type='A', depth=2)))
    assert cfg.pretty_text == cfg.pretty_text and len(made) == 1
    cfg.model.depth = 3
    assert 'depth=3' in cfg.pretty_text and len(made) == 2
