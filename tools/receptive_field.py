#!/usr/bin/env python
"""Draw where backbones look: their effective receptive fields, stage by stage.

How much each pixel moves the token in the middle of a stage's map, averaged over images
(Luo et al., 2016), side by side; and for mix-shift backbones after how many blocks that
token depends on each of the map.

    python tools/receptive_field.py msmlp_t_300e swin_t_300e convnext_t
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

import torch
from mmcv import imread, imresize
from mmengine.registry import MODELS, init_default_scope
from PIL import Image
from torch import Tensor, nn

from benchmarks.models import ZOO
from mmmsmlp.errors import BadInput
from mmmsmlp.models import MSMLP
from mmmsmlp.run.config import building, load_config
from mmmsmlp.run.entry import positive, run_tool, writable
from mmmsmlp.run.weights import use_pretrained
from zoo import receptive

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
DARK, BRIGHT = '#0b0714', '#f2eff7'  # of the overview, read on a white page and a dark


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        'models', nargs='+', metavar='MODEL',
        help='a config, or one of ' + ', '.join(f'{key}_t' for key in ZOO),
    )  # fmt: skip
    add(
        '--weights', nargs='+', default=[], metavar='FILE',
        help="one a config, in order, as train.py's --pretrained; 'none' for random "
        'ones, whose layer scales are then taken as 1',
    )  # fmt: skip
    add('--labels', nargs='+', metavar='NAME', help='of the models, in the figures')
    add('--size', nargs=2, type=positive, default=(224, 224), metavar=('H', 'W'))
    add('--images', metavar='DIR', help='to average over; default: noise')
    add('--count', type=positive, default=16, help='of images; default %(default)s')
    add('--seed', type=int, default=0)
    add('--out-dir', default='outputs/receptive_field', metavar='DIR')
    return parser.parse_args()


def build(name: str, weights: str) -> nn.Module:
    """A model's backbone, all four stages of it, without its dropping of paths."""
    key, _, size = name.rpartition('_')
    torch.manual_seed(0)
    if key in ZOO and size in ZOO[key].sizes:
        if weights != 'none':
            raise BadInput(f'{name} is no config; --weights needs one for {weights}')
        if key == 'swin-torchvision':
            raise BadInput(f'{name} has one map, channels last; take swin_{size}')
        try:
            backbone = ZOO[key].build(size, 'NCHW')
        except ImportError as error:
            raise BadInput(f'{name} cannot be built: {error}') from error
    else:
        cfg = load_config(name)
        if not (cfg.get('model') or {}).get('backbone'):
            raise BadInput(f'config {name} has no model.backbone to look at')
        if weights != 'none':
            use_pretrained(cfg, weights)
        cfg.model.backbone.out_indices = (0, 1, 2, 3)
        cfg.model.backbone.pop('gap_before_final_norm', None)
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        with building(name):
            backbone = MODELS.build(cfg.model.backbone)
            backbone.init_weights()
    if weights == 'none':
        receptive.let_blocks_count(backbone)
    backbone.eval()  # which, of some toolboxes, returns nothing
    return backbone.requires_grad_(False)


def images(args: argparse.Namespace) -> list[Tensor]:
    """Pictures of the folder, resized and normalised, or noise."""
    if args.images is None:
        return receptive.noise(args.count, args.size, args.seed)
    height, width = args.size
    paths = sorted(p for p in Path(args.images).rglob('*') if p.is_file())
    pixels = (p for p in map(imread, map(str, paths)) if p is not None)
    found = [
        imresize(p, (width, height))[..., ::-1].copy()  # BGR as RGB
        for p in islice(pixels, args.count)
    ]
    if not found:
        raise BadInput(f'--images {args.images} holds no picture that can be read')
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return [((torch.from_numpy(p) - mean) / std).permute(2, 0, 1) for p in found]


def main() -> None:
    args = parse_args()
    writable('--out-dir', args.out_dir, folder=True)
    if len(args.weights) not in (0, len(args.models)):
        raise BadInput(
            f'--weights takes one for each of {len(args.models)} models, got '
            f"{len(args.weights)}; 'none' stands for random ones"
        )
    labels = args.labels or [Path(name).stem for name in args.models]
    if len(labels) != len(args.models):
        raise BadInput(
            f'--labels takes one for each of {len(args.models)} models, got '
            f'{len(labels)}'
        )
    if twice := [label for label, n in Counter(labels).items() if n > 1]:
        raise BadInput(
            f'two models are called {twice[0]}; tell them apart with --labels'
        )
    pictures = images(args)
    weights = args.weights or ['none'] * len(args.models)
    fields, reaches = {}, {}
    for name, file, label in zip(args.models, weights, labels, strict=True):
        backbone = build(name, file)
        fields[label] = receptive.effective_fields(backbone, pictures, args.seed)
        if isinstance(backbone, MSMLP):
            reaches[label] = receptive.reaches(backbone, args.size)
    folder = Path(args.out_dir)
    rows = receptive.fields_table(fields)
    (folder / 'receptive_field.json').write_text(json.dumps(rows, indent=1), 'utf-8')
    draw_fields(fields, folder / 'receptive_field.png')
    draw_overview(fields, folder / 'overview.png')
    if reaches:
        draw_reach(reaches, folder / 'reach.png')
    print(table(rows))
    print(f'drawn: {folder}')


def table(rows: Sequence[dict]) -> str:
    """Side in pixels, and share of the image, of the square that holds so much."""
    shares = [f'{100 * share:g}' for share in receptive.SHARES]
    width = max(len(row['model']) for row in rows)
    head = f'{"":{width}}  stage' + ''.join(f'{share + " %":>14}' for share in shares)
    lines = [head]
    for row in rows:
        cells = (f'{row[f"side_{s}"]} ({percent(row[f"area_{s}"])})' for s in shares)
        lines.append(
            f'{row["model"]:{width}}  {row["stage"]:5}'
            + ''.join(f'{cell:>14}' for cell in cells)
        )
    return '\n'.join(lines)


def percent(share: float) -> str:
    return f'{100 * share:{".1f" if share >= 0.01 else ".2g"}} %'


def draw_fields(fields: dict[str, list[receptive.Field]], path: Path) -> None:
    """A row a model, a column a stage; each field by its peak, dark to bright."""

    def panel(axis, field: receptive.Field) -> None:
        held = _show(axis, field)
        axis.set_xlabel(f'half of it in {held} of the image', fontsize=8)

    _draw(fields, panel, path, next(iter(fields.values()))[0].values.shape)


def draw_overview(fields: dict[str, list[receptive.Field]], path: Path) -> None:
    """The last stage but one of each model side by side, on a dark ground."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(
        1, len(fields), squeeze=False, figsize=(2.1 * len(fields), 2.7), facecolor=DARK
    )
    for axis, (label, stages) in zip(axes[0], fields.items(), strict=True):
        held = _show(axis, stages[-2:][0])
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_title(label, color=BRIGHT, fontsize=12)
        axis.set_xlabel(f'half of it in {held}', color=BRIGHT, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    with Image.open(path) as drawn:  # a sixth of the bytes, and nobody sees it
        few = drawn.convert('RGB').quantize(128, Image.Quantize.MAXCOVERAGE, dither=0)
    few.save(path, optimize=True)


def _show(axis, field: receptive.Field) -> str:
    """Draw a field by its peak; the share of the image that holds half of it."""
    from matplotlib.colors import PowerNorm

    values = field.values / field.values.max()
    axis.imshow(values, cmap='magma', norm=PowerNorm(0.35, 0, 1))
    return percent(receptive.area_that_holds(field, 0.5))


def draw_reach(reaches: dict[str, list[Tensor]], path: Path) -> None:
    """A row a model, a column a stage; a token's colour tells which block sees it."""

    def panel(axis, after: Tensor) -> None:
        blocks = int(after.max())
        shown = torch.where(after < 0, torch.nan, after.double())
        axis.imshow(shown, cmap='viridis_r', vmin=0, vmax=max(1, blocks))
        seen = (after >= 0).double().mean()
        axis.set_xlabel(f'{percent(float(seen))} after {blocks} blocks', fontsize=8)

    _draw(reaches, panel, path, next(iter(reaches.values()))[0].shape)


def _pyplot():
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    return pyplot


def _draw(rows: dict[str, list], panel, path: Path, size: Sequence[int]) -> None:
    pyplot = _pyplot()
    columns = max(map(len, rows.values()))
    extent = 2.6 * columns, (2.4 * size[0] / size[1] + 0.35) * len(rows)
    figure, axes = pyplot.subplots(len(rows), columns, squeeze=False, figsize=extent)
    for i, (label, items) in enumerate(rows.items()):
        axes[i][0].set_ylabel(label)
        for j, axis in enumerate(axes[i]):
            axis.set(xticks=[], yticks=[])
            axis.set_visible(j < len(items))
            if j < len(items):
                panel(axis, items[j])
            if i == 0:
                axis.set_title(f'stage {j + 1}', fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == '__main__':
    run_tool(main)
