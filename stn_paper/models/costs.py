"""Parameters and GFLOPS of one forward pass, by thop with the paper's way of counting.

**The paper's counting**, found by matching its printed figures: multiply-accumulates of convolutions plus
one for each output's bias; multiply-accumulates of linear layers without bias; two operations an element
for batch normalization; adaptive average pooling as thop counts it; nothing for activations, max
pooling, the grid or the sampling. What the paper calls FLOPS are therefore mostly multiply-accumulates.
"""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from ..errors import check_whole_number, needing


class Cost(NamedTuple):
    """The cost of a network: see `measure`."""

    parameters: int
    gflops: float  # billions of operations of one image's forward pass


def measure(model: nn.Module, image_size: int, in_channels: int = 3) -> Cost:
    """Return the cost of one forward pass of (1, in_channels, image_size, image_size) in evaluation mode.

    `model` may live on any device, torch's "meta" device included, where nothing is computed, and may be of
    any precision, compiled or without parameters; it is not changed. Subclasses of convolutions, batch norms and linear
    layers (timm has many) are counted like their base classes; all other modules as thop counts them. Raises InputError
    for a size that is not a whole number.
    Source: paper Tables 5, 7 and 9.

    >>> measure(build_model("effb0", "lstn", num_classes=101), image_size=224)
    """
    with needing("train"):
        import thop  # here, so that a machine without it can still build networks

    check_whole_number("Image size", image_size)
    parameters = sum(p.numel() for p in model.parameters())
    device = next((p.device for p in model.parameters()), "cpu")
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    model = deepcopy(model).eval().float()  # thop leaves its counters in the state_dict
    rules = {type(m): rule for m in model.modules() for base, rule in COUNTERS.items() if isinstance(m, base)}
    image = torch.zeros(1, in_channels, image_size, image_size, device=device)
    operations, _ = thop.profile(model, (image,), custom_ops=rules, verbose=False)
    return Cost(parameters, operations / 1e9)


def torch_gflops(model: nn.Module, image_size: int, in_channels: int = 3) -> float:
    """Return the count of torch's FlopCounterMode, in 1e9 operations, for the forward pass of `measure`.

    It counts two operations, a multiplication and an addition, for each multiply-accumulate of convolutions
    and of matrix products, and nothing for biases, batch normalization, pooling, the grid and the sampling.
    """
    check_whole_number("Image size", image_size)
    image = torch.zeros(1, in_channels, image_size, image_size, device=next(model.parameters()).device)
    training = model.training
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(image)
    model.train(training)
    return counter.get_total_flops() / 1e9


def _count_conv(module, inputs, output):
    kernel = module.weight[0].numel()
    module.total_ops += output.numel() * (kernel + (module.bias is not None))


def _count_norm(module, inputs, output):
    module.total_ops += 2 * output.numel()


def _count_linear(module, inputs, output):
    module.total_ops += output.numel() * module.in_features


COUNTERS = {_ConvNd: _count_conv, _BatchNorm: _count_norm, nn.Linear: _count_linear}
