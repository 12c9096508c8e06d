"""The page of heads: which configs of the toolboxes take our backbones."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

INTRODUCTION = """\
# Any head of the toolboxes

The first command writes a config with the head as it was and a backbone of ours, and
prints what it changed; the second trains it, like any other config:

```bash
python -m mmmsmlp swap mmdet::atss/atss_r50_fpn_1x_coco.py --recipe --out my.py
python -m mmmsmlp train my.py --pretrained msmlp_t.pth
```

```python
cfg = mmmsmlp.with_backbone('mmseg::pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512.py')
```

The config may be a file, or a name of mmdet's, mmseg's or mmpretrain's own. `--recipe`
takes AdamW in place of the config's SGD; without it the optimizer stays. `--backbone
MSMLPSwin --arch small` is another one, `--backbone-options with_cp=True` an argument of
it; `--data PATH` of `train` ([data.md](data.md)) brings data of your own.

A table of families would age; the swap measures. It runs the old backbone on noise for
its widths and strides, puts a stand-in in its place, and trains steps on noise. Outputs
that the loss does not depend on are left out, so that no parameter is unused; of the
config's numbers those change without which a layer fails. The last step is one with
the new backbone. What it cannot fit it refuses in a sentence.

Beside the numbers change: weights of the old backbone (dropped, with a note),
`frozen_stages` (kept where `init_cfg` gives weights to freeze), mean and deviation of
the pixels, weight decay off norms, biases and `gamma`, multipliers by names that are no
more, layer-wise decay (ours), and with `--recipe` the paper's AdamW and drop path.

Outputs whose stride no stage has (U-Net's, 1 and 2) take the last stages in their
order; of one stride they share a stage, where the consumers count by index. Both are
noted, and so is a backbone of fewer than four stages.

This page is written by `python tools/plugin_matrix.py RESULTS --trained ROWS --page
docs/heads.md`. In the tables of families, each folder of the installed toolboxes stands
by one or two of its configs, the lightest; what is not listed was not run. Each ran in
a process of its own, on a CPU: as it is, then swapped (MS-MLP-T): a step of training
with backward, in which each parameter of the backbone must get a finite gradient (where
`find_unused_parameters` is set: each that is used), a prediction, and one on an odd
size. "Its own" says that the original trains no step here either.
"""
TRAINED = """\
## Trained on the demo shapes

Do they learn? Swapped configs with an MS-MLP of 40 channels from random weights, some
steps of two 192x192 pictures (AdamW, 5e-4), evaluated halfway and at the end on the 16
pictures that they train on: learned by heart, which says nothing of new pictures.
Measured on one core, shared with other jobs, of an AMD EPYC with AVX-512, torch 2.11.0:

```bash
python tools/make_demo_data.py work_dirs/demo_16 --train 16 --val 1 --semantic
python tools/learn_heads.py work_dirs/heads.jsonl mmdet::atss/atss_r50_fpn_1x_coco.py
```

Rows of 400 steps are of `--steps 400`. RTMDet's loss starts near zero and rises
while its AP does. DINO and Mask2Former
train on two gloo processes, too, where `find_unused_parameters=False` allows no idle
parameter (not with `TORCH_DISTRIBUTED_DEBUG=DETAIL`, under which torch 2.11 ends in
signal 11).
"""
OWN = 'whatever its backbone'  # as the swap says it
LABELS = {'mmdet': 'Detection', 'mmseg': 'Segmentation', 'mmpretrain': 'Classification'}


def page(rows: Sequence[dict[str, Any]], trained: Sequence[dict[str, Any]]) -> str:
    """The page's text, from the rows of the matrix and of learn_heads.py."""
    main = [row for row in rows if row['backbone'] == 'MSMLP']
    parts = [INTRODUCTION]
    if trained:
        parts.append(f'{TRAINED}\n{_trained(trained)}')
    for toolbox, label in LABELS.items():
        ours = sorted(
            (row for row in main if row['family'].startswith(f'{toolbox}/')),
            key=lambda row: row['config'],
        )
        if ours:
            parts.append(f'## {label}: {toolbox}\n\n{_summary(ours)}\n\n{_table(ours)}')
    others = [row for row in rows if row['backbone'] != 'MSMLP']
    if others:
        parts.append(f'## The other backbones\n\n{_others(others)}')
    return '\n'.join(parts)


def _counts(rows: Sequence[dict[str, Any]]) -> tuple[int, int, int]:
    works = sum(row['swapped'] == 'ok' for row in rows)
    own = sum(row['swapped'] != 'ok' and bool(row.get('original')) for row in rows)
    return works, own, len(rows) - works - own


def _summary(rows: Sequence[dict[str, Any]]) -> str:
    works, own, rest = _counts(rows)
    return (
        f'{works} of {len(rows)} work; of {own} others the original fails here, too, '
        f'and {rest} are refused or fail.'
    )


def _table(rows: Iterable[dict[str, Any]]) -> str:
    lines = [
        '| config | original | swapped | what changed, or why not |',
        '|---|---|---|---|',
    ]
    for row in rows:
        original = 'fails' if row.get('original') else 'ok'
        if 'original' not in row:
            original = '-'
        name = row['config'].partition('::')[2].removesuffix('.py')
        lines.append(f'| {name} | {original} | {row["swapped"]} | {_what(row)} |')
    return '\n'.join(lines) + '\n'


def _what(row: dict[str, Any]) -> str:
    if row['swapped'] != 'ok':
        own = 'its own: ' if OWN in row['why'] else ''
        why = re.sub(r'\S*/site-packages/', '', row['why'])
        return own + ' '.join(why.replace('|', '/').split())[:300]
    numbers = [
        line.removeprefix('model.')
        for line in row['changed']
        if not line.startswith('model.backbone.')
        or 'channels' in line
        or ('out_indices' in line and '3' not in line)
    ]
    return ', '.join(f'`{line}`' for line in numbers) or 'the backbone alone'


def _trained(rows: Iterable[dict[str, Any]]) -> str:
    lines = [
        '| config | steps | loss, first and last | metric | halfway | end | seconds |',
        '|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        name = row['trained'].removesuffix('.py')
        (first, last), metric = row['loss'], row['metric'].removeprefix('coco/')
        values = ' | '.join(f'{value:.3g}' for value in row['values'])
        lines.append(
            f'| {name} | {row["steps"]} | {first:.2f}, {last:.2f} | {metric} '
            f'| {values} | {row["seconds"]} |'
        )
    return '\n'.join(lines) + '\n'


def _others(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        '| backbone | tried | work | the original fails, too | refused or fail |',
        '|---|---|---|---|---|',
    ]
    for backbone in dict.fromkeys(row['backbone'] for row in rows):
        mine = [row for row in rows if row['backbone'] == backbone]
        counts = ' | '.join(map(str, _counts(mine)))
        lines.append(f'| {backbone} | {len(mine)} | {counts} |')
    return '\n'.join(lines) + '\n'
