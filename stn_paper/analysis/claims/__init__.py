"""The paper's claims, one by one: its sentence, a verdict, the numbers behind it and where they stand.

Every verdict is computed when a page asks for it, from the printed tables, our measured costs, the run
records and what the authors released. A new claim is a function under `@claim` in `networks` or
`accuracy`; they stand here in the order of SECTIONS.
"""

from collections import Counter

import pandas as pd

from .. import experiment
from . import accuracy, networks
from .verdicts import CHECKED, FAILS, SECTIONS, VERDICTS

CLAIMS = tuple(sorted(CHECKED, key=lambda c: list(SECTIONS).index(c.section)))


def as_table(section=None):
    """The claims of a section (a key of SECTIONS), or all, with what was found, numbered as in CLAIMS."""
    chosen = {i: c for i, c in enumerate(CLAIMS, 1) if section in (None, c.section)}
    found = [c.check() for c in chosen.values()]
    quotes = [f"“{c.quote}” ({c.where})" for c in chosen.values()]
    columns = ["The paper says", "Verdict", "The numbers", "From"]
    rows = [[quote, f.verdict, f.evidence, f.source] for quote, f in zip(quotes, found)]
    return pd.DataFrame(rows, columns=columns, index=list(chosen))


def summary(found=None):
    """How many claims of each section got which verdict; `found` is what `as_table()` gave, if at hand."""
    verdicts = (as_table() if found is None else found)["Verdict"]
    rows = {}
    for section in SECTIONS:
        counts = Counter(v for v, c in zip(verdicts, CLAIMS) if c.section == section)
        rows[_short(section)] = {v: counts[v] for v in VERDICTS} | {"claims": counts.total()}
    view = pd.DataFrame(rows).T
    view.loc["All"] = view.sum()
    return view


def verdict():
    """The page's conclusion in words, as Markdown."""
    found = as_table()
    counts = summary(found)
    costs, reached = (
        counts.loc[[_short(s) for s in of]].sum() for of in (["costs"], ["caltech101", "cifar10"])
    )
    cause = accuracy.benefit()
    failing = found[found["Verdict"] == FAILS]
    return "\n".join(
        [
            f"Of {len(CLAIMS)} claims: {_counted(counts.loc['All'])}.",
            "",
            f"- **Costs** ({costs['claims']} claims: {_counted(costs)}). {networks.one_third().evidence}",
            f"- **Accuracies as printed** ({reached['claims']} claims on Tables 6 and 8: "
            f"{_counted(reached)}). {accuracy.leads().evidence}",
            f"- **Does the transformer raise the accuracy?** Verdict on the claim at the paper's scale: "
            f"{cause.verdict}. {cause.evidence}",
            f"- **The experiment, at the scale of two processor cores.** {experiment.summary()}",
            f"- **What {FAILS}**: "
            f"{'; '.join(f'{i}, {quote}' for i, quote in failing['The paper says'].items())}.",
        ]
    )


def _counted(counts):
    return ", ".join(f"{counts[v]} “{v}”" for v in VERDICTS if counts[v])


def _short(section):
    return SECTIONS[section].split(" (")[0]
