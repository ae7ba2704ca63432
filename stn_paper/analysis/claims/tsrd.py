"""Claims about the accuracies of Table 4, on TSRD."""

from itertools import combinations
from statistics import NormalDist

import numpy as np
import pandas as pd

from ...data.datasets import DATASETS
from ...models.backbones import title
from ...training.presets import PAPER_SIZE
from .. import accuracy, author_runs, paper, statistics
from .verdicts import (
    AGREES,
    MISPRINT,
    NOT_REPRODUCED,
    RELEASE_FILE,
    REPRODUCED,
    Finding,
    by_ours,
    by_tables,
    claim,
    count_true,
)


@claim("tsrd", "4.3.A", "the accuracy of all models is well above 98%")
def above_98():
    """Our runs decide if more than half of the networks have a run; until then, the paper's own table decides.

    Reproduced: each network with a run reaches WELL_ABOVE_98 on images without a copy. Not reproduced: some network
    does not, and all runs have the paper's image size. Otherwise the paper's own table decides.
    """
    cells = paper.table(4).set_index("model")[["training", "validation"]].astype(float)
    limit, ours = accuracy.WELL_ABOVE_98, tsrd_runs()
    above = cells.min(axis=1) >= limit
    text = (
        f"“Well above 98%” is read as {limit:.0f} % or more. In the paper's Table 4, {count_true(above)} models reach "
        "it in both columns. "
    )
    if 2 * len(ours) <= len(cells):
        return Finding(by_tables(above), f"{text}{len(ours)} of these models have a run of ours.", "Table 4")
    reached, without = ours["test"] >= limit, ours["without_copy"] >= limit
    at_scale = ours["protocol"].isin(PAPER_SIZE).all()
    return Finding(
        REPRODUCED if without.all() else NOT_REPRODUCED if at_scale else by_tables(above),
        f"{text}In our runs{'' if at_scale else ', at smaller sizes,'} {count_true(reached)} networks reach it "
        f"on all test images, and {without.sum()} on the test images that have no identical training image.",
        "Table 4, records of TSRD",
    )


def tsrd_runs():
    """The rows of `accuracy.cells` for Table 4, by model, that have an accuracy on test images without a copy."""
    cells = accuracy.cells(4).set_index("model")
    return cells[cells["without_copy"].notna()]


@claim("tsrd", "Table 4", "Training Error … Validation Error")
def errors():
    logs = author_runs.released_cells(4)
    logged = logs[logs["best_validation"].notna()]
    columns = {
        paper.column_of(4, "validation"): "best_validation",
        paper.column_of(4, "test"): author_runs.AT_BEST,
    }
    same = pd.concat(
        [author_runs.same_accuracy(logged[a], logged[b]) for a, b in columns.items()], axis=1
    ).all(axis=1)
    low, high = (getattr(logs[[*columns]], pick)(axis=None) for pick in ("min", "max"))
    return Finding(
        MISPRINT if low > 50 else AGREES,
        f"The numbers are {low:.2f} to {high:.2f} and so are accuracies, not errors. By the released logs, the first "
        "column is the highest validation accuracy and the second the test accuracy at that epoch in "
        f"{count_true(same)} rows.",
        f"Table 4, {RELEASE_FILE}",
    )


@claim("tsrd", "4.3.A", "not model with the most parameters perform the best")
def not_the_largest():
    """Our runs decide if all have the paper's image size; else the paper's table decides, and ours are mentioned."""
    cells = paper.table(4).astype({"parameters": int, "validation": float}).set_index("model")
    largest, best = cells["parameters"].idxmax(), cells["validation"].idxmax()
    ours, text, verdict = tsrd_runs(), "", by_tables(largest != best)
    if len(ours) >= statistics.RANKED and largest in ours.index:
        highest = ours["without_copy"].round(2)
        mine = [*highest.index[highest == highest.max()]]
        names = [_our_name(model, ours.loc[model, "backbone"]) for model in mine]
        if ours["protocol"].isin(PAPER_SIZE).all():
            verdict = by_ours(largest not in mine)
        text = (
            f" Of our {len(ours)} networks, {' and '.join(names)} {'has' if len(mine) == 1 else 'have'} the highest "
            f"accuracy on test images without an identical training image, {highest.max():.2f} %."
        )
    return Finding(
        verdict,
        f"{largest} has the most parameters ({cells.loc[largest, 'parameters']:,}) and an accuracy of "
        f"{cells.loc[largest, 'validation']:.2f} %. The highest accuracy is {cells.loc[best, 'validation']:.2f} %, by "
        f"{best} with {cells.loc[best, 'parameters']:,} parameters.{text}",
        "Table 4, records of TSRD" if text else "Table 4",
    )


def _our_name(printed, backbone):
    """Our name of a network of Table 4, with the printed name if it differs."""
    name = title(backbone)
    return name if name == printed else f"{name} (printed as {printed})"


@claim("tsrd", "4.3.A", "some smaller models even have higher accuracy")
def smaller_and_better():
    """The printed table decides. `sampling_gap` and our runs, mostly of one seed, are only mentioned."""
    cells = paper.table(4).astype({"parameters": int, "validation": float}).set_index("model")
    gaps, ours = smaller_gaps(cells["parameters"], cells["validation"]), tsrd_runs()
    ahead = {pair: gap for pair, gap in gaps.items() if gap > 0}
    chance = {pair: sampling_gap(*cells.loc[[*pair], "validation"], len(gaps)) for pair in ahead}
    clear = sum(ahead[pair] > chance[pair] for pair in ahead)
    text = ""
    if ahead:
        largest = max(ahead, key=ahead.__getitem__)
        text = (
            f" The largest gap is {ahead[largest]:.2f} points. Sampling alone gives equally good networks gaps of up "
            f"to {chance[largest]:.2f} points among so many pairs; {clear} pairs have a larger gap."
        )
    if len(ours) >= statistics.RANKED:
        mine = smaller_gaps(cells["parameters"], ours["without_copy"])
        in_front = sum(gap > 0 for gap in mine.values())
        pairs = f"{in_front} of {len(mine)} pairs"
        text += f" In our runs, on images without an identical training image, the smaller network leads in {pairs}."
    return Finding(
        by_tables(bool(ahead)),
        f"In {len(ahead)} of {len(gaps)} pairs of networks of one family, the smaller network has the higher printed "
        f"accuracy.{text}",
        "Table 4, “Validation Error”" + (", records of TSRD" if len(ours) >= statistics.RANKED else ""),
    )


def sampling_gap(first, second, tests=1):
    """Return the accuracy difference, in points, below which 95 % of pairs of equally good networks lie.

    `first` and `second` are accuracies in percent on TSRD's test images. With `tests` pairs, all of them lie below it
    in 95 % of samples (Bonferroni).
    """
    number = DATASETS["tsrd"].splits["test"]
    shares = np.array([first, second]) / 100
    z = NormalDist().inv_cdf(1 - statistics.LEVEL / 2 / tests)
    return float(100 * z * np.sqrt((shares * (1 - shares) / number).sum()))


def smaller_gaps(parameters, accuracies):
    """{(smaller, larger): accuracy of the smaller model minus the larger's, in points}, for all pairs of a family."""
    measured = accuracies.dropna()
    pairs = [
        sorted(p, key=parameters.get)
        for p in combinations(measured.index, 2)
        if _family(p[0]) == _family(p[1])
    ]
    return {(small, large): measured[small] - measured[large] for small, large in pairs}


def _family(model):
    return model.split("-")[0]
