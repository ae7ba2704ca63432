"""Names -> networks: `build_model` is the one way to make a network of the paper.

`with_stn` puts one of the paper's transformers before any other image model.
"""

from collections import OrderedDict

from torch import nn

from .backbones import build_backbone, check_backbone, input_size
from .errors import choose
from .localization import LOCALIZATION_NETS, localization_net
from .systems import SYSTEMS
from .transformer import SpatialTransformer

ORIGINAL = "original"
VARIANTS = {  # name: how the paper's tables head its columns
    ORIGINAL: "Original",
    "stn": "STN",
    "vstn": "V-STN",
    "lstn": "L-STN",
}

HEADINGS = VARIANTS | {  # and those of the smaller systems
    "affine": "Affine",
    "projective": "Projective",
    "tps": "Thin plate spline",
    "one": "One transformer",
    "two": "Two transformers",
}


def variants(backbone):
    """The names of the variants that `backbone` comes in, the original first."""
    return SYSTEMS[backbone].variants if backbone in SYSTEMS else tuple(VARIANTS)


def with_stn(model, variant, image_size, in_channels=3, kind="affine"):
    """Put the transformer `variant` (stn, vstn or lstn) before `model`, any torchvision or timm network.

    Returns a module from (B, in_channels, image_size, image_size) to whatever `model` returns, with
    parts `.transformer` and `.backbone`. At the start it computes what `model` computes, as the map is
    the identity. `kind` is affine, as in the paper, projective or tps; conventions of the maps:
    `stn_paper.transformer`. Source: paper section 4.3.B.
    Raises InputError for an unknown variant or kind, or an image too small for the variant.
    """
    choose("variant", variant, LOCALIZATION_NETS)
    transformer = SpatialTransformer(localization_net(variant, image_size, in_channels, kind), kind)
    return nn.Sequential(OrderedDict(transformer=transformer, backbone=model))


def build_model(backbone, variant, num_classes, image_size=None):
    """Build `backbone` with `variant` (original, stn, vstn, lstn) before it, untrained; or a smaller system.

    Returns a module from (B, 3, image_size, image_size) to logits (B, num_classes). `image_size` in
    pixels of a side; None is the paper's own for this backbone (224 to 456, Table 9).
    Raises InputError for an unknown name or an image too small for the localization net.
    """
    choose("variant", variant, variants(check_backbone(backbone)))
    image_size = image_size or input_size(backbone)
    if backbone in SYSTEMS:
        return SYSTEMS[backbone].build(variant, num_classes, image_size)
    model = build_backbone(backbone, num_classes, image_size)
    return model if variant == ORIGINAL else with_stn(model, variant, image_size)
