"""How the paper's accuracies were made, by the author's released notebooks and logs: `printed/author_runs.csv`.

A row is a cell of Table 4, 6 or 8; the file's first lines name the source. The author may have run other code than
they released, so every table says "as released".
"""

from functools import cache

import pandas as pd

from ..data.datasets import DATASETS
from ..models import HEADINGS, ORIGINAL
from ..paths import PRINTED
from .paper import COSTS_OF, DATASET_OF, networks, table
from .statistics import NO_NUMBER, range_text

AT_BEST, OF_FIVE, OF_FIFTEEN = "test_at_best", "best_test_of_5", "best_test_of_15"
RULE_MEANINGS = {
    AT_BEST: "test accuracy at the best validation epoch",
    OF_FIVE: "a higher one: the best test accuracy of the 5 best validation epochs",
    OF_FIFTEEN: "a higher one still: the best test accuracy of the 15 best validation epochs",
    "other": "none of these",
    "lost": "the log is not in the release",
}
ROUNDING = 0.0051  # points; accuracies that differ by less are the same to two decimals


@cache
def _release():
    return pd.read_csv(PRINTED / "author_runs.csv", comment="#")


def released_cells(number):
    """The released notebook of each cell of Table 4, 6 or 8, with the printed numbers of the cell.

    Columns: all of author_runs.csv, the printed accuracies as numbers, and `printed_parameters`.
    """
    printed = networks(number).drop(columns="backbone")
    cost = table(COSTS_OF[number]).rename(columns={"parameters": "printed_parameters"})
    keys = ["model"] if number == 4 else ["model", "variant"]
    cells = printed.drop(columns=["parameters", "gflops"], errors="ignore")
    cells = cells.merge(cost[[*keys, "printed_parameters"]], on=keys)
    numbers = [c for c in cells if c not in ("model", "variant")]
    cells[numbers] = cells[numbers].astype(float)
    released = _release()
    return cells.merge(released[released["table"] == number], on=["model", "variant"], validate="1:1")


def same_accuracy(a, b):
    """Whether two accuracies agree to two decimals; False where one of them is missing."""
    return (a - b).abs() < ROUNDING


def matching_rules(number):
    """The selection rule, a key of RULE_MEANINGS, that gives each cell's test accuracy in Table 6 or 8: a Series.

    Of several rules, it is the simplest: AT_BEST before OF_FIVE before OF_FIFTEEN.
    """
    cells = released_cells(number)
    rules = pd.Series("other", index=cells.index)
    rules[cells["best_validation"].isna()] = "lost"
    for rule in (OF_FIFTEEN, OF_FIVE, AT_BEST):
        rules[same_accuracy(cells["test"], cells[rule])] = rule
    return rules


def count_rules():
    """Count the printed test accuracies of Tables 6 and 8 that each selection rule gives; a row a rule."""
    counts = {
        f"Table {n}": matching_rules(n).value_counts().reindex(RULE_MEANINGS, fill_value=0) for n in (6, 8)
    }
    view = pd.DataFrame(counts)
    view["both"] = view.sum(axis=1)
    view.loc["all"] = view.sum()
    return view.rename(index=RULE_MEANINGS).rename_axis(None)


def budgets():
    """Epochs, early stopping, batch sizes and bypassed transformers as released: a row a variant of Tables 6 and 8."""
    rows = []
    for number in (6, 8):
        for variant, cells in released_cells(number).groupby("variant", sort=False):
            early = (cells["epochs_run"] < cells["max_epochs"]).sum()
            batches = ", ".join(map(str, sorted(cells["batch_size"].unique())))
            bypassed = count_bypassed(cells)
            rows.append(
                {
                    "Table": f"{number}, {DATASETS[DATASET_OF[number]].title}",
                    "Variant": HEADINGS[variant],
                    "Epochs run": range_text(cells["epochs_run"]),
                    "Ended early": f"{early} of {cells['epochs_run'].count()}",
                    "Floor": range_text(cells["min_epochs"]),
                    "Batches of": batches,
                    "Bypassed": "{} of {}".format(*bypassed) if bypassed[1] else NO_NUMBER,
                }
            )
    return pd.DataFrame(rows).set_index(["Table", "Variant"])


def budget_share(dataset, variant):
    """The original networks' mean number of epochs divided by the variant's, as released.

    For CIFAR-10 the numbers of epochs are those of Table 8, for any other dataset those of Table 6.
    """
    mean = released_cells(8 if dataset == DATASET_OF[8] else 6).groupby("variant")["epochs_run"].mean()
    return mean[ORIGINAL] / mean[variant]


def count_bypassed(cells):
    """Return how many of these `released_cells` bypass their transformer, and of how many the notebook says whether."""
    applied = cells["transform_applied"].dropna()
    return int((applied == "no").sum()), len(applied)


def release_totals():
    """Four counts of Tables 6 and 8, as released.

    Cells whose transformer is bypassed, all cells with a transformer, accuracies that the test images helped to
    choose, and cells whose log is in the release.
    """
    pairs = [count_bypassed(released_cells(number)) for number in (6, 8)]
    rules = pd.concat([matching_rules(number) for number in (6, 8)])
    counts = rules.value_counts().reindex(RULE_MEANINGS, fill_value=0)
    bypassed, cells = (sum(column) for column in zip(*pairs))
    return bypassed, cells, int(counts[OF_FIVE] + counts[OF_FIFTEEN]), int(counts.sum() - counts["lost"])


def cells_of_other_networks():
    """Cells of Tables 6 and 8 whose log states another number of parameters than the paper prints."""
    rows = []
    for number in (6, 8):
        cells = released_cells(number).dropna(subset="parameters")
        for cell in cells[cells["parameters"] != cells["printed_parameters"]].itertuples():
            printed = int(cell.printed_parameters)
            rows.append(
                {
                    "Cell": f"Table {number}, {cell.model}, {HEADINGS[cell.variant]}",
                    f"Printed in Table {COSTS_OF[6]} or {COSTS_OF[8]}": f"{printed:,}",
                    "In the log": f"{int(cell.parameters):,}",
                    "Difference": f"{int(cell.parameters) - printed:+,}",
                }
            )
    return pd.DataFrame(rows).set_index("Cell").rename_axis(None)
