"""Parts of sentences and tables that several pages use."""

import pandas as pd

from ..analysis.effects import CONTROL
from ..analysis.frame import SEED_CONTROL
from ..analysis.statistics import MISSING, NO_NUMBER
from ..models import HEADINGS


def arm_title(arm):
    """The title of an arm of `effects` on a page."""
    return SEED_CONTROL if arm == CONTROL else HEADINGS[arm]


def pair_title(variant, against):
    """The title of the difference of two arms on a page: "L-STN − STN"."""
    return f"{arm_title(variant)} − {arm_title(against)}"


def join_words(words, last_joint=" and "):
    """Words as a list in a sentence.

    >>> join_words(["STN", "V-STN", "L-STN"])
    'STN, V-STN and L-STN'
    """
    *first, last = words or [""]
    return f"{', '.join(first)}{last_joint}{last}" if first else last


def count_text(number, noun):
    """A number and its noun, in the singular or the plural.

    >>> count_text(1, "epoch"), count_text(20, "epoch")
    ('1 epoch', '20 epochs')
    """
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def difference_text(comparison):
    """The mean of a `statistics.Comparison` with half of its interval, as text: "+1.50 ± 0.23"."""
    half = "" if pd.isna(comparison.half) else f" ± {comparison.half:.2f}"
    return NO_NUMBER if pd.isna(comparison.mean) else f"{comparison.mean:+.2f}{half}"


def p_text(value):
    """Return a p value as the text of a table's cell.

    >>> p_text(0.02), p_text(0.0001)
    ('0.020', 'under 0.001')
    """
    return NO_NUMBER if pd.isna(value) else "under 0.001" if value < 0.001 else f"{value:.3f}"


def table_or_missing(rows, names=None):
    """Rows {name: {column: cell}} as a table with the index `names`; without a row, the table says "not yet run"."""
    if not rows:
        return pd.DataFrame({"": [MISSING]}, index=[""])
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("")
    return table.rename_axis(names) if names else table
