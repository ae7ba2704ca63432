"""Checks of the paper's claims about networks, costs, images and training; see `claims`."""

from functools import partial

import pandas as pd
import torch
from torch import nn

from ...data.datasets import DATASETS
from ...models import ORIGINAL
from ...models.backbones import BACKBONES
from ...models.localization import LOCALIZATION_NETS, localization_net
from ...training.spec import preset
from .. import authors_runs, copies, cost_tables, paper
from ..cost_tables import read_costs
from .verdicts import (
    FAILS,
    HOLDS,
    MEASURED,
    PART,
    RELEASED,
    SLIGHTLY,
    UNTESTED,
    Finding,
    claim,
    count,
    few,
    judge,
    numbers,
    parts,
    printed_costs,
    span,
    totals,
)

# --- the localization nets ----------------------------------------------------------------------


@claim("nets", "2.B", "The largest VGG structure has 19 layers, with 138 million parameters.")
def vgg():
    from torchvision import models  # seconds that pages without claims do not need

    with torch.device("meta"):
        largest, smaller = models.vgg19(weights=None), models.vgg16(weights=None)
    layers = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in largest.modules())
    million, other = (sum(p.numel() for p in m.parameters()) / 1e6 for m in (largest, smaller))
    return Finding(
        parts(layers == 19, round(million) == 138),
        f"VGG-19 has {layers} layers and {million:.1f} million parameters; VGG-16 has {other:.1f} million.",
        "torchvision, counted here",
    )


@claim("nets", "3", "Affine transformation on 2D space requires 6 parameters")
def six_parameters():
    with torch.device("meta"):
        image = torch.zeros(1, 3, 224, 224)
        sizes = {localization_net(v, 224)(image).numel() for v in LOCALIZATION_NETS}
    return Finding(
        judge(size == 6 for size in sizes),
        f"A map of the plane that is affine is a 2 x 3 matrix. Our {len(LOCALIZATION_NETS)} localization "
        f"nets put out {' or '.join(map(str, sizes))} numbers, and their parameters are those of Table 9.",
        "localization.py, Table 9",
    )


@claim("nets", "3", "all classification layers of the localization net will be the same")
def same_classifier():
    parameters, _ = printed_costs(9)
    heads = parameters - pd.Series(totals())
    equal = heads.nunique(axis=1) == 1
    return Finding(
        judge(equal),
        f"Table 9 less the totals of Tables 1 to 3 leaves the same number for STN, V-STN and L-STN in "
        f"{count(equal)} networks; {heads.min(axis=None):,} at the smallest input and "
        f"{heads.max(axis=None):,} at the largest, as the number grows with the image.",
        "Tables 1, 2, 3 and 9",
    )


@claim("nets", "3", "(H × W × C) × 32 + 192 parameters in total")
def classifier_size():
    parameters, _ = printed_costs(9)
    shapes = {v: paper.table(n)["output"].iloc[-2] for n, v in paper.LOCALIZATION_TABLES.items()}
    extra = set()
    for variant, shape in shapes.items():
        height, width, channels = map(int, shape.split(" x "))
        formula = height * width * channels * 32 + 192
        extra.add(int(parameters.loc["ResNet-18", variant]) - totals()[variant] - formula)
    return Finding(
        HOLDS if extra == {0} else PART if extra == {32 + 6} else FAILS,
        f"The formula gives {formula:,} for {shape}. Table 9 less the totals of Tables 1 to 3 is "
        f"{' or '.join(map(str, sorted(extra)))} more: the formula is of the weights, without the 32 + 6 "
        "biases.",
        "Tables 1, 2, 3 and 9 (224 pixels)",
    )


@claim(
    "nets", "3.A", "one 7 x 7 in the front followed by a 5 x 5 and with 2 x 2 max pooling layers interleaving"
)
def regular_layers():
    rows = paper.table(1).iloc[:-1]
    kernels = [" x ".join(f.split(" x ")[:2]) for f in rows["filter"]]
    return Finding(
        HOLDS if kernels == ["7 x 7", "2 x 2", "5 x 5", "2 x 2"] else FAILS,
        f"Table 1's filters are {', '.join(kernels)}.",
        "Table 1",
    )


@claim("nets", "3.A", "Pooling layers contains no parameters")
def pooling():
    pools = pd.concat([paper.table(n) for n in paper.LOCALIZATION_TABLES]).query("type.str.contains('pool')")
    none = pools["parameters"] == "0"
    return Finding(judge(none), f"{count(none)} pooling rows have 0 parameters.", "Tables 1 and 2")


def total(number):
    printed = paper.table(number)["parameters"]
    rows = sum(int(n) for cell in printed[:-1] for n in cell.split("+"))
    right, ours = int(printed.iloc[-1]), int(read_costs(number)["parameters"].sum())
    known = paper.corrections(number).query("column == 'parameters'")
    mended = [f"row {c.row} prints {c.printed} for {c.right}" for c in known.itertuples()]
    note = f" By misprint {' and '.join(mended)}." if rows != right and mended else ""
    return Finding(
        parts(rows == right, ours == right),
        f"The printed rows add up to {rows:,}, the printed total is {right:,}, and our net has "
        f"{ours:,}.{note}",
        f"Table {number}, {MEASURED}",
    )


claim("nets", "Table 1", "Total 3194")(partial(total, 1))
claim("nets", "Table 2", "Total 3032")(partial(total, 2))
claim("nets", "Table 3", "Total 3690")(partial(total, 3))


@claim(
    "nets",
    "3.B",
    "three 3 x 3 convolutions take 27 parameters but a 7 x 7 takes 49, over 40 percent of reduction",
)
def stacking():
    wide = int(paper.table(1)["parameters"].iloc[0])
    stack = sum(int(p) for p in paper.table(2)["parameters"].iloc[:3])
    arithmetic = 1 - 3 * 3 * 3 / (7 * 7)
    return Finding(
        parts(arithmetic > 0.4, stack < 0.6 * wide),
        f"Channel by channel the reduction is {100 * arithmetic:.0f} %. In the nets themselves, where 3 "
        f"channels come in and 8 go out, the three layers have {stack:,} parameters and the one has "
        f"{wide:,}: {100 * (stack / wide - 1):+.0f} %.",
        "Table 1 row 1, Table 2 rows 1 to 3",
    )


@claim(
    "nets",
    "3.B",
    "two 3 x 3 convolutions would share the same receptive field as one 5 x 5 convolution as well as "
    "three stacked 3 x 3 convolutions could replace a wide 7 x 7 convolution layer",
)
def receptive_field():
    wide, stacked = (list(paper.table(n)["output"]) for n in (1, 2))
    pairs = [(wide[0], stacked[2]), (wide[2], stacked[5])]
    same = [a.split(" x ")[:2] == b.split(" x ")[:2] for a, b in pairs]
    return Finding(
        judge([1 + 2 * 2 == 5, 1 + 3 * 2 == 7, *same]),
        "Each 3 x 3 layer adds 2 pixels to a receptive field: 5 after two, 7 after three. The outputs agree: "
        + "; ".join(f"{a} and {b}" for a, b in pairs)
        + ".",
        "Tables 1 and 2",
    )


@claim("nets", "3.B", "Max pooling layers remains unchanged")
def same_pools():
    pools = [paper.table(n).query("type.str.contains('pool')").to_numpy().tolist() for n in (1, 2)]
    return Finding(
        HOLDS if pools[0] == pools[1] else FAILS,
        f"The {len(pools[0])} pooling rows of Table 1 and the {len(pools[1])} of Table 2 "
        f"{'are the same' if pools[0] == pools[1] else 'differ'} in filter and output.",
        "Tables 1 and 2",
    )


@claim(
    "nets",
    "3.C",
    "3 x 3 convolutional kernels with larger strides replacing the pooling layers, which leads to more "
    "parameter counts",
)
def strides():
    rows, sums = paper.table(3), totals()
    strided = rows[rows["type"].str.contains("stride 2") & rows["filter"].str.startswith("3 x 3")]
    pools = rows["type"].str.contains("pool").sum()
    return Finding(
        parts(len(strided) > 0 and pools == 0, sums["lstn"] > max(sums["stn"], sums["vstn"])),
        f"Table 3 has {len(strided)} layers of 3 x 3 with stride 2 and {pools} pooling layers; its total is "
        f"{sums['lstn']:,}, those of STN and V-STN are {sums['stn']:,} and {sums['vstn']:,}.",
        "Tables 1, 2 and 3",
    )


@claim("nets", "3.C", "Reducing the parameter by half via adopting a smaller output channel")
def stem():
    first = {v: paper.table(n)["parameters"].iloc[0] for n, v in paper.LOCALIZATION_TABLES.items()}
    convolution = {v: int(p.split("+")[0]) for v, p in first.items()}
    return Finding(
        HOLDS if 2 * convolution["lstn"] == convolution["vstn"] else FAILS,
        f"Read as the first convolution against V-STN's: {convolution['lstn']} against {convolution['vstn']} "
        f"parameters (STN's 7 x 7 has {convolution['stn']:,}).",
        "Tables 1, 2 and 3, row 1",
    )


@claim(
    "nets",
    "3.C",
    "Batch Normalization is very computational efficient and effective, they could be place right after "
    "every convolution layer.",
)
def normalized():
    rows = paper.table(3).iloc[:-1]
    norm, named = rows["parameters"].str.contains("+", regex=False), rows["type"].str.contains("BN")
    layers = [layer for layer in paper.layers(3) if layer.norm_parameters]
    parameters = sum(layer.norm_parameters for layer in layers) / totals()["lstn"]
    operations = sum(2 * layer.height * layer.width * layer.channels for layer in layers) / 1e9
    share = operations / read_costs(3)["gflops"].sum()
    return Finding(
        PART if norm.all() and share < SLIGHTLY else FAILS,
        f"Placed so: {count(norm)} layers of Table 3 have parameters of a batch normalization, {named.sum()} "
        f"of them by name. Efficient: they take {100 * share:.1f} % of the net's operations (read as under "
        f"{100 * SLIGHTLY:.0f} %) and {100 * parameters:.0f} % of its parameters; time is not counted. "
        "Effective is not tested: no table or run has the net without them.",
        f"Table 3, {MEASURED}",
    )


@claim("nets", "3.C", "the concentration mechanism would lead to better performances")
def concentration():
    rows = paper.table(3)["filter"].str.startswith("1 x 1").sum()
    return Finding(
        UNTESTED,
        f"L-STN differs from the others in its {rows} layers of 1 x 1, in batch normalization and in its "
        "strides at once; no table has a net that differs in one of them.",
        "Table 3",
    )


# --- costs --------------------------------------------------------------------------------------


def costs(number):
    cells = cost_tables.compare_costs(number)
    worst = (cells["gflops"] - cells["our_gflops"]).abs().max()
    return Finding(
        judge([*cells["exact"], *cells["close"]]),
        f"{count(cells['exact'])} parameter counts are those of our networks to the unit; "
        f"{count(cells['close'])} GFLOPS agree within {cost_tables.TOLERANCE} "
        f"(largest difference {worst:.4f}).",
        f"Table {number}, {MEASURED}",
    )


claim("costs", "Table 5", "Parameters & GFLOPS of Different Models on Caltech 101")(partial(costs, 5))
claim("costs", "Table 7", "Parameters & GFLOPS of Different models on Cifar-10")(partial(costs, 7))
claim("costs", "Table 9", "Parameters of GFLOPS of Different Spatial Transformer Architecture")(
    partial(costs, 9)
)


@claim("costs", "Table 4; 4.1.A", "TSRD Classification Cost and Results … 58 categories")
def tsrd_costs():
    found, logs = costs(4), authors_runs.runs(4)
    larger = logs["parameters"] > logs["printed_parameters"]
    outputs, classes = paper.CLASSES[4], DATASETS[paper.DATASET_OF[4]].num_classes
    return Finding(
        PART if found.verdict == HOLDS and outputs != classes else found.verdict,
        f"{found.evidence} They are networks of {outputs} outputs, though the dataset has {classes} classes; "
        f"as released, the logs of {count(larger)} rows are of networks with more parameters than is "
        "printed.",
        f"{found.source}, {RELEASED}",
    )


@claim("costs", "Table 4", "DenseNet-120 … DenseNet-119 … DenseNet-118")
def names():
    known = paper.corrections(4).query("column == 'model'")
    wrong = ", ".join(f"{c.printed} costs what {c.right} costs" for c in known.itertuples())
    right = [m not in set(known["printed"]) for m in paper.table(4)["model"]]
    return Finding(
        judge(right),
        f"{count(right)} names of Table 4 are those of the networks that have the printed costs; by its "
        f"parameters, {wrong}.",
        f"Table 4, {MEASURED}",
    )


@claim("costs", "4.3.B", "ResNet-50 has parameters and FLOPS close to EfficientNet-b1 and EfficientNet-b2")
def nearest():
    away = []
    for quantity in printed_costs(5):
        others = quantity[ORIGINAL].drop("ResNet-50") / quantity.loc["ResNet-50", ORIGINAL] - 1
        away.append(others.abs().sort_values())
    named = {"EfficientNet-b1", "EfficientNet-b2"}
    texts = [", ".join(f"{m} by {100 * v:.0f} %" for m, v in a.iloc[:2].items()) for a in away]
    return Finding(
        judge(set(a.index[:2]) == named for a in away),
        f"Read as the nearest two. By parameters: {texts[0]}. By GFLOPS: {texts[1]}.",
        "Table 5",
    )


@claim("costs", "4.3.B", "an input size of 456 x 456, 4 times the size of the ordinary 224 x 224 resolution")
def pixels():
    ratio = (BACKBONES["effb5"].image_size / BACKBONES["effb0"].image_size) ** 2
    return Finding(
        HOLDS if round(ratio) == 4 else FAILS,
        f"In pixels it is {ratio:.2f} times the size.",
        "backbones.py",
    )


@claim("costs", "4.3.B", "which leads to a scale of 2⁴ times FLOPS to the model")
def sixteen():
    _, networks = printed_costs(5)
    _, transformers = printed_costs(9)
    whole = networks.loc["EfficientNet-b5", ORIGINAL] / networks.loc["EfficientNet-b0", ORIGINAL]
    alone = transformers.loc["EfficientNet-b5"] / transformers.loc["EfficientNet-b0"]
    return Finding(
        HOLDS if (alone.round() == 16).all() else FAILS,
        "The same layers on larger images cost as many times more as there are pixels: the transformers "
        f"of Table 9 cost {alone.min():.2f} to {alone.max():.2f} times, where 2⁴ is 16. EfficientNet-b5, "
        f"which is also deeper and wider, costs {whole:.1f} times as much as -b0.",
        "Tables 5 and 9",
    )


@claim("costs", "4.3.B", "All models decrease parameter counts but increase in FLOPS operations.")
def vstn_costs():
    parameters, gflops = ((q["vstn"] - q["stn"]) for q in printed_costs(5))
    return Finding(
        judge((parameters < 0) & (gflops > 0)),
        f"V-STN against STN: {count(parameters < 0)} networks have fewer parameters "
        f"({few(-parameters)} fewer) and {count(gflops > 0)} more GFLOPS ({span(gflops, '+.3f')}).",
        "Table 5",
    )


@claim("costs", "4.3.D", "V-STN brings lower parameter counts but with slightly more FLOPS")
def vstn_transformer():
    parameters, gflops = printed_costs(9)
    fewer, more = parameters["vstn"] - parameters["stn"], gflops["vstn"] / gflops["stn"] - 1
    return Finding(
        judge((fewer < 0) & (more > 0) & (more < SLIGHTLY)),
        f"{count(fewer < 0)} transformers have fewer parameters ({few(-fewer)} fewer); "
        f"GFLOPS are {100 * more.min():.1f} to {100 * more.max():.1f} % more (“slightly” is read as under "
        f"{100 * SLIGHTLY:.0f} %).",
        "Table 9",
    )


@claim("costs", "4.3.D", "L-STN has slightly more parameters")
def lstn_parameters():
    parameters, _ = printed_costs(9)
    more, sums = parameters["lstn"] - parameters["stn"], totals()
    share = more / parameters["stn"]
    return Finding(
        judge((more > 0) & (share < SLIGHTLY)),
        f"{few(more)} more than STN, at most {100 * share.max():.2f} %. Before the linear "
        f"layers it is {sums['lstn']:,} against {sums['stn']:,} "
        f"({100 * (sums['lstn'] / sums['stn'] - 1):+.1f} %).",
        "Tables 1, 3 and 9",
    )


@claim("costs", "4.3.D", "the FLOPS it takes to compute is almost one third")
def one_third():
    _, gflops = printed_costs(9)
    ratio, (ours, _) = gflops["lstn"] / gflops["stn"], cost_tables.lstn_against_stn()
    return Finding(
        judge((ratio > 0.3) & (ratio < 0.35) & ((ours > 0.3) & (ours < 0.35)).all()),
        f"L-STN takes {ratio.min():.3f} to {ratio.max():.3f} of STN's GFLOPS as printed and {ours.min():.3f} "
        f"to {ours.max():.3f} as measured (read as 0.30 to 0.35).",
        f"Table 9, {MEASURED}",
    )


@claim(
    "costs",
    "4.3.D",
    "models with identical input resolution would share the same spatial transformer structure",
)
def shared():
    sizes = {b.title: b.image_size for b in BACKBONES.values()}
    cells = paper.table(9).assign(size=lambda t: t["model"].map(sizes))
    groups = cells.groupby(["size", "variant"])[["parameters", "gflops"]].nunique().eq(1).all(axis=1)
    common = cells.drop_duplicates("model")["size"].value_counts()
    return Finding(
        judge(groups),
        f"In {count(groups)} pairs of size and transformer all networks have the same parameters and GFLOPS; "
        f"{common.max()} networks share {common.idxmax()} pixels.",
        "Table 9",
    )


@claim("costs", "4.3.D", "The size of the layer is proportional to the input resolution")
def proportional():
    parameters, gflops = printed_costs(9)
    area = pd.Series({b.title: b.image_size**2 for b in BACKBONES.values()}).loc[parameters.index]
    spread = [per.max() / per.min() - 1 for q in (parameters, gflops) for per in (q[v] / area for v in q)]
    return Finding(
        judge(s < SLIGHTLY for s in spread),
        f"Read as the number of pixels: parameters and GFLOPS a pixel vary by {100 * min(spread):.0f} to "
        f"{100 * max(spread):.0f} % from {area.min() ** 0.5:.0f} to {area.max() ** 0.5:.0f} pixels of a "
        f"side, while the number of pixels grows {area.max() / area.min():.1f} times.",
        "Table 9",
    )


@claim(
    "costs",
    "4.3.D",
    "the input resolution as well as the spatial transformer structure grows as the model scales",
)
def compound():
    parameters, gflops = (q.filter(like="EfficientNet", axis="index") for q in printed_costs(9))
    grows = [q[v].is_monotonic_increasing and q[v].is_unique for q in (parameters, gflops) for v in q]
    return Finding(
        judge(grows),
        f"From EfficientNet-b0 to -b5 L-STN grows from {parameters['lstn'].iloc[0]:,} to "
        f"{parameters['lstn'].iloc[-1]:,} parameters; {count(grows)} columns of Table 9 grow with every "
        "step.",
        "Table 9",
    )


@claim("costs", "4.3.D", "This resulted from the widely use of decoder and encoder structure.")
def encoders():
    rows, gflops = paper.table(3).iloc[:-1].reset_index(drop=True), read_costs(3)["gflops"]
    small = rows["filter"].str.startswith("1 x 1")
    first, second = (int(f.split(" x ")[-1]) for f in rows["filter"].iloc[:2])
    without = gflops[~small].sum() + gflops.iloc[0] * (second / first - 1)
    return Finding(
        HOLDS if without > gflops.sum() else FAILS,
        f"The {small.sum()} layers of 1 x 1 take {100 * gflops[small].sum() / gflops.sum():.0f} % of L-STN's "
        f"operations, and each later 3 x 3 layer has {second} channels in and out beside them. Without them, "
        f"and with {second} channels from the first layer on, the net would take {without:.4f} GFLOPS in "
        f"place of {gflops.sum():.4f}. The first layer has stride 2, so that the others see a quarter of the "
        "pixels.",
        f"Table 3, {MEASURED}",
    )


@claim(
    "costs",
    "2.E",
    "The baseline network is based on the inverted bottleneck residual blocks coming from MobileNetV2",
)
def baseline():
    from torchvision import models

    with torch.device("meta"):
        published = models.efficientnet_b0(weights=None, num_classes=paper.CLASSES[5])
    theirs = sum(p.numel() for p in published.parameters())
    printed = int(printed_costs(5)[0].loc["EfficientNet-b0", ORIGINAL])
    return Finding(
        HOLDS if theirs == printed else PART,
        f"True of the published EfficientNet-b0, which has {theirs:,} parameters with {paper.CLASSES[5]} "
        f"classes. Table 5 prints {printed:,}, {printed / theirs:.1f} times as many: as released, its blocks "
        "expand by a dense 3 x 3 convolution in place of a 1 x 1.",
        f"Table 5, {MEASURED}; torchvision",
    )


# --- images and training ------------------------------------------------------------------------

OWN = "the paper's own numbers"
FILES = "results/copies/files.csv"
TSRD = (
    "includes 6164 traffic sign images … A test file containing 4170 images and a test set with 1994 images"
)
TSRD_SPLIT = (
    "Some duplicated images have been removed … 4000 data were kept as training set, 1000 as testing set and "
    "the remaining 998 images"
)
CALTECH = (
    "The dataset has in total 8677 images, about 75% (6277) were kept as training set while other images "
    "were split evenly as validation (1200) and testing dataset (1200)"
)
CALTECH_CLASSES = "101 classes, most category has about 50 images"
ABOUT = 10  # images of a class more or less than "about 50"
CIFAR = "60000 low resolution images (32x32) classified into 10 classes. Each class has 6000 images."
CIFAR_SPLIT = (
    "40000 is left as training set and the rest are split evenly as validation set (10000) "
    "and testing set (10000)"
)


def added(values, whole):
    """A sum of images beside the number that the paper gives for all of them."""
    found = sum(values)
    apart = abs(found - whole)
    against = (
        f"{apart:,.0f} {'fewer' if found < whole else 'more'} than {whole:,.0f}" if apart else "all of them"
    )
    return f"{' + '.join(f'{v:,.0f}' for v in values)} = {found:,.0f}: {against}."


@claim("data", "4.1.A", TSRD)
def tsrd_archives():
    (whole, *archives), counted = numbers(TSRD), tsrd_files()
    truths, told = [sum(archives) == whole], ""
    if counted is not None:
        ours = counted["images"] + counted["same_name"]
        truths.append(ours == whole)
        told = f" The archives that we read hold {ours:,}."
    return Finding(
        judge(truths), added(archives, whole) + told, OWN if counted is None else f"{OWN}; {FILES}"
    )


def tsrd_files():
    """What was counted in TSRD's files, a row of results/copies/files.csv; None if nothing was."""
    files = copies.read("files").set_index("dataset")
    return files.loc["tsrd"] if "tsrd" in files.index else None


@claim("data", "4.1.A", TSRD_SPLIT)
def tsrd_split():
    used, whole, counted = numbers(TSRD_SPLIT), numbers(TSRD)[0], tsrd_files()
    if counted is None:
        return Finding(UNTESTED, f"{added(used, whole)} No copies have been counted in the archives.", OWN)
    images, names = int(counted["images"]), int(counted["same_name"])
    copied, fits = images - int(counted["alone"]), whole - names == sum(used)
    still = f"all {images:,}" if copied == images else f"{copied:,}"
    return Finding(
        parts(fits, copied == 0),
        f"{added(used, whole)} {names} file names stand in both archives, each with two different pictures; merged "
        f"by name {images:,} files remain{', exactly the paper’s number' if fits else ''}. Of these files {still} "
        "still have an identical copy under another name.",
        FILES,
    )


@claim("data", "4.1.B", CALTECH_CLASSES)
def about_fifty():
    (classes, each), images = numbers(CALTECH_CLASSES), paper.caltech101_classes()
    near, nearly = (images.between(each - room, each + room) for room in (ABOUT, 2 * ABOUT))
    return Finding(
        parts(len(images) == classes, 2 * near.sum() > len(images)),
        f"{count(near)} classes have {each - ABOUT:.0f} to {each + ABOUT:.0f} images (how “about {each:.0f}” "
        f"is read), {nearly.sum()} have {each - 2 * ABOUT:.0f} to {each + 2 * ABOUT:.0f}. The median is "
        f"{images.median():.0f}, the range {images.min()} to {images.max()}.",
        "caltech101_classes.csv",
    )


@claim("data", "4.1.B", CALTECH)
def caltech_split():
    whole, percent, *used = numbers(CALTECH)
    share = 100 * used[0] / whole
    return Finding(
        parts(sum(used) == whole, abs(share - percent) < 2.5),
        f"{added(used, whole)} The training images are {share:.1f} % (“about 75%” is read as 72.5 to 77.5 "
        "%).",
        OWN,
    )


@claim("data", "4.1.C", CIFAR)
def cifar_classes():
    whole, _, _, classes, each = numbers(CIFAR)
    return Finding(
        HOLDS if classes * each == whole else FAILS,
        f"{classes:.0f} x {each:,.0f} = {classes * each:,.0f}, of {whole:,.0f}.",
        OWN,
    )


@claim("data", "4.1.C", CIFAR_SPLIT)
def cifar_split():
    used, whole = numbers(CIFAR_SPLIT), numbers(CIFAR)[0]
    return Finding(HOLDS if sum(used) == whole else FAILS, added(used, whole), OWN)


def trained_cells():
    """What was released for the cells of Tables 6 and 8."""
    return pd.concat([authors_runs.runs(n) for n in (6, 8)])


@claim("data", "4.2", "The batch size is set to 20 for smaller models and 10 or smaller for larger models.")
def batches():
    cells = trained_cells().sort_values("printed_parameters")
    by_20, by_10 = cells["batch_size"] == 20, cells["batch_size"] <= 10
    large, small = cells[by_20].iloc[-1], cells[by_10].iloc[0]
    return Finding(
        parts((by_20 | by_10).all(), large["printed_parameters"] < small["printed_parameters"]),
        f"As released, {count(by_20 | by_10)} cells of Tables 6 and 8 have batches of 20 or of at most 10. "
        f"Not by size, though: the largest network with 20 is {_sized(large)}, the smallest with "
        f"{small['batch_size']} is {_sized(small)}.",
        RELEASED,
    )


def _sized(cell):
    return (
        f"{cell['model']} ({cell['printed_parameters'] / 1e6:.1f} million parameters, Table {cell['table']})"
    )


@claim("data", "4.2", "batch size does affect the model training process but not much to the final result")
def batch_effect():
    sizes = sorted(authors_runs.runs(6)["batch_size"].unique())
    return Finding(
        UNTESTED,
        f"No two trainings differ in batch size alone: as released, Table 6 has batches of "
        f"{', '.join(map(str, sizes))} for different networks, and here the protocol `equal` has "
        f"{preset('equal', 'caltech101', 'stn').batch_size} for all.",
        RELEASED,
    )


@claim("data", "4.2", "learning rate (η) is 0.001")
def rate():
    same = trained_cells()["learning_rate"] == 0.001
    return Finding(judge(same), f"As released, in {count(same)} cells of Tables 6 and 8.", RELEASED)


@claim("data", "4.2", "a continuous 10 epochs does not exceed the tolerance parameter")
def window():
    cells = trained_cells()
    same, floors = cells["window"] == 10, cells["min_epochs"]
    tolerances = " or ".join(map(str, sorted(cells["tolerance"].unique())))
    return Finding(
        judge(same),
        f"As released, {count(same)} cells of Tables 6 and 8 look at 10 epochs. The paper leaves open the "
        f"tolerance ({tolerances} points as released) and the floor of epochs ({floors.min()} to "
        f"{floors.max()}).",
        RELEASED,
    )
