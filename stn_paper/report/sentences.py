"""Parts of sentences that several pages use."""


def join_words(words, last_joint=" and "):
    """Words as a list in a sentence.

    >>> listed(["STN", "V-STN", "L-STN"])
    'STN, V-STN and L-STN'
    """
    *first, last = words or [""]
    return f"{', '.join(first)}{last_joint}{last}" if first else last
