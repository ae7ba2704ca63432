"""The page of the paper's claims: how many have which verdict, and what follows, in words."""

from ..analysis import claims
from ..analysis.claims import costs, whole
from ..analysis.claims.verdicts import SECTIONS, VERDICTS
from . import experiment_page


def summary():
    """How many claims of each section have which verdict, and what a verdict rests on in the last row's stead."""
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
