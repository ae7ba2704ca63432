"""Images and splits: `load_images` reads a dataset, `split` divides it."""

from .datasets import load_images, split

__all__ = ["load_images", "split"]
