"""The page of the paper's claims: how many have which verdict, and what follows, in words."""

import pandas as pd

from ..analysis import authors_runs, claims
from ..analysis.claims import costs, whole
from ..analysis.claims.verdicts import SECTIONS, VERDICTS
from ..models import ORIGINAL
from . import experiment_page


def summary():
    """How many claims of each section have which verdict, and of all."""
    found = claims.counts()
    view = found.assign(claims=found.sum(axis=1)).rename(index=lambda key: SECTIONS[key].split(" (")[0])
    view.loc["All"] = view.sum()
    return view


def meanings():
    """What each verdict means, as Markdown."""
    return "\n".join(f"- **{verdict}**: {meaning}." for verdict, meaning in VERDICTS.items())


def verdict():
    """The page's conclusion in words, as Markdown."""
    counts = claims.counts().sum()
    told = ", ".join(f"{number} “{name}”" for name, number in counts.items() if number)
    less = costs.two_thirds()
    return "\n".join(
        [
            f"Of {counts.sum()} claims: {told}.",
            "",
            f"- **Costs**: that L-STN saves two thirds of STN's operations is {less.verdict}. {less.evidence}",
            f"- **Accuracies as printed**: that L-STN leads {whole.leads().verdict}; the printed gains are of "
            "trainings of different length, and most of their transformers are bypassed, as released.",
            f"- **Is L-STN better than STN?** At the paper's scale: {whole.boost().verdict}. At a smaller scale: "
            f"{experiment_page.answer()}.",
        ]
    )


def release_verdict():
    """What follows from these counts, and what does not, as Markdown."""
    found = (
        pd.concat([authors_runs.rules(n) for n in (6, 8)])
        .value_counts()
        .reindex(authors_runs.RULES, fill_value=0)
    )
    *_, by_test, logs = authors_runs.totals()
    six, eight = (authors_runs.unused(authors_runs.runs(n)) for n in (6, 8))
    cells = authors_runs.runs(6)
    first, last = (authors_runs.span(cells[cells["variant"] == v]["epochs_run"]) for v in (ORIGINAL, "lstn"))
    return "\n".join(
        [
            f"- **Selection.** Of {logs} cells with a log, {found[authors_runs.BEST]} report the test accuracy at the "
            f"best validation epoch and {by_test} a higher one that the test images helped to choose; "
            f"{found['other']} match no rule.",
            f"- **Budget.** In Table 6 as released, the original networks ran for {first} epochs and those "
            f"with L-STN for {last}. A difference between columns is therefore not of the transformer alone.",
            f"- **Which network.** {len(authors_runs.unlike())} of {logs} logs are of a network with another number of "
            f"parameters than is printed for the cell.{_densenet()}",
            f"- **Transformer.** In {six[0]} of {six[1]} transformer cells of Table 6 and {eight[0]} of "
            f"{eight[1]} of Table 8, the network goes on with the untouched image, as released: the "
            "localization net then gets no gradient, and what it predicts changes nothing.",
            "- **Not known.** Whether the notebooks are as they were when the numbers were made: what was "
            "released may differ from what was run. No seed is stated and one log a cell is released, so "
            "that no interval can be given.",
        ]
    )


def _densenet():
    """A sentence on the log of DenseNet-121 without a transformer, if it counts what STN's would."""
    cells = authors_runs.runs(8).set_index(["model", "variant"]).loc["DenseNet-121"]
    more = cells.loc[ORIGINAL, "parameters"] - cells.loc["vstn", "parameters"]
    if more != cells.loc["stn", "printed_parameters"] - cells.loc["vstn", "printed_parameters"]:
        return ""
    return (
        f" The log of DenseNet-121 without a transformer on CIFAR-10 counts {more:.0f} parameters more than "
        "its V-STN log, as many as Table 7 gives STN beyond V-STN."
    )
