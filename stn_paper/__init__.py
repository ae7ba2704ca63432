"""Executable companion of "An Improved Spatial Transformer Network based on Lightweight Localization Net".

Each name is imported when it is first used, so that the command line answers before torch is loaded.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

# With this setting, waiting threads of torch soon release their core; torch reads it when it is loaded.
# Next to two other trainings, a run took 69 seconds instead of 125. Alone, the setting changed nothing.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from .errors import needing

if TYPE_CHECKING:
    from .models import build_model, costs, with_stn
    from .models.transformer import SpatialTransformer
    from .training import find, run
    from .training.kept import load
    from .training.spec import RunSpec

__all__ = ["RunSpec", "SpatialTransformer", "build_model", "costs", "find", "load", "run", "with_stn"]

_LATER = {  # name -> the module that defines it; for a module, the module itself
    "RunSpec": "training.spec",
    "SpatialTransformer": "models.transformer",
    "build_model": "models",
    "costs": "models.costs",
    "find": "training",
    "load": "training.kept",
    "models": "models",
    "run": "training",
    "with_stn": "models",
}


def __getattr__(name):
    """Import the name's module at its first use."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needing("train"):
        module = import_module(f".{_LATER[name]}", __name__)
    value = module if _LATER[name].endswith(name) else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
