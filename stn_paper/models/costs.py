"""Parameters and GFLOPS, by thop with the paper's way of counting; `python -m stn_paper costs` writes
results/costs.csv, which the notebooks of Tables 1 to 5, 7 and 9 read.

**The paper's counting**, found by matching its printed figures: multiply-accumulates of convolutions plus
one for each output's bias; multiply-accumulates of linear layers without bias; two operations an element
for batch normalization; adaptive average pooling as thop counts it; nothing for activations, max
pooling, the grid or the sampling. What the paper calls FLOPS are therefore mostly multiply-accumulates.
"""

from copy import deepcopy
from functools import cache
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from ..analysis.paper import CLASSES, LOCALIZATION_TABLES, table
from ..errors import InputError, whole
from ..paths import check_writable, replacing, results_dir
from . import ORIGINAL, build_model
from .backbones import input_size
from .localization import localization_net
from .transformer import SpatialTransformer


class Cost(NamedTuple):
    parameters: int
    gflops: float


def measure(model, image_size, in_channels=3):
    """Cost of one forward pass of (1, in_channels, image_size, image_size) in evaluation mode.

    `model` may live on any device, torch's "meta" device included, where nothing is computed; it is left
    as it was. Subclasses of convolutions, batch norms and linear layers (timm has many) count as those;
    what else a model holds counts as thop counts it. Raises InputError for a size that is no whole number.
    """
    import thop  # here, so that a machine without it can still train

    whole("Image size", image_size)
    parameters = sum(p.numel() for p in model.parameters())
    device = next(model.parameters()).device
    model = deepcopy(model).eval()  # thop leaves its counters in the state_dict
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


# --- results/costs.csv --------------------------------------------------------------------------


def costs_path():
    """The file that holds every cost of Tables 1 to 5, 7 and 9."""
    return results_dir() / "costs.csv"


def write_costs():
    """Measure all that the paper's cost tables print and write it as CSV; returns the path.

    Raises InputError where it cannot be written.
    """
    check_writable(costs_path().parent)
    rows = [*_layer_costs(), *_model_costs(), *_transformer_costs()]
    columns = ["table", "row", "variant", "image_size", "output", "parameters", "gflops"]
    measured = pd.DataFrame(rows, columns=columns)
    with replacing(costs_path()) as partial:
        measured.to_csv(partial, index=False, float_format="%.6f", lineterminator="\n")
    return costs_path()


def read_costs(number):
    """Our rows of the paper's cost table `number`; InputError if they have not been measured."""
    if not costs_path().exists():
        raise InputError(f"File {costs_path()} is missing: write it by `python -m stn_paper costs`.")
    known = pd.read_csv(costs_path(), dtype={"row": str, "output": str}, keep_default_na=False)
    return known[known["table"] == number].reset_index(drop=True)


def _layer_costs():
    """Tables 1 to 3: every layer of the three localization nets at 224 pixels."""
    for number, variant in LOCALIZATION_TABLES.items():
        with torch.device("meta"):
            x = torch.zeros(1, 3, 224, 224)
            layers = localization_net(variant, 224).features
        for i, layer in enumerate(layers, 1):
            cost = _layer_cost(layer, x.shape)
            x = layer(x)
            _, channels, height, width = x.shape
            yield number, i, variant, 224, f"{height} x {width} x {channels}", *cost


def _layer_cost(layer, shape):
    has_parameters = any(True for _ in layer.parameters())
    return measure(layer, shape[-1], shape[1]) if has_parameters else Cost(0, 0.0)


def _model_costs():
    """Tables 4, 5 and 7: whole networks at the paper's input sizes, as the sum of their two parts."""
    for number, classes in CLASSES.items():
        for row in table(number).itertuples():
            variant, size = getattr(row, "variant", ORIGINAL), input_size(row.backbone)
            parts = [_backbone_cost(row.backbone, classes)]
            if variant != ORIGINAL:
                parts.append(_transformer_cost(variant, size))
            yield number, row.backbone, variant, size, "", *map(sum, zip(*parts))


def _transformer_costs():
    """Table 9: the transformers alone."""
    for row in table(9).itertuples():
        size = input_size(row.backbone)
        yield 9, row.backbone, row.variant, size, "", *_transformer_cost(row.variant, size)


@cache
def _backbone_cost(backbone, classes):
    with torch.device("meta"):
        model = build_model(backbone, ORIGINAL, classes)
    return measure(model, input_size(backbone))


@cache
def _transformer_cost(variant, size):
    with torch.device("meta"):
        model = SpatialTransformer(localization_net(variant, size))
    return measure(model, size)
