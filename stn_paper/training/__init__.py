"""One training run: `run` trains it unless its record exists, `find` reads the record."""

from .loop import run
from .records import find

__all__ = ["find", "run"]
