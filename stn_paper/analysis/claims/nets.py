"""Claims about the localization nets: sections 2 and 3, Tables 1 to 3."""

from torch import nn

from ...data.datasets import DATASETS
from ...models import HEADINGS
from .. import effects, experiment, paper, statistics
from ..cost_tables import read_costs
from .verdicts import (
    AGREES,
    COSTS_FILE,
    DISAGREES,
    MISPRINT,
    NOT_REPRODUCED,
    OPEN,
    REPRODUCED,
    SLIGHTLY,
    Finding,
    by_ours,
    by_tables,
    claim,
    count_true,
    printed_costs,
    printed_totals,
)


@claim("nets", "3", "(H × W × C) × 32 + 192 parameters in total")
def classifier_size():
    parameters, _ = printed_costs(9)
    shapes = {v: paper.table(n)["output"].iloc[-2] for n, v in paper.LOCALIZATION_TABLES.items()}
    extra = set()
    for variant, shape in shapes.items():
        height, width, channels = map(int, shape.split(" x "))
        formula = height * width * channels * 32 + 192
        extra.add(int(parameters.loc["ResNet-18", variant]) - printed_totals()[variant] - formula)
    return Finding(
        by_tables(extra == {0}),
        f"For a feature map of {shape} the formula gives {formula:,}. Table 9 minus the totals of Tables 1 to 3 gives "
        f"{' or '.join(map(str, sorted(extra)))} more, because the formula counts the weights without the 32 + 6 "
        "biases.",
        "Tables 1, 2, 3 and 9 (224 pixels)",
    )


@claim("nets", "Tables 1, 2 and 3", "Total 3194 … Total 3032 … Total 3690")
def total_parameters():
    printed = {n: int(paper.table(n)["parameters"].iloc[-1]) for n in paper.LOCALIZATION_TABLES}
    ours = {n: int(read_costs(n)["parameters"].sum()) for n in printed}
    texts = [f"Table {n} {printed[n]:,}, ours {ours[n]:,}" for n in printed]
    return Finding(by_ours(ours == printed), f"{'; '.join(texts)}.", f"Tables 1, 2 and 3, {COSTS_FILE}")


@claim("nets", "Table 3, rows 4 and 7", "36+16")
def row_sums():
    texts, wrong, shapes = [], set(), paper.LOCALIZATION_TABLES
    for number in shapes:
        printed = paper.table(number)["parameters"]
        rows = sum(int(n) for cell in printed[:-1] for n in cell.split("+"))  # at the end, those of Table 3
        misprints = paper.corrections(number).query("column == 'parameters'")
        texts += [
            f"row {c.row} of Table {number} prints {c.printed} for {c.right}" for c in misprints.itertuples()
        ]
        if rows != int(printed.iloc[-1]):
            wrong.add(number)
    return Finding(
        MISPRINT if wrong else AGREES,
        f"Table 3's rows add up to {rows:,}, its total is {printed_totals()['lstn']:,}: {' and '.join(texts)}. In "
        f"{len(shapes) - len(wrong)} of {len(shapes)} tables the rows add up to the total.",
        "Tables 1, 2 and 3",
    )


@claim(
    "nets",
    "3.B",
    "three 3 x 3 convolutions take 27 parameters but a 7 x 7 takes 49, over 40 percent of reduction",
)
def stacking():
    small, large = (
        sum(p.numel() for p in nn.Conv2d(1, 1, size, bias=False, device="meta").parameters())
        for size in (3, 7)
    )
    reduction = 1 - 3 * small / large
    wide = int(paper.table(1)["parameters"].iloc[0])
    stack = sum(int(p) for p in paper.table(2)["parameters"].iloc[:3])
    return Finding(
        by_ours((3 * small, large) == (27, 49), reduction > 0.4),
        f"From one channel to one channel, {3 * small} weights replace {large}: {100 * reduction:.0f} % fewer. In the "
        f"localization nets, with 3 input and 8 output channels, the three 3 x 3 layers have {stack:,} parameters and "
        f"the 7 x 7 layer has {wide:,}: {100 * (stack / wide - 1):+.0f} %.",
        "counted here; Table 1 row 1, Table 2 rows 1 to 3",
    )


@claim("nets", "3.C", "Reducing the parameter by half via adopting a smaller output channel")
def stem():
    first = [int(n) for cell in paper.table(3)["parameters"].iloc[:2] for n in cell.split("+")]
    vstn = int(paper.table(2)["parameters"].iloc[0])
    return Finding(
        by_tables(2 * first[0] <= vstn),
        f"L-STN's first convolution has {first[0]} parameters, V-STN's {vstn}. With its batch normalization and the "
        f"decoder that expands the channels again, L-STN has {' + '.join(map(str, first))} = {sum(first)}.",
        "Tables 2 and 3",
    )


def judge_part(variant, against):
    """Judge whether `variant` is better than `against`, which lacks a part, in the first study: verdict and sentence.

    OPEN until the runs show a difference or that both are equal.
    """
    study = experiment.STUDIES[0]
    found = effects.rows_of_pair(effects.comparisons(*study), variant, against)
    place = f"{HEADINGS[against]} on {DATASETS[study[0]].title}"
    if found.empty or found["shown"].iloc[0] == statistics.FEW:
        few = f"fewer than {statistics.FEWEST_RUNS} runs"
        return OPEN, f"{HEADINGS[variant]} minus {place}: one of them has {few}, so there is no verdict."
    row = found.iloc[0]
    difference = f"{row['mean']:+.2f} ± {row['half']:.2f} points of test accuracy"
    text = f"{HEADINGS[variant]} minus {place} is {difference}: {row['shown']}."
    if row["shown"] in (statistics.NOT_SHOWN, statistics.LEFT_OUT):
        return OPEN, text
    return by_ours(row["shown"].startswith(statistics.BETTER)), text


@claim(
    "nets",
    "3.C",
    "Batch Normalization is very computational efficient and effective, they could be place right after "
    "every convolution layer.",
)
def batch_normalization():
    rows = paper.table(3).iloc[:-1]
    norm = rows["parameters"].str.contains("+", regex=False)
    layers = [layer for layer in paper.printed_layers(3) if layer.norm_parameters]
    operations = sum(2 * layer.height * layer.width * layer.channels for layer in layers) / 1e9
    share = operations / read_costs(3)["gflops"].sum()
    efficient = norm.all() and share < SLIGHTLY
    effective, text = judge_part("lstn", "lstn-no-bn")
    _, other = judge_part("stn-bn", "stn")
    return Finding(
        effective if efficient else DISAGREES,
        f"{count_true(norm)} layers of Table 3 have batch normalization, which takes {100 * share:.1f} % of the "
        f"operations of the localization net's feature layers (“efficient” is read as under {100 * SLIGHTLY:.0f} %). "
        f"We test “effective” for L-STN only, because the section describes L-STN. {text} {other}",
        f"Table 3, {COSTS_FILE}; the experiment's page",
    )


@claim("nets", "3.C", "the concentration mechanism would lead to better performances")
def concentration():
    rows = paper.table(3)["filter"].str.startswith("1 x 1").sum()
    verdict, text = judge_part("lstn", "lstn-no-1x1")
    return Finding(
        verdict,
        f"L-STN differs from STN and V-STN in several ways at once: {rows} layers of 1 x 1, batch normalization, and "
        f"strides instead of pooling. Only L-STN without its 1 x 1 layers tests the sentence. {text}",
        "Table 3; the experiment's page",
    )


@claim("costs", "4.3.D", "This resulted from the widely use of decoder and encoder structure.")
def encoders():
    rows, gflops = paper.table(3).iloc[:-1].reset_index(drop=True), read_costs(3)["gflops"]
    small = rows["filter"].str.startswith("1 x 1")
    first, second = (int(f.split(" x ")[-1]) for f in rows["filter"].iloc[:2])
    without = gflops[~small].sum() + gflops.iloc[0] * (second / first - 1)
    return Finding(
        REPRODUCED if without > gflops.sum() else NOT_REPRODUCED,
        f"Without its {small.sum()} layers of 1 x 1, and with {second} channels from the first layer on, L-STN would "
        f"take {without:.4f} GFLOPS instead of {gflops.sum():.4f}. The first layer's stride of 2 saves the "
        "operations: the later layers have a quarter of the pixels.",
        f"Table 3, {COSTS_FILE}",
    )
