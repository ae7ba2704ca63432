"""Parts of sentences and tables that several pages use."""

import pandas as pd

NO_NUMBER = "–"  # a cell of a table without a number


def join_words(words, last_joint=" and "):
    """Words as a list in a sentence.

    >>> join_words(["STN", "V-STN", "L-STN"])
    'STN, V-STN and L-STN'
    """
    *first, last = words or [""]
    return f"{', '.join(first)}{last_joint}{last}" if first else last


def p_text(value):
    """Return a p value as the text of a table's cell.

    >>> p_text(0.02), p_text(0.0001)
    ('0.020', 'under 0.001')
    """
    return NO_NUMBER if pd.isna(value) else "under 0.001" if value < 0.001 else f"{value:.3f}"
