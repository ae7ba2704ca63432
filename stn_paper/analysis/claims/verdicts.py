"""What the checks of the paper's claims share: `@claim`, the verdicts, and the printed numbers as numbers.

`networks` and `accuracy` hold the checks, `claims` lists them.
"""

import re
from functools import partial
from typing import NamedTuple

from .. import paper

HOLDS, PART, FAILS, UNTESTED = VERDICTS = ("holds", "holds in part", "fails", "cannot be tested here")
SECTIONS = {
    "nets": "The localization nets (sections 2 and 3)",
    "costs": "What they cost (Tables 4, 5, 7 and 9)",
    "data": "Images and training (sections 4.1 and 4.2)",
    "tsrd": "Traffic signs (Table 4)",
    "caltech101": "Caltech-101 (Table 6)",
    "cifar10": "CIFAR-10 (Table 8)",
    "whole": "The whole (abstract and conclusions)",
}
SLIGHTLY = 0.1  # what "slightly" is read as: by less than a tenth
MEASURED = "results/costs.csv"
RELEASED = "author_runs.csv"


class Finding(NamedTuple):
    verdict: str  # one of VERDICTS
    evidence: str  # a sentence or two with the numbers
    source: str  # the table, file or records that they stand in


class Claim(NamedTuple):
    section: str  # a key of SECTIONS
    where: str  # in the paper
    quote: str  # from the paper, " … " where words are left out
    check: callable  # () -> Finding


CHECKED = []  # every claim, as its check is defined


def claim(section, where, quote):
    """Make the decorated function, () -> Finding, the check of this quote from the paper."""

    def add(check):
        CHECKED.append(Claim(section, where, quote, check))
        return check

    return add


# --- what the checks have in common -------------------------------------------------------------


def judge(cases):
    """The verdict on a claim about all of `cases` (booleans): in part where most of them agree."""
    cases = [bool(case) for case in cases]
    return HOLDS if all(cases) else PART if 2 * sum(cases) > len(cases) else FAILS


def parts(*truths):
    """The verdict on a claim of several parts: in part where at least one is true."""
    return HOLDS if all(truths) else PART if any(truths) else FAILS


def accuracies(number, split="test"):
    """The printed accuracies of Table 6 or 8: a row a model, a column a variant."""
    cells = paper.table(number)
    pivot = cells.pivot(index="model", columns="variant", values=split).astype(float)
    return pivot.loc[cells["model"].unique(), cells["variant"].unique()]


def difference(number, variant, against, split="test"):
    """Printed accuracy of one variant minus another's, in points; a value a model."""
    cells = accuracies(number, split)
    return (cells[variant] - cells[against]).round(2)


def printed_costs(number):
    """Table 5, 7 or 9 as numbers: `parameters` and `gflops`, a row a model, a column a variant."""
    cells = paper.table(number).astype({"parameters": int, "gflops": float})
    models = cells["model"].unique()
    pivot = partial(cells.pivot, index="model", columns="variant")
    return pivot(values="parameters").loc[models], pivot(values="gflops").loc[models]


def span(values, form="+.2f"):
    """The smallest and the largest of a Series and whose they are."""
    return f"{values.min():{form}} ({values.idxmin()}) to {values.max():{form}} ({values.idxmax()})"


def few(values):
    """The smallest and the largest of some whole numbers, or the one that all of them are."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def count(cases):
    """How many of some booleans are true, as text."""
    cases = [bool(case) for case in cases]
    return f"{sum(cases)} of {len(cases)}"


def numbers(quote):
    """Every number in a quote."""
    return [float(n) for n in re.findall(r"\d+(?:\.\d+)?", quote)]


def totals():
    """The printed totals of Tables 1 to 3, by variant."""
    return {v: int(paper.table(n)["parameters"].iloc[-1]) for n, v in paper.LOCALIZATION_TABLES.items()}
