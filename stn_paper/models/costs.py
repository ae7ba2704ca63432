"""Parameters and GFLOPS of one forward pass, by thop with the paper's way of counting.

**The paper's counting**, found by matching the numbers that it prints:

- Convolution: one operation a multiply-accumulate, and one for the bias of each output.
- Linear layer: one operation a multiply-accumulate, and none for the bias.
- Batch normalization: two operations an element.
- Adaptive average pooling: as thop counts it.
- Activations, max pooling, the grid and the sampling: nothing.

The paper's "FLOPS" are therefore mostly multiply-accumulates.
"""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from ..errors import check_whole_number, needing


class Cost(NamedTuple):
    """The cost of a network, as `measure` returns it."""

    parameters: int
    gflops: float  # billions of operations of one image's forward pass


def measure(model: nn.Module, image_size: int, in_channels: int = 3) -> Cost:
    """Return the cost of one forward pass of (1, in_channels, image_size, image_size) in evaluation mode.

    `model` is not changed. It may be compiled, of any precision, without parameters, and on any device. On torch's
    "meta" device nothing is computed. Subclasses of convolutions, batch norms and linear layers
    (timm has many) are counted as their base classes; all other modules are counted as thop counts them. Raises
    InputError for an image size that is not a whole number from 1. Source: paper Tables 5, 7 and 9.

    >>> measure(build_model("effb0", "lstn", num_classes=101), image_size=224)
    Cost(parameters=15033137, gflops=1.75571262)
    """
    with needing("train"):
        import thop  # not at the top: a machine without it can still build networks

    parameters = sum(p.numel() for p in model.parameters())
    # of a compiled network, the network inside; a copy, because thop leaves its counters in the state_dict
    model, image = _prepare(getattr(model, "_orig_mod", model), image_size, in_channels)
    rules = {type(m): rule for m in model.modules() for base, rule in COUNTERS.items() if isinstance(m, base)}
    operations, _ = thop.profile(model, (image,), custom_ops=rules, verbose=False)
    return Cost(parameters, operations / 1e9)


def torch_gflops(model: nn.Module, image_size: int, in_channels: int = 3) -> float:
    """Return the GFLOPS of the forward pass of `measure`, as torch's FlopCounterMode counts them.

    It counts two operations for each multiply-accumulate of convolutions and matrix products, and nothing for biases,
    batch normalization, pooling, the grid and the sampling. Raises InputError for an image size that is not a whole
    number from 1.
    """
    from torch.utils.flop_counter import FlopCounterMode  # here, because it loads Triton

    model, image = _prepare(model, image_size, in_channels)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    return counter.get_total_flops() / 1e9


def _prepare(model, image_size, in_channels):
    """Return a copy of the model for evaluation, in float32, and an image on its device.

    The copy computes no batch norm, because batch norms change no shape and take half of the time on torch's "meta"
    device.
    """
    check_whole_number("Image size", image_size)
    device = next((p.device for p in model.parameters()), "cpu")
    image = torch.zeros(1, in_channels, image_size, image_size, device=device)
    model = deepcopy(model).eval().float()
    for norm in (m for m in model.modules() if type(m) is nn.BatchNorm2d):
        norm.forward = nn.Identity().forward
    return model, image


def _count_conv(module, inputs, output):
    kernel = module.weight[0].numel()
    module.total_ops += output.numel() * (kernel + (module.bias is not None))


def _count_norm(module, inputs, output):
    module.total_ops += 2 * output.numel()


def _count_linear(module, inputs, output):
    module.total_ops += output.numel() * module.in_features


COUNTERS = {_ConvNd: _count_conv, _BatchNorm: _count_norm, nn.Linear: _count_linear}
