"""Compute MS-MLP's golden files anew from the authors' code, and compare.

    python tests/helpers/make_goldens.py ms_mlp.py [--write FOLDER]

``ms_mlp.py`` is models/ms_mlp.py of https://github.com/JegZheng/MS-MLP, which imports
timm; nothing of it is kept here. Seeds, sizes and architectures are read from the
stored files, everything else is computed. Prints the largest relative difference from
each; --write puts new files into a folder.
"""

import argparse
import importlib.util
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

GOLDENS = Path(__file__).parents[1] / 'data' / 'golden'
ARCH = ('embed_dim', 'depths', 'mix_size', 'patch_size', 'num_classes')
GIVEN = (*ARCH, 'model', 'seed', 'input_seed', 'input_shape', 'shift_dist', 'order')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('source', type=Path, help="the authors' ms_mlp.py")
    parser.add_argument('--write', type=Path, metavar='FOLDER')
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location('ms_mlp', args.source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path in sorted(GOLDENS.glob('msmlp_*.npz')):
        with np.load(path) as file:
            stored = json.loads(str(file['meta']))
            expected = {key: file[key] for key in file.files if key != 'meta'}
        meta = {key: stored[key] for key in GIVEN}
        arrays = compute(build(module.MS_MLP, meta), meta)
        unequal = [key for key in meta if not same(meta[key], stored[key])]
        if unequal or meta.keys() != stored.keys() or arrays.keys() != expected.keys():
            raise SystemExit(f'{path.name} holds something else: {unequal}')
        worst = max(
            np.abs(expected[key] - value).max() / np.abs(value).max()
            for key, value in arrays.items()
        )
        print(f'{path.name}: {worst:.1e}')
        if args.write:
            text = json.dumps(meta)
            np.savez_compressed(args.write / path.name, meta=text, **arrays)


def build(model: type[nn.Module], meta: dict) -> nn.Module:
    """The authors' model; in the paper's geometry it rolls behind its filters."""
    released = meta['order'].startswith('roll')
    distances = meta['shift_dist']
    net = model(
        img_size=meta['input_shape'][2:],
        shift_dist=distances if released else [0] * len(distances),
        **{key: meta[key] for key in ARCH},
    )
    blocks = [block for layer in net.layers for block in layer.blocks]
    for block in [] if released else blocks:
        for branch, axis in ((block.dwconv_lr, 3), (block.dwconv_td, 2)):
            for conv, distance in zip(branch, distances, strict=True):
                conv.register_forward_hook(roll_back(distance, axis))
    return net.eval()


def roll_back(distance: int, axis: int):
    return lambda module, args, out: out.roll(-distance, axis)


def compute(net: nn.Module, meta: dict) -> dict[str, np.ndarray]:
    """Draw weights and an input; give the outputs, described in ``meta``."""
    meta['params'] = [
        [name, list(parameter.shape), *spread(name, parameter.shape)]
        for name, parameter in net.named_parameters()
    ]
    draw = np.random.RandomState(meta['seed']).standard_normal
    for (_, shape, offset, scale), parameter in zip(
        meta['params'], net.parameters(), strict=True
    ):
        value = (offset + scale * draw(tuple(shape))).astype('float32')
        parameter.data = torch.from_numpy(value)
    draw = np.random.RandomState(meta['input_seed']).standard_normal
    x = torch.from_numpy(draw(meta['input_shape']).astype('float32')).requires_grad_()
    outputs = []
    for layer in net.layers:  # its last block, before any norm or downsampling
        layer.blocks[-1].register_forward_hook(lambda *args: outputs.append(args[-1]))
    logits = net(x)
    loss = logits.double().square().mean()
    loss.backward()
    meta.update(loss='mean(logits**2) in float64', loss_value=loss.item())
    meta['param_grad_norm'] = {
        name: parameter.grad.norm().item() for name, parameter in net.named_parameters()
    }
    named = {f'stage{number}': output for number, output in enumerate(outputs, 1)}
    named.update(logits=logits, input_grad=x.grad)
    return {key: tensor.detach().numpy() for key, tensor in named.items()}


def spread(name: str, shape: torch.Size) -> tuple[float, float]:
    """Mean and deviation of a parameter, under which no part is negligible."""
    if name.endswith('gamma'):  # at its initial 1e-6 it would hide any error
        return 1.0, 0.1
    if name.endswith('norm.weight'):
        return 1.0, 0.2
    if name.endswith('bias'):
        return 0.0, 0.1
    return 0.0, float(np.prod(shape[1:]) ** -0.5)


def same(new, stored) -> bool:
    """Equal; floating-point numbers to 1e-4."""
    if isinstance(new, dict):
        return new.keys() == stored.keys() and all(same(new[k], stored[k]) for k in new)
    if isinstance(new, list):
        return len(new) == len(stored) and all(map(same, new, stored))
    if isinstance(new, float):
        return abs(new - stored) <= 1e-4 * abs(stored)
    return new == stored


if __name__ == '__main__':
    main()
