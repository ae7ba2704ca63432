"""The optimizer of a run and the schedule of its learning rate."""

import math
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ..models import param_groups
from .protocol import CONSTANT_RATE, ONE_CYCLE

OPTIMIZER_CLASSES = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
SCHEDULES = {  # name -> function from the share of the training that is done to a share of the highest rate
    CONSTANT_RATE: lambda done: 1.0,
    ONE_CYCLE: lambda done: (
        _cosine(1 / 25, 1.0, done / 0.3) if done < 0.3 else _cosine(1.0, 4e-6, (done - 0.3) / 0.7)
    ),
}


def make_optimizer(model, protocol):
    """Return the protocol's optimizer; localization nets learn at `localization_rate` times the learning rate.

    The optimizer is fused: it updates all weights in one pass. On CUDA, a CUDA graph can record it.
    """
    rate: float | torch.Tensor = protocol.learning_rate
    options: dict[str, Any] = {"fused": True}
    if (device := next(model.parameters()).device).type == "cuda":
        rate = torch.tensor(rate, device=device)
        options |= {"capturable": True} if protocol.optimizer == "adam" else {}
    groups = param_groups(model, 1.0, protocol.localization_rate)
    groups = [group | {"share": group["lr"], "lr": rate * group["lr"]} for group in groups]
    return OPTIMIZER_CLASSES[protocol.optimizer](groups, **options)


class InMemoryOrder(TorchFunctionMode):
    """Context: give contiguous views to fused Adam; the updated weights stay the same to the bit.

    On a CPU, torch's fused Adam copies the gradient of each channels-last weight and never reads the copy (torch 2.14).
    For EfficientNets, these copies take about 4 % of a training step in the protocol `small`.
    """

    def __torch_function__(self, func, types, args: tuple = (), kwargs=None):
        if func is torch._fused_adam_:
            args = tuple([_contiguous(tensor) for tensor in tensors] for tensors in args)
        return func(*args, **(kwargs or {}))


def _contiguous(tensor):
    """Return a channels-last tensor (N, C, H, W) as a contiguous view (N, H, W, C), and others unchanged."""
    channels_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return tensor.permute(0, 2, 3, 1) if channels_last else tensor


def set_rate(optimizer, protocol, done):
    """Set the learning rate of a step; `done` is the share of the training that is done, from 0 to 1."""
    rate = protocol.learning_rate * SCHEDULES[protocol.schedule](done)
    for group in optimizer.param_groups:
        if torch.is_tensor(group["lr"]):
            group["lr"].fill_(rate * group["share"])
        else:
            group["lr"] = rate * group["share"]


def _cosine(start, end, done):
    """Return the value between `start` and `end` along half a cosine; `done` is 0 at `start` and 1 at `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
