"""Parts of sentences and tables that several pages use."""

NO_NUMBER = "–"  # a cell of a table without a number


def join_words(words, last_joint=" and "):
    """Words as a list in a sentence.

    >>> join_words(["STN", "V-STN", "L-STN"])
    'STN, V-STN and L-STN'
    """
    *first, last = words or [""]
    return f"{', '.join(first)}{last_joint}{last}" if first else last
