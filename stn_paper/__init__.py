"""Executable companion of "An Improved Spatial Transformer Network based on Lightweight Localization Net".

The networks are imported with the package; training and measuring are imported when they are first used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

# Waiting threads of torch give their core to other processes after a short time; torch reads this when it is loaded.
# Beside two other trainings a run took 69 seconds instead of 125; alone it took as long as without.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from .errors import needing
from .models import build_model, with_stn
from .models.transformer import SpatialTransformer

if TYPE_CHECKING:
    from .models import costs
    from .training import find, run
    from .training.kept import load
    from .training.spec import RunSpec

__all__ = ["RunSpec", "SpatialTransformer", "build_model", "costs", "find", "load", "run", "with_stn"]

_LATER = {  # name -> the module that holds it
    "RunSpec": "training.spec",
    "costs": "models.costs",
    "find": "training",
    "load": "training.kept",
    "run": "training",
}


def __getattr__(name):
    """Import the name's module at its first use."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needing("train"):
        module = import_module(f".{_LATER[name]}", __name__)
    value = module if name == "costs" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
