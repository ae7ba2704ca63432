"""The paper's printed numbers, from the CSV files in `printed/`, exactly as the paper prints them.

`report.tables` and the tests compare our numbers with them. `printed/corrections.csv` has the right value of each
misprint and the reason.
"""

from functools import cache
from typing import NamedTuple

import pandas as pd

from ..errors import check_choice
from ..models import HEADINGS, ORIGINAL
from ..models.backbones import BACKBONES
from ..paths import PRINTED

LOCALIZATION_TABLES = {1: "stn", 2: "vstn", 3: "lstn"}  # table -> its localization net, at 224 pixels
# table of costs -> outputs of its networks; Table 4's networks have 10, though its dataset has 58 classes
COST_CLASSES = {4: 10, 5: 101, 7: 10}
DATASET_OF = {4: "tsrd", 6: "caltech101", 8: "cifar10"}  # table of accuracies -> its dataset
COSTS_OF = {4: 4, 6: 5, 8: 7}  # table of accuracies -> table that prints the same networks' costs
SPLIT_COLUMNS = {4: {"validation": "training", "test": "validation"}}  # split -> its column: see `column_of`


class Layer(NamedTuple):
    """A row of Tables 1 to 3: the shape of its output, the parameters of its convolution and batch norm."""

    height: int
    width: int
    channels: int
    parameters: int
    norm_parameters: int = 0


@cache
def table(number):
    """Return Table `number`, 1 to 9, as printed: every cell a string; Tables 4 to 9 have a column `backbone` more.

    Columns are those of `printed/table<number>.csv`. All callers share the table: do not change it. Raises InputError
    for another number.

    >>> first = table(9).iloc[0]
    >>> first["variant"], first["parameters"]  # as printed
    ('stn', '868704')
    """
    check_choice("table", number, range(1, 10))
    printed = pd.read_csv(PRINTED / f"table{number}.csv", dtype=str, keep_default_na=False)
    if "model" in printed:
        printed.insert(0, "backbone", [_BACKBONE_OF[corrected(number, m)] for m in printed["model"]])
    return printed


def networks(number):
    """Table 4 to 9 with a column `variant`, a row a network; it is "original" if the table has no such column."""
    printed = table(number)
    return printed if "variant" in printed else printed.assign(variant=ORIGINAL)


@cache
def corrections(number):
    """The misprints of Table `number`: row, column, printed value, right value and reason."""
    everything = pd.read_csv(PRINTED / "corrections.csv", dtype=str)
    mine = everything[everything["table"] == str(number)]
    return mine.drop(columns="table").reset_index(drop=True)


def corrected(number, printed, row=None):
    """The printed value, or the right value if corrections.csv has one; `row` as corrections.csv names it."""
    misprints = corrections(number)
    match = misprints[(misprints["printed"] == printed) & (misprints["row"] == str(row if row else printed))]
    return match["right"].iloc[0] if len(match) else printed


def is_misprint(number, model, variant, split):
    """Return whether corrections.csv lists an accuracy of Table 6 or 8 as a misprint."""
    misprints, row = corrections(number), f"{model}, {HEADINGS[variant]}"
    return bool(((misprints["row"] == row) & (misprints["column"] == split)).any())


def column_of(number, split):
    """The column of Table 4, 6 or 8 that has a split's accuracies.

    The headings of Table 4 name other splits than the released logs; see corrections.csv.
    """
    return SPLIT_COLUMNS.get(number, {}).get(split, split)


def printed_layers(number):
    """Tables 1 to 3 as a list of `Layer`, misprints corrected, without the row of totals."""
    rows = []
    for i, row in enumerate(table(number).itertuples(), 1):
        if row.type != "Total":
            shape = [int(n) for n in row.output.split(" x ")]
            rows.append(Layer(*shape, *map(int, corrected(number, row.parameters, i).split("+"))))
    return rows


@cache
def caltech101_classes():
    """Number of images of each class of Caltech-101, a Series by name. The count is ours; the paper prints none."""
    return pd.read_csv(PRINTED / "caltech101_classes.csv", comment="#", index_col="class")["images"]


_BACKBONE_OF = {backbone.title: name for name, backbone in BACKBONES.items()}
