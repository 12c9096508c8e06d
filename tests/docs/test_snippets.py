"""Does what the pages show run? Each block says where; commands and options exist.

In front of a block of shell or Python stands a comment:

- ``run by FILE``: that test reads the block from the page and runs it;
- ``in small: FILE ...``: those tests run the same on smaller things;
- ``not run: REASON``: it needs what is not there.
"""

import re
import shlex

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image
from torch import nn

import mmmsmlp
from tests.helpers.commands import ROOT, TOOLS
from tests.helpers.pages import PAGES, generated, snippets

LACKS = (
    'needs COCO', 'needs ImageNet', 'needs CamVid', 'needs a download', 'takes',
    'makes an environment', 'installs', 'the tools of the toolboxes',
)  # fmt: skip
WRITTEN = [block for page in PAGES if not generated(page) for block in snippets(page)]
CODE = [block for block in WRITTEN if block.language in ('bash', 'python')]
HERE = 'run by tests/docs/test_snippets.py'
# Whose arguments the launchers take.
BEHIND = {'dist_train': 'train', 'slurm_train': 'train', 'dist_test': 'test',
          'slurm_test': 'test'}  # fmt: skip


def ours(page: str, start: str) -> str:
    """The text of the block of a page that this file runs, by how it starts."""
    (found,) = (
        block.text
        for block in CODE
        if block.page == page and block.mark == HERE and block.text.startswith(start)
    )
    return found


@pytest.mark.parametrize('block', CODE, ids=lambda block: f'{block.page}:{block.line}')
def test_a_block_is_run_or_says_what_it_lacks(block):
    kind, _, rest = block.mark.partition(': ')
    if kind == 'not run':
        assert rest.startswith(LACKS), rest
    elif kind == 'in small':
        assert rest and all((ROOT / name).is_file() for name in rest.split())
    else:
        file = ROOT / block.mark.removeprefix('run by ')
        assert block.mark.startswith('run by ') and file.is_file(), (
            f'{block.page}:{block.line} has no comment that says who runs it; see '
            'tests/docs/test_snippets.py'
        )
        assert block.page.rpartition('/')[2] in file.read_text()


def commands(text: str):
    """(tool, its arguments) of every line that calls one of ours."""
    text = re.sub(r"(?s)python - <<'END'.*?\nEND\n", '', text.replace('\\\n', ' '))
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        for i, word in enumerate(words):
            name = re.fullmatch(r'tools/(\w+)\.(?:py|sh)', word)
            if name:
                yield name[1], _to_the_end(words[i + 1 :])
            elif word == '-m' and words[i + 1 : i + 2] == ['mmmsmlp']:
                yield words[i + 2].replace('-', '_'), _to_the_end(words[i + 3 :])


def _to_the_end(words: list[str]) -> list[str]:
    return words[: words.index('&&')] if '&&' in words else words


def options(run_tool, name: str) -> set[str]:
    """Every option that a tool, or the one that it launches, tells of."""
    name = BEHIND.get(name, name)
    if not (TOOLS / f'{name}.py').exists():
        return set(re.findall(r'--\w+', (TOOLS / f'{name}.sh').read_text()))
    code, out, err = run_tool(f'{name}.py', '--help')
    assert code == 0, err
    return {'--help', *re.findall(r'(?<![\w-])--[a-z][\w-]*', out)}


@pytest.mark.full
def test_every_command_of_the_pages_has_a_tool_and_its_options(run_tool):
    every = [block for page in PAGES for block in snippets(page)]
    seen = {}
    for block in every:
        if block.language != 'bash':
            continue
        place = f'{block.page}:{block.line}'
        for name, arguments in commands(block.text):
            file = TOOLS / f'{name}.py'
            assert file.exists() or file.with_suffix('.sh').exists(), place
            asked = {word for word in arguments if re.match(r'--[a-z]', word)}
            if asked:
                seen[name] = seen.get(name) or options(run_tool, name)
                assert asked <= seen[name], place
            for word in arguments:
                if word.startswith('configs/') and 'NAME' not in word:
                    assert (ROOT / word).is_file(), f'{place}: {word}'
    assert len(seen) > 8


def load(text: str, tmp_path) -> Config:
    """A config that stands in a page, beside ours or at the root of a checkout."""

    def found(match):
        places = (ROOT / match[1], ROOT / 'configs' / match[1])
        file = next((place for place in places if place.is_file()), None)
        return f"'{file}'" if file else match[0]

    head, end, rest = text.partition('\n')
    path = tmp_path / 'page.py'
    path.write_text(re.sub(r"'([\w./-]+\.py)'", found, head) + end + rest)
    return Config.fromfile(path)


@pytest.mark.full
def test_the_first_config_of_the_readme_is_a_detector(tmp_path):
    cfg = load(ours('README.md', '_base_'), tmp_path)
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model)
    assert isinstance(model.backbone, mmmsmlp.MSMLP)
    maps = model.extract_feat(torch.rand(1, 3, 64, 96))
    assert [m.shape[1:] for m in maps] == [
        (256, 16 // 2**k, 24 // 2**k) for k in range(4)
    ] + [(256, 1, 2)]


def test_the_config_by_hand_takes_the_authors_weights(tmp_path):
    model = load(ours('docs/configs.md', '_base_'), tmp_path).model
    init = model.backbone.pop('init_cfg')
    assert init == dict(type='Pretrained', checkpoint='msmlp_tiny.pth')
    net = MODELS.build(model.backbone)
    assert net.geometry.tolist()[1:] == [-2, -1, 0, 1, 2]
    widths = [m.shape[1] for m in net(torch.rand(1, 3, 32, 32))]
    assert widths == model.neck.in_channels
    assert model.roi_head.mask_head.type == 'FCNMaskHead'


def test_the_short_configs_load(tmp_path):
    sharded = load(ours('docs/memory.md', '_base_'), tmp_path)
    assert sharded.model.backbone.arch in ('b', 'base')
    assert 'FSDP' in sharded.strategy.type
    decayed = load(ours('docs/weights.md', '_base_'), tmp_path).optim_wrapper
    assert decayed.constructor == 'mmmsmlp.LayerDecayOptimWrapperConstructor'
    assert decayed.paramwise_cfg.layer_decay_rate == 0.8


def test_the_adapter_of_eight_lines_starts_as_the_layer_it_wraps():
    names = dict(nn=nn)
    exec(ours('docs/layers.md', 'class LoRALinear'), names)
    torch.manual_seed(0)
    net = mmmsmlp.MSMLP(arch=dict(embed_dims=20, depths=[1] * 4,
                                  mix_sizes=[[1, 1, 3, 5, 7]] * 4))  # fmt: skip
    net.eval()
    image = torch.rand(1, 3, 32, 32)
    before = net(image)
    for stage in net.stages:
        for block in stage.blocks:
            block.fc2 = names['LoRALinear'](block.fc2)
    for old, new in zip(before, net(image), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-5)
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    assert not any('fc2.base' in name for name in trained)
    assert any('fc2.down' in name for name in trained)


def test_camvid_becomes_what_the_config_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.array([[0, 10], [11, 3]], dtype=np.uint8)
    for split in ('train', 'val'):
        for folder, pixels in (
            (split, np.zeros((2, 2, 3), np.uint8)),
            (f'{split}annot', labels),
        ):
            (tmp_path / 'CamVid' / folder).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / 'CamVid' / folder / 'a.png')
    exec(ours('docs/segmentation.md', 'from pathlib'), {})
    made = tmp_path / 'data' / 'camvid'
    assert (made / 'images' / 'val' / 'a.jpg').is_file()
    kept = np.array(Image.open(made / 'annotations' / 'train' / 'a.png'))
    assert kept.tolist() == [[0, 10], [255, 3]]


@pytest.fixture
def at_the_run(trained, tiny_data, tmp_path, monkeypatch):
    """The words that the pages use, for a trained detector; a photo lies here."""
    monkeypatch.chdir(tmp_path)
    Image.open(tiny_data / 'images' / '1.png').save('photo.jpg')
    return dict(CONFIG=str(trained / 'tiny.py'), CHECKPOINT=f'{trained}/epoch_1.pth')


def test_detectors_in_python(at_the_run, tmp_path):
    text = ours('README.md', 'from mmdet').replace("'CHECKPOINT'", 'CHECKPOINT')
    exec(text, dict(at_the_run))
    assert (tmp_path / 'drawn' / 'vis' / 'photo.jpg').is_file()
    (tmp_path / 'drawn' / 'vis' / 'photo.jpg').unlink()
    exec(ours('docs/train_and_test.md', 'from mmdet'), dict(at_the_run))
    assert (tmp_path / 'drawn' / 'vis' / 'photo.jpg').is_file()
