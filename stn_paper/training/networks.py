"""Build the networks of runs, and check before any image is read whether they can take the run's images."""

from collections.abc import Iterable
from contextlib import suppress

import torch
from torch import nn

from ..errors import InputError
from ..models import ORIGINAL, RELEASED, build_model, with_stn
from ..models.backbones import TIMM, check_image_size
from ..models.small_nets import SYSTEMS
from .batches import MEMORY_FORMAT


def build_network(spec, num_classes, device):
    """Build the run's untrained network on the device, with weights from torch's random state.

    The backbone's weights are drawn before those of the localization net, so that they are the same for all variants
    of a seed.
    """
    model = build_model(
        spec.backbone, spec.variant, num_classes, spec.image_size, padding=spec.protocol.padding
    )
    return model.to(device).to(memory_format=MEMORY_FORMAT)


def check_networks(specs: Iterable) -> None:
    """Raise InputError if a network of the runs (RunSpecs) cannot take images of the run's size."""
    for backbone, variant, size in dict.fromkeys((s.backbone, s.variant, s.image_size) for s in specs):
        check_image_size(backbone, size)
        if backbone.startswith(TIMM):
            _try_network(backbone, variant, size)
            continue
        with torch.device("meta"), suppress(RuntimeError):  # some networks cannot be built on the meta device
            if backbone in SYSTEMS:
                build_model(backbone, variant, 2, size)
            elif variant != ORIGINAL:
                with_stn(nn.Identity(), variant.removesuffix(RELEASED), size)


def _try_network(backbone, variant, size):
    """Run the network on one image, on the meta device, which costs nothing; if that fails, on the CPU."""
    for device in ("meta", "cpu"):
        try:
            with torch.device(device), torch.random.fork_rng([]), torch.no_grad():
                build_model(backbone, variant, 2, size).eval()(torch.zeros(1, 3, size, size))
            return
        except InputError:
            raise
        except Exception as error:  # a network of timm may fail in any way
            reason = str(error).rstrip(".")
    raise InputError(f"{backbone} cannot take images of {size} pixels a side: give a larger size ({reason}).")
