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

from ..errors import whole


class Cost(NamedTuple):
    parameters: int
    gflops: float


def measure(model, image_size, in_channels=3):
    """Cost of one forward pass of (1, in_channels, image_size, image_size) in evaluation mode.

    `model` may live on any device, torch's "meta" device included, where nothing is computed, and may be of
    any precision, compiled or without parameters; it is left as it was. Subclasses of convolutions, batch
    norms and linear layers (timm has many) count as those;
    what else a model holds counts as thop counts it. Raises InputError for a size that is no whole number.
    """
    import thop  # here, so that a machine without it can still train

    whole("Image size", image_size)
    parameters = sum(p.numel() for p in model.parameters())
    device = next((p.device for p in model.parameters()), "cpu")
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    model = deepcopy(model).eval().float()  # thop leaves its counters in the state_dict
    rules = {type(m): rule for m in model.modules() for base, rule in RULES.items() if isinstance(m, base)}
    image = torch.zeros(1, in_channels, image_size, image_size, device=device)
    operations, _ = thop.profile(model, (image,), custom_ops=rules, verbose=False)
    return Cost(parameters, operations / 1e9)


def _count_conv(module, inputs, output):
    kernel = module.weight[0].numel()
    module.total_ops += output.numel() * (kernel + (module.bias is not None))


def _count_norm(module, inputs, output):
    module.total_ops += 2 * output.numel()


def _count_linear(module, inputs, output):
    module.total_ops += output.numel() * module.in_features


RULES = {_ConvNd: _count_conv, _BatchNorm: _count_norm, nn.Linear: _count_linear}
