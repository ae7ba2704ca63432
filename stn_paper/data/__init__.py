"""Images and splits: `load` reads a dataset, `split` divides it."""

from .datasets import load, split

__all__ = ["load", "split"]
