"""Names -> networks: `build_model` is the one way to make a network of the paper.

`with_stn` puts one of the paper's transformers before any other image model.
"""

from collections import OrderedDict

from torch import nn

from ..errors import choose
from .backbones import build_backbone, check_backbone, check_image_size, input_size
from .localization import CONSTANT, LOCALIZATION_NETS, localization_net
from .small_nets import SYSTEMS
from .transformer import SpatialTransformer

ORIGINAL = "original"
VARIANTS = {  # name: how the paper's tables head its columns
    ORIGINAL: "Original",
    "stn": "STN",
    "vstn": "V-STN",
    "lstn": "L-STN",
}

HEADINGS = VARIANTS | {  # and the control, and those of the smaller systems
    CONSTANT: "Constant map",
    "affine": "Affine",
    "projective": "Projective",
    "tps": "Thin plate spline",
    "one": "One transformer",
    "two": "Two transformers",
}
RELEASED = "-released"  # ends the name of a variant whose transformer is there and thrown away
HEADINGS |= {f"{v}{RELEASED}": f"{heading} as released" for v, heading in HEADINGS.items() if v != ORIGINAL}


def variants(backbone):
    """The names of the variants that `backbone` comes in, the original first."""
    return SYSTEMS[backbone].variants if backbone in SYSTEMS else tuple(VARIANTS)


def check_variant(variant, backbone):
    """Return `variant` if `backbone` comes in it, as it is or with "-released", else raise InputError.

    Every backbone whose variants are the paper's three nets comes with a `constant` map as well.
    """
    if variant == CONSTANT and set(LOCALIZATION_NETS) < set(variants(backbone)):
        return variant
    if str(variant).removesuffix(RELEASED) in variants(backbone)[1:]:
        return variant
    return choose("variant", variant, variants(backbone))


def with_stn(model, variant, image_size, in_channels=3, kind="affine", applied=True):
    """Put the transformer `variant` before `model`, any torchvision or timm network.

    `variant` is stn, vstn or lstn, or constant: one learned map for all images.
    Returns a module from (B, in_channels, image_size, image_size) to whatever `model` returns, with
    parts `.transformer` and `.backbone`. At the start it computes what `model` computes, as the map is
    the identity. `kind` is affine, as in the paper, projective or tps; conventions of the maps:
    `transformer`. With `applied` off the transformer is there but changes nothing, as in most of
    the notebooks that the paper's authors released. Source: paper section 4.3.B.
    The transformer takes the mode that `model` is in, training or evaluation. Settings and methods of a timm
    network stay at `.backbone`, and the names in its `no_weight_decay()` lack the prefix "backbone.":
    book/run.md has the line that tells timm's optimizers.
    Raises InputError for an unknown variant or kind, or an image size that is no whole number or too small
    for the variant; the module raises one for images of another size.
    """
    choose("variant", variant, [*LOCALIZATION_NETS, CONSTANT])
    transformer = SpatialTransformer(localization_net(variant, image_size, in_channels, kind), kind, applied)
    joined = nn.Sequential(OrderedDict(transformer=transformer.train(model.training), backbone=model))
    joined.training = model.training  # its `train` would reach parts of the model that may be frozen
    return joined


def build_model(backbone, variant, num_classes, image_size=None, applied=True):
    """Build `backbone` with `variant` (original, stn, vstn, lstn) before it, untrained; or a smaller system.

    Returns a module from (B, 3, image_size, image_size) to logits (B, num_classes). `image_size` in
    pixels of a side; None is the paper's own for this backbone (224 to 456, Table 9). `applied` as in
    `with_stn`; a name such as "lstn-released" turns it off as well.
    Raises InputError for an unknown name, or an image size that is no whole number or too small for the
    backbone or the localization net.
    """
    name = check_variant(variant, check_backbone(backbone)).removesuffix(RELEASED)
    applied = applied and name == variant
    image_size = input_size(backbone) if image_size is None else check_image_size(backbone, image_size)
    if backbone in SYSTEMS:
        model = SYSTEMS[backbone].build(name, num_classes, image_size)
        for part in model.modules():
            if isinstance(part, SpatialTransformer):
                part.applied = applied
        return model
    model = build_backbone(backbone, num_classes, image_size)
    return model if name == ORIGINAL else with_stn(model, name, image_size, applied=applied)
