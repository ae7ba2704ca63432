"""Claims about parameters and operations: Tables 4, 5, 7 and 9."""

from functools import partial

import pandas as pd
import torch

from ...data.datasets import DATASETS
from ...models import ORIGINAL
from ...models.backbones import BACKBONES, build_backbone
from .. import author_runs, cost_tables, paper
from ..statistics import range_text
from .verdicts import (
    COSTS_FILE,
    DISAGREES,
    MISPRINT,
    RELEASE_FILE,
    REPRODUCED,
    SLIGHTLY,
    Finding,
    by_ours,
    claim,
    count_true,
    measured_costs,
    printed_costs,
)


def check_costs(*numbers):
    """Compare the parameters and GFLOPS of our networks with the numbers printed in these tables."""
    cells = cost_tables.compare_costs(*numbers)
    worst = (cells["gflops"] - cells["our_gflops"]).abs().max()
    return Finding(
        by_ours(cells["exact"], cells["close"]),
        f"{count_true(cells['exact'])} printed parameter counts equal those of our networks to the unit, and "
        f"{count_true(cells['close'])} GFLOPS figures agree within {cost_tables.TOLERANCE} (largest difference "
        f"{worst:.4f}).",
        f"Table{'s' * (len(numbers) > 1)} {' and '.join(map(str, numbers))}, {COSTS_FILE}",
    )


claim("costs", "Tables 5 and 7", "Parameters & GFLOPS of Different Models on Caltech 101 … Cifar-10")(
    partial(check_costs, 5, 7)
)
claim("costs", "Table 9", "Parameters of GFLOPS of Different Spatial Transformer Architecture")(
    partial(check_costs, 9)
)


@claim("costs", "Table 4; 4.1.A", "TSRD Classification Cost and Results … 58 categories")
def tsrd_costs():
    found, logs = check_costs(4), author_runs.released_cells(4)
    larger = logs["parameters"] > logs["printed_parameters"]
    outputs, classes = paper.COST_CLASSES[4], DATASETS[paper.DATASET_OF[4]].num_classes
    with torch.device("meta"):
        alexnet = sum(p.numel() for p in build_backbone("alexnet", classes, None).parameters())
    logged = int(logs.set_index("model").loc["AlexNet", "parameters"])
    stn = int(printed_costs(9)[0].loc["ResNet-18", "stn"])
    behind = (
        " The log of AlexNet states those of an AlexNet behind an STN." if logged == alexnet + stn else ""
    )
    return Finding(
        DISAGREES if found.verdict == REPRODUCED and outputs != classes else found.verdict,
        f"{found.evidence} The printed costs are of networks with {outputs} outputs, though the dataset has {classes} "
        f"classes; the released logs of {count_true(larger)} rows state more parameters than the table.{behind}",
        f"{found.source}, {RELEASE_FILE}",
    )


@claim("costs", "Table 4", "DenseNet-120 … DenseNet-119 … DenseNet-118")
def names():
    misprints = paper.corrections(4).query("column == 'model'")
    wrong = ", ".join(f"{c.printed} has the parameters of {c.right}" for c in misprints.itertuples())
    right = [m not in set(misprints["printed"]) for m in paper.table(4)["model"]]
    return Finding(
        REPRODUCED if all(right) else MISPRINT,
        f"{count_true(right)} names of Table 4 match the printed costs; {wrong}.",
        f"Table 4, {COSTS_FILE}",
    )


@claim("costs", "4.3.B", "4 times the size … which leads to a scale of 2⁴ times FLOPS to the model")
def sixteen():
    _, networks = measured_costs(5)
    _, transformers = measured_costs(9)
    whole = networks.loc["EfficientNet-b5", ORIGINAL] / networks.loc["EfficientNet-b0", ORIGINAL]
    alone = transformers.loc["EfficientNet-b5"] / transformers.loc["EfficientNet-b0"]
    pixels = (BACKBONES["effb5"].image_size / BACKBONES["effb0"].image_size) ** 2
    return Finding(
        by_ours(round(whole) == 16),
        f"EfficientNet-b5 costs {whole:.1f} times as much as EfficientNet-b0, because it is also deeper and wider. An "
        f"image of 456 x 456 has {pixels:.2f} times as many pixels as one of 224 x 224, and the cost of the same "
        f"layers grows in proportion: the transformers cost {alone.min():.2f} to {alone.max():.2f} times as much.",
        f"Tables 5 and 9, {COSTS_FILE}",
    )


@claim("costs", "4.3.D", "V-STN brings lower parameter counts but with slightly more FLOPS")
def vstn_transformer():
    parameters, gflops = measured_costs(9)
    fewer, more = parameters["vstn"] - parameters["stn"], gflops["vstn"] / gflops["stn"] - 1
    return Finding(
        by_ours(fewer < 0, (more > 0) & (more < SLIGHTLY)),
        f"V-STN has fewer parameters than STN in {count_true(fewer < 0)} transformers ({range_text(-fewer)} fewer), "
        f"and takes {100 * more.min():.1f} to {100 * more.max():.1f} % more GFLOPS (“slightly” is read as under "
        f"{100 * SLIGHTLY:.0f} %).",
        f"Table 9, {COSTS_FILE}",
    )


@claim("costs", "5; 4.3.D", "saving two thirds of the FLOPS with the cost of slightly more parameters")
def two_thirds():
    parameters, gflops = measured_costs(9)
    saved, more = 1 - gflops["lstn"] / gflops["stn"], parameters["lstn"] / parameters["stn"] - 1
    share, _ = cost_tables.lstn_against_stn()
    whole = cost_tables.saved_by_lstn()
    return Finding(
        by_ours((saved > 0.65) & (saved < 0.7), (more > 0) & (more < SLIGHTLY)),
        f"L-STN takes {share.min():.3f} to {share.max():.3f} of STN's GFLOPS and has at most "
        f"{100 * more.max():.2f} % more parameters. It saves {100 * whole.min():.1f} to {100 * whole.max():.1f} % of "
        "the GFLOPS of the whole network.",
        f"Tables 5, 7 and 9, {COSTS_FILE}",
    )


@claim("costs", "4.3.D", "The size of the layer is proportional to the input resolution")
def proportional():
    parameters, gflops = measured_costs(9)
    area = pd.Series({b.title: b.image_size**2 for b in BACKBONES.values()}).loc[parameters.index]
    spread = [per.max() / per.min() - 1 for q in (parameters, gflops) for per in (q[v] / area for v in q)]
    return Finding(
        by_ours([s < SLIGHTLY for s in spread]),
        f"“Resolution” is read as the number of pixels. From {area.min() ** 0.5:.0f} to {area.max() ** 0.5:.0f} "
        f"pixels of a side the number of pixels grows {area.max() / area.min():.1f} times; parameters and GFLOPS per "
        f"pixel change by {100 * min(spread):.0f} to {100 * max(spread):.0f} %.",
        f"Table 9, {COSTS_FILE}",
    )


@claim(
    "costs",
    "2.E",
    "The baseline network is based on the inverted bottleneck residual blocks coming from MobileNetV2",
)
def baseline():
    from torchvision import models
    from torchvision.models.efficientnet import MBConv

    with torch.device("meta"):
        published = models.efficientnet_b0(weights=None, num_classes=paper.COST_CLASSES[5])
    blocks = [isinstance(block, MBConv) for stage in published.features[1:-1] for block in stage]
    theirs = sum(p.numel() for p in published.parameters())
    printed = int(printed_costs(5)[0].loc["EfficientNet-b0", ORIGINAL])
    return Finding(
        by_ours(blocks),
        f"In the published EfficientNet-b0, {count_true(blocks)} blocks are inverted bottlenecks (MBConv). The paper's "
        f"EfficientNet-b0 has {printed / theirs:.1f} times as many parameters as the published {theirs:,}: in the "
        "released code its blocks expand by a dense 3 x 3 convolution instead of a 1 x 1 convolution.",
        "torchvision; Table 5",
    )
