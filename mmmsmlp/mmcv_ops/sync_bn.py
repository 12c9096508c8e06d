"""The steps of mmcv's synchronised batch norm on (N, C, pixels); statistics float32."""

from torch import Tensor

from .common import operator


@operator('torch')
def sync_bn_forward_mean(input: Tensor, mean: Tensor) -> None:
    mean.copy_(input.float().mean((0, 2)))


@operator('torch')
def sync_bn_forward_var(input: Tensor, mean: Tensor, var: Tensor) -> None:
    var.copy_((input.float() - mean[:, None]).square().mean((0, 2)))


@operator('torch')
def sync_bn_forward_output(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    norm: Tensor,
    std: Tensor,
    output: Tensor,
    eps: float,
    momentum: float,
    group_size: int,
) -> None:
    """Fills norm, std and output, and moves the running statistics."""
    std.copy_((var + eps).sqrt())
    norm.copy_((input.float() - mean[:, None]) / std[:, None])
    if weight is None or bias is None or not weight.numel():
        output.copy_(norm)
    else:
        output.copy_(norm * weight[:, None] + bias[:, None])
    if running_mean is None or running_var is None or not running_mean.numel():
        return
    count = input.shape[0] * input.shape[2] * group_size
    unbiased = var * (count / (count - 1)) if count > 1 else var
    momentum = float(momentum)
    running_mean.lerp_(mean.to(running_mean), momentum)
    running_var.lerp_(unbiased.to(running_var), momentum)


@operator('torch')
def sync_bn_backward_param(
    grad_output: Tensor, norm: Tensor, grad_weight: Tensor, grad_bias: Tensor
) -> None:
    grad = grad_output.float()
    grad_weight.copy_((grad * norm).sum((0, 2)))
    grad_bias.copy_(grad.sum((0, 2)))


@operator('torch')
def sync_bn_backward_data(
    grad_output: Tensor,
    weight: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    norm: Tensor,
    std: Tensor,
    grad_input: Tensor,
) -> None:
    count = grad_output.shape[0] * grad_output.shape[2]
    spread = (grad_weight[:, None] * norm + grad_bias[:, None]) / count
    scale = (weight / std)[:, None]
    grad_input.copy_(scale * (grad_output.float() - spread))
