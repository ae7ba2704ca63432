"""Our costs beside the paper's costs.

`python -m stn_paper costs` writes results/costs.csv, which the notebooks of Tables 1 to 5, 7 and 9 read.
"""

from functools import cache

import pandas as pd
import torch

from ..errors import InputError
from ..models import ORIGINAL, build_model
from ..models.backbones import input_size
from ..models.costs import measure, torch_gflops
from ..models.localization import localization_net
from ..models.transformer import SpatialTransformer
from ..paths import check_writable, replace_file, results_dir
from .paper import COST_CLASSES, LOCALIZATION_TABLES, networks, table

TOLERANCE = 0.0003  # GFLOPS; a smaller difference, after rounding to the paper's decimals, counts as equal


def costs_path():
    """The path of the file with every cost of Tables 1 to 5, 7 and 9."""
    return results_dir() / "costs.csv"


def write_costs():
    """Measure every cost that the paper's tables print, write them as CSV, and return the path.

    Raises InputError if the file cannot be written.
    """
    check_writable(costs_path().parent)
    rows = [*_layer_costs(), *_model_costs(), *_transformer_costs()]
    columns = ["table", "row", "variant", "image_size", "output", "parameters", "gflops", "torch_gflops"]
    measured = pd.DataFrame(rows, columns=columns)
    with replace_file(costs_path()) as partial:
        measured.to_csv(partial, index=False, float_format="%.6f", lineterminator="\n")
    return costs_path()


def read_costs(number):
    """Our rows of the paper's cost table `number`; InputError if they have not been measured."""
    if not costs_path().exists():
        raise InputError(f"File {costs_path()} is missing: write it by `python -m stn_paper costs`.")
    rows = pd.read_csv(costs_path(), dtype={"row": str, "output": str}, keep_default_na=False)
    return rows[rows["table"] == number].reset_index(drop=True)


def compare_costs(*numbers):
    """Every cost that these tables (4, 5, 7 or 9) print, beside ours: a row a cell.

    Columns: backbone, model (as printed), variant, parameters, gflops (printed), our_parameters,
    our_gflops (rounded to the printed decimals), torch_gflops (as torch counts), exact (parameters),
    close (GFLOPS within TOLERANCE).
    """
    return pd.concat([_compare_table(number) for number in numbers])


def _compare_table(number):
    printed, ours = networks(number).copy(), read_costs(number)
    printed["parameters"] = printed["parameters"].astype(int)
    decimals = [len(g.split(".")[1]) for g in printed["gflops"]]
    printed["gflops"] = printed["gflops"].astype(float)
    printed["our_parameters"] = ours["parameters"]
    printed["our_gflops"] = [round(g, d) for g, d in zip(ours["gflops"], decimals)]
    printed["torch_gflops"] = ours["torch_gflops"]
    printed["decimals"] = decimals
    printed["exact"] = printed["parameters"] == printed["our_parameters"]
    printed["close"] = (printed["gflops"] - printed["our_gflops"]).abs() <= TOLERANCE + 1e-9
    return printed


def lstn_against_stn():
    """(share, more): L-STN's GFLOPS as a share of STN's, and its parameters minus STN's; a value a backbone."""
    cost = read_costs(9).pivot(index="row", columns="variant")
    ratio = cost["gflops", "lstn"] / cost["gflops", "stn"]
    return ratio, cost["parameters", "lstn"] - cost["parameters", "stn"]


def saved_by_lstn():
    """The share of a whole network's GFLOPS that L-STN saves in place of STN; a value a network of Tables 5 and 7."""
    tables = [compare_costs(n).pivot(index="model", columns="variant", values="our_gflops") for n in (5, 7)]
    return pd.concat([1 - gflops["lstn"] / gflops["stn"] for gflops in tables])


def _layer_costs():
    """Yield the rows of Tables 1 to 3: every layer of the three localization nets at 224 pixels."""
    for number, variant in LOCALIZATION_TABLES.items():
        with torch.device("meta"):
            x = torch.zeros(1, 3, 224, 224)
            layers = localization_net(variant, 224).get_submodule("features")
        for i, layer in enumerate(layers.children(), 1):
            cost = _layer_cost(layer, x.shape)
            x = layer(x)
            _, channels, height, width = x.shape
            yield number, i, variant, 224, f"{height} x {width} x {channels}", *cost


def _layer_cost(layer, shape):
    has_parameters = any(True for _ in layer.parameters())
    return _both_counts(layer, shape[-1], shape[1]) if has_parameters else (0, 0.0, 0.0)


def _both_counts(model, *size):
    """Parameters, GFLOPS as the paper counts, and GFLOPS as torch counts."""
    return *measure(model, *size), torch_gflops(model, *size)


def _model_costs():
    """Yield the rows of Tables 4, 5 and 7: whole networks at the paper's input sizes, as the sum of their parts."""
    for number, classes in COST_CLASSES.items():
        for row in table(number).itertuples():
            variant, size = getattr(row, "variant", ORIGINAL), input_size(row.backbone)
            parts = [_backbone_cost(row.backbone, classes)]
            if variant != ORIGINAL:
                parts.append(_transformer_cost(variant, size))
            yield number, row.backbone, variant, size, "", *map(sum, zip(*parts))


def _transformer_costs():
    """Yield the rows of Table 9: the transformers alone."""
    for row in table(9).itertuples():
        size = input_size(row.backbone)
        yield 9, row.backbone, row.variant, size, "", *_transformer_cost(row.variant, size)


@cache
def _backbone_cost(backbone, classes):
    with torch.device("meta"):
        model = build_model(backbone, ORIGINAL, classes)
    return _both_counts(model, input_size(backbone))


@cache
def _transformer_cost(variant, size):
    with torch.device("meta"):
        model = SpatialTransformer(localization_net(variant, size))
    return _both_counts(model, size)
