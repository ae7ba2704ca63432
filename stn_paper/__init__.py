"""Executable companion of "An Improved Spatial Transformer Network based on Lightweight Localization Net"."""

from . import costs
from .models import build_model, with_stn
from .protocol import RunSpec
from .results import find
from .training import run
from .transformer import SpatialTransformer

__all__ = ["RunSpec", "SpatialTransformer", "build_model", "costs", "find", "run", "with_stn"]
