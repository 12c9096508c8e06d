"""One of two gloo processes: are DDP's gradients those of one process? (torchrun)"""

import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import mmmsmlp
from mmmsmlp.run.launch import leave_gloo
from tests.helpers.table2 import REGIONS

ARCH = dict(embed_dims=24, depths=[1, 1, 2, 1], mix_sizes=REGIONS)


def main(with_cp: bool, out_indices: tuple[int, ...]) -> None:
    dist.init_process_group('gloo')
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    joint = mmmsmlp.MSMLP(
        ARCH,
        layer_scale_init_value=1.0,
        with_cp=with_cp,
        out_indices=out_indices,
    )
    images = torch.randn(2 * world, 3, 48, 64)
    split = DistributedDataParallel(joint)  # finds no unused parameter, or raises
    for _ in range(2):
        split.zero_grad()
        loss_of(split(images[2 * rank : 2 * rank + 2])).backward()
    gradients = [parameter.grad.clone() for parameter in joint.parameters()]
    joint.zero_grad()
    loss_of(joint(images)).backward()
    for (name, parameter), gradient in zip(
        joint.named_parameters(), gradients, strict=True
    ):
        torch.testing.assert_close(
            gradient, parameter.grad, rtol=1e-4, atol=1e-6, msg=name
        )
    print(f'rank {rank}: {len(gradients)} gradients agree')
    leave_gloo()


def loss_of(outputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return sum(output.pow(3).mean() for output in outputs)


if __name__ == '__main__':
    main(sys.argv[1] == 'with_cp', tuple(map(int, sys.argv[2])))
