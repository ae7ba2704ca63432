"""The error for wrong input of a user, and the checks that raise it.

Every module that takes a name or a number from a user calls them.
"""

import math
import pickle
import struct
import zlib
from collections.abc import Iterable
from contextlib import contextmanager
from numbers import Integral
from tokenize import TokenError
from zipfile import BadZipFile

UNREADABLE = (  # errors that readers of damaged files raise
    *(
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        OSError,
        RuntimeError,
        SyntaxError,
    ),
    *(TypeError, ValueError, BadZipFile, pickle.UnpicklingError, struct.error, TokenError, zlib.error),
)


class InputError(ValueError):
    """A wrong value from the user: its message is one sentence naming the value and what is allowed."""

    def __init__(self, sentence):
        super().__init__(printable(sentence))

    def _render_traceback_(self):
        """Show only the sentence in Jupyter and papermill: the value is wrong, not the code."""
        return [f"{type(self).__name__}: {self}"]


def is_from_handler(error: Exception) -> bool:
    """Whether a signal's handler raised the error: unlike a TimeoutError of a disk or network, it has no errno."""
    return isinstance(error, TimeoutError) and error.errno is None


def printable(text: str) -> str:
    """Return `text` on one line, with all characters escaped that a terminal, file or page may not show.

    File names may contain line breaks, and bytes that are not UTF-8.
    """
    odd = {c: c.encode("unicode_escape").decode() for c in set(str(text)) if not c.isprintable()}
    return str(text).translate(str.maketrans(odd))


@contextmanager
def needing(extra):
    """Context: if the block imports a package that is not installed, name the extra that installs it.

    Raises ModuleNotFoundError with one sentence.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "stn_paper":
            raise
        sentence = f"Package {missing!r} is not installed: `pip install 'stn-paper[{extra}]'` installs it."
        raise ModuleNotFoundError(sentence, name=error.name) from None


def check_choice(kind: str, value, allowed: Iterable):
    """Return `value` if it is one of `allowed`, else raise InputError naming both."""
    try:
        known = value in allowed
    except TypeError:  # a list or a dict, say
        known = False
    if not known:
        raise InputError(f"Unknown {kind} {value!r}: choose one of {', '.join(map(str, allowed))}.")
    return value


def check_whole_number(kind: str, value, least: int = 1, most: float = math.inf) -> int:
    """Return `value` as an int if it is a whole number from `least` to `most`, else raise InputError.

    NumPy's whole numbers are allowed.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= value <= most:
        to = f" to {most}" if most < math.inf else ""
        raise InputError(f"{kind} {value!r} is not allowed: give a whole number from {least}{to}.")
    return int(value)
