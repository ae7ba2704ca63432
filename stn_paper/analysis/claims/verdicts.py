"""Helpers of the checks of the paper's claims: `@claim`, the verdicts, and the printed tables as numbers.

Each check is a function in another module of this package. `CHECKED` holds all checks.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from ...data.datasets import DATASETS
from ...models import HEADINGS
from ...models.backbones import title
from ...training.presets import PAPER_SIZE
from .. import author_runs, cost_tables, effects, experiment, paper, statistics

REPRODUCED, NOT_REPRODUCED = "reproduced here", "not reproduced here"
AGREES, DISAGREES = (
    "agrees with the paper's tables or release",
    "disagrees with the paper's tables or release",
)
MISPRINT, OPEN = "misprint", "open"
VERDICTS = {  # verdict -> what it rests on
    REPRODUCED: "our own costs, records or counts confirm it",
    NOT_REPRODUCED: "our own costs, records or counts contradict it",
    AGREES: "the paper's tables or the author's release confirm it; our runs do not decide it",
    DISAGREES: "the paper's tables or the author's release contradict it",
    MISPRINT: "the printed number or word is a slip, as the paper or the release shows",
    OPEN: "no run so far decides it",
}
SECTIONS = {
    "nets": "The localization nets (sections 2 and 3)",
    "costs": "What they cost (Tables 4, 5, 7 and 9)",
    "data": "Images and training (sections 4.1 and 4.2)",
    "tsrd": "Traffic signs (Table 4)",
    "caltech101": "Caltech-101 (Table 6)",
    "cifar10": "CIFAR-10 (Table 8)",
    "whole": "The whole (abstract and conclusions)",
}
SLIGHTLY = 0.1  # "slightly" is read as by less than a tenth
COSTS_FILE = "results/costs.csv"
RELEASE_FILE = "author_runs.csv"  # the author's release


class Finding(NamedTuple):
    """The result of a claim's check."""

    verdict: str  # one of VERDICTS
    evidence: str  # a sentence or two with the numbers
    source: str  # the table, file or records that the numbers are from


class Claim(NamedTuple):
    """A claim: a sentence of the paper, its place there, and the function that judges it."""

    section: str  # a key of SECTIONS
    where: str  # its section or table in the paper
    quote: str  # from the paper, " … " where words are left out
    check: Callable[[], "Finding"]


CHECKED = []  # every claim, as its check is defined


def claim(section, where, quote):
    """Make the decorated function, () -> Finding, the check of this quote from the paper."""

    def add(check):
        CHECKED.append(Claim(section, where, quote, check))
        return check

    return add


# --- what the checks have in common -------------------------------------------------------------


def by_tables(*cases):
    """AGREES if all cases (booleans, or Series of booleans) hold in the paper's tables, else DISAGREES."""
    return AGREES if _all(cases) else DISAGREES


def by_ours(*cases):
    """Return REPRODUCED if all cases are true, else NOT_REPRODUCED; a case is a boolean or a Series of booleans."""
    return REPRODUCED if _all(cases) else NOT_REPRODUCED


def _all(cases):
    return all(bool(pd.Series(case).all()) for case in cases)


def is_most(cases):
    """Whether more than half of the booleans are true: how "most" is read."""
    cases = [bool(case) for case in cases]
    return 2 * sum(cases) > len(cases)


def printed_accuracies(number, split="test"):
    """The printed accuracies of Table 6 or 8: a row a model, a column a variant."""
    cells = paper.table(number)
    return _wide(cells, split).astype(float)[cells["variant"].unique()]


def _wide(cells, column):
    """A column of a table's cells: a row a model in the table's order, a column a variant."""
    return cells.pivot(index="model", columns="variant", values=column).loc[cells["model"].unique()]


def printed_gains(number, variant, against, split="test"):
    """Printed accuracy of one variant minus another's, in points; a value a model."""
    cells = printed_accuracies(number, split)
    return (cells[variant] - cells[against]).round(2)


def printed_costs(number):
    """Return two frames of Table 5, 7 or 9, parameters and GFLOPS: a row a model, a column a variant."""
    cells = paper.table(number).astype({"parameters": int, "gflops": float})
    return _wide(cells, "parameters"), _wide(cells, "gflops")


def bypassed_note(number, *variants):
    """A sentence: how many released cells of Table 6 or 8 with these variants bypass the transformer."""
    cells = author_runs.released_cells(number)
    bypassed, logged = author_runs.count_bypassed(cells[cells["variant"].isin(variants)])
    *first, last = (HEADINGS[variant] for variant in variants)
    names = f"{', '.join(first)} or {last}" if first else last
    return (
        f" Of the {logged} released cells of Table {number} with {names}, {bypassed} bypass the transformer."
    )


def measured_costs(number):
    """Return our parameters and GFLOPS of Table 5, 7 or 9: two frames, as `printed_costs` returns them."""
    cells = cost_tables.compare_costs(number)
    return _wide(cells, "our_parameters"), _wide(cells, "our_gflops")


def judge_by_runs(number, variant, against):
    """Judge a variant of Table 6 or 8 against another by our runs at the paper's scale; cite the studies.

    The protocol is `paper` or `equal`: the protocol at which more networks have three runs of both variants. OPEN until
    these are more than half of the table's networks. Then REPRODUCED if the variant is better in more than half of the
    table's networks, else NOT_REPRODUCED. A network with a collapsed run of the variant does not count as better.
    """
    dataset, backbones = paper.DATASET_OF[number], set(paper.table(number)["backbone"])
    enough, up, used = 0, 0, None
    for protocol in PAPER_SIZE:
        found = effects.rows_of_pair(effects.comparisons_by_backbone(dataset, protocol), variant, against)
        found = found[found["backbone"].isin(backbones) & ~found["left_out"].astype(bool)]
        found = found[found[["runs", "runs_against"]].min(axis=1) >= statistics.FEWEST_RUNS]
        if len(found) > enough:
            better = found["shown"].str.startswith(statistics.BETTER) & (found["collapsed"] == 0)
            enough, up, used = len(found), int(better.sum()), protocol
    verdict = OPEN if 2 * enough <= len(backbones) else by_ours(2 * up > len(backbones))
    text = f"{enough} of the {len(backbones)} networks have three runs of both variants at the paper's image size"
    text += f" (protocol `{used}`); {HEADINGS[variant]} is better in {up} of them." if used else "."
    return Finding(
        verdict,
        f"{text} {studies_in_words(variant, against)}",
        f"records of {DATASETS[dataset].title}; the experiment's page",
    )


def studies_in_words(variant, against):
    """The verdicts of the experiment's studies on a variant against another, as a sentence."""
    shown = {}
    for study, rows in experiment.comparisons_by_study(experiment.STUDIES).items():
        for word in effects.rows_of_pair(rows, variant, against)["shown"]:
            shown.setdefault(word, []).append(f"{title(study[1])} on {DATASETS[study[0]].title}")
    if not shown:
        return "No smaller study has runs of both variants yet."
    texts = [f"{word} for {' and '.join(where)}" for word, where in shown.items()]
    return f"The verdicts of our smaller studies: {'; '.join(texts)}."


def named_range(values, form="+.2f"):
    """The smallest and the largest value of a Series as text, each with its name."""
    return f"{values.min():{form}} ({values.idxmin()}) to {values.max():{form}} ({values.idxmax()})"


def count_true(cases):
    """Return "3 of 7" for seven booleans of which three are true."""
    cases = [bool(case) for case in cases]
    return f"{sum(cases)} of {len(cases)}"


def numbers_in(quote):
    """Every number in a quote."""
    return [float(n) for n in re.findall(r"\d+(?:\.\d+)?", quote)]


def printed_totals():
    """The printed totals of Tables 1 to 3, by variant."""
    return {v: int(paper.table(n)["parameters"].iloc[-1]) for n, v in paper.LOCALIZATION_TABLES.items()}
