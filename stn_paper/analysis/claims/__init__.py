"""The paper's claims, one by one: its sentence, a verdict, the evidence and its source.

Each verdict is computed when a page shows it. A verdict rests on the printed tables, our measured costs, the run
records and the author's release. A new claim is a function under `@claim` in the module of its section;
CLAIMS has the order of SECTIONS.
"""

import pandas as pd

from . import caltech101, cifar10, costs, data, nets, tsrd, whole  # noqa: F401
from .verdicts import CHECKED, SECTIONS, VERDICTS

CLAIMS = tuple(sorted(CHECKED, key=lambda c: list(SECTIONS).index(c.section)))


def as_table(section=None):
    """The claims of a section (a key of SECTIONS), or all claims, with their findings, numbered as in CLAIMS.

    Columns: The paper says, Verdict, The numbers, From.
    """
    chosen = {i: c for i, c in enumerate(CLAIMS, 1) if section in (None, c.section)}
    findings = [c.check() for c in chosen.values()]
    quotes = [f"“{c.quote}” ({c.where})" for c in chosen.values()]
    columns = ["The paper says", "Verdict", "The numbers", "From"]
    rows = [[quote, f.verdict, f.evidence, f.source] for quote, f in zip(quotes, findings)]
    return pd.DataFrame(rows, columns=columns, index=list(chosen))


def count_verdicts(claims=None):
    """Count the claims with each verdict: a row a section (key of SECTIONS), a column a verdict.

    `claims` is the result of `as_table()`; None computes it.
    """
    verdicts = (as_table() if claims is None else claims)["Verdict"]
    sections = [c.section for c in CLAIMS]
    table = pd.crosstab(pd.Series(sections, verdicts.index), verdicts)
    table = table.reindex(index=list(SECTIONS), columns=list(VERDICTS), fill_value=0)
    return table.rename_axis(index=None, columns=None)
