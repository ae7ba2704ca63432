"""InputError, the error for wrong input of a user, and the checks that raise it."""

import math
import pickle
import struct
import zlib
from collections.abc import Iterable
from contextlib import contextmanager
from numbers import Integral, Real
from tokenize import TokenError
from zipfile import BadZipFile

LARGEST_SEED = 2**32 - 1  # NumPy takes no larger seed
UNREADABLE = (  # errors that Python's and NumPy's readers raise for damaged files
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
    """A wrong value from the user; the message is one sentence that names the value and the allowed values."""

    def __init__(self, sentence):
        super().__init__(printable(sentence))

    def _render_traceback_(self):
        """Show only the message in Jupyter and papermill, without a traceback: the value is wrong, not the code."""
        return [f"{type(self).__name__}: {self}"]


def is_from_handler(error: Exception) -> bool:
    """Return whether a signal handler raised the error: it is a TimeoutError without errno.

    A disk's TimeoutError has an errno. A socket's has none, so do not call this function with network errors.
    """
    return isinstance(error, TimeoutError) and error.errno is None


def printable(text: str) -> str:
    """Return `text` on one line; characters that a terminal, file or page may not show are escaped.

    File names may contain line breaks, and bytes that are not UTF-8.
    """
    odd = {c: c.encode("unicode_escape").decode() for c in set(str(text)) if not c.isprintable()}
    return str(text).translate(str.maketrans(odd))


@contextmanager
def needing(extra):
    """Context: if an import in the block fails, the error names the missing package and the extra that installs it.

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
    """Return `value` if it is one of `allowed`, else raise InputError; the error names both."""
    try:
        known = value in allowed
    except TypeError:  # for example a list, which has no hash
        known = False
    if not known:
        raise InputError(f"Unknown {kind} {value!r}: choose one of {', '.join(map(str, allowed))}.")
    return value


def is_finite_number(value) -> bool:
    """Return whether `value` is a finite number that a float can hold.

    NumPy's numbers are allowed; True, False and whole numbers of more than 308 digits are not.
    """
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def check_minutes(minutes: float) -> float:
    """Return the option --minutes of a command if it is above 0, else raise InputError; NaN is not above 0."""
    if not minutes > 0:
        raise InputError(f"--minutes {minutes:g} is not allowed: give a number above 0.")
    return minutes


def check_whole_number(kind: str, value, least: int = 1, most: float = math.inf) -> int:
    """Return `value` as an int if it is a whole number from `least` to `most`, else raise InputError.

    NumPy's integers are allowed; True and False are not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= value <= most:
        to = f" to {most}" if most < math.inf else ""
        raise InputError(f"{kind} {value!r} is not allowed: give a whole number from {least}{to}.")
    return int(value)
