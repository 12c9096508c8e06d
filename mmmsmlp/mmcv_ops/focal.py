"""The focal losses: sigmoid and softmax, values and derivatives."""

import torch
from torch import Tensor

from .common import operator, wide

TINY = torch.finfo(torch.float32).tiny  # the least that a logarithm is taken of


def sigmoid_terms(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities (n, classes), those of the opposite, and where the truth is."""
    p = wide(input).sigmoid()
    classes = torch.arange(input.shape[1], device=input.device)
    return p, 1 - p, target[:, None] == classes


def weighted(loss: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """The loss times the weight of each sample's class, where there are weights."""
    if weight.numel() == 0:
        return loss
    return loss * weight[target].view(-1, *[1] * (loss.dim() - 1))


@operator('torch')
def sigmoid_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """The loss of (n, classes) logits and (n,) labels; the label of none: classes."""
    p, q, true = sigmoid_terms(input, target)
    positive = -alpha * q.pow(gamma) * p.clamp(min=TINY).log()
    negative = (alpha - 1) * p.pow(gamma) * q.clamp(min=TINY).log()
    output.copy_(weighted(torch.where(true, positive, negative), weight, target))


@operator('torch')
def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    p, q, true = sigmoid_terms(input, target)
    positive = -alpha * q.pow(gamma) * (q - gamma * p * p.clamp(min=TINY).log())
    negative = (alpha - 1) * p.pow(gamma) * (gamma * q * q.clamp(min=TINY).log() - p)
    grad_input.copy_(weighted(torch.where(true, positive, negative), weight, target))


def probability(input: Tensor, target: Tensor) -> Tensor:
    """The probability (n,) of each sample's label; of a label below 0, of the first."""
    return wide(input).gather(1, target.clamp(min=0)[:, None])[:, 0]


@operator('torch')
def softmax_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """The loss (n,) of (n, classes) probabilities; 0 for labels below 0."""
    p = probability(input, target)
    loss = -alpha * (1 - p).pow(gamma) * p.clamp(min=TINY).log()
    output.copy_(weighted(torch.where(target >= 0, loss, 0), weight, target))


@operator('torch')
def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """By the logits of which ``input`` (n, classes) is the softmax."""
    p = probability(input, target)
    slope = gamma * (1 - p).pow(gamma - 1) * p * p.clamp(min=TINY).log()
    slope = torch.where(target >= 0, alpha * (slope - (1 - p).pow(gamma)), 0)
    slope = weighted(slope, weight, target)
    buff.copy_(slope)
    classes = torch.arange(input.shape[1], device=input.device)
    true = (target[:, None] == classes).to(slope.dtype)
    grad_input.copy_(slope[:, None] * (true - wide(input)))
