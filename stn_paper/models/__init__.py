"""Networks by name: `build_model` builds each network of the paper.

`with_stn` puts one of the paper's transformers into any other image model. `param_groups` gives its localization net
a lower learning rate.
"""

from torch import nn

from ..errors import InputError, check_choice, check_whole_number
from .backbones import TIMM, build_backbone, check_backbone, check_image_size, input_size
from .guards import Padding, check_flag, check_padding
from .insertion import param_groups, with_stn
from .localization import ABLATIONS, CONSTANT, LOCALIZATION_NETS
from .small_nets import SYSTEMS
from .transformer import PADDING_MODE, SpatialTransformer

__all__ = ["SpatialTransformer", "build_model", "check_variant", "param_groups", "variants", "with_stn"]

ORIGINAL = "original"
VARIANTS = {  # name -> heading of its column in the paper's tables
    ORIGINAL: "Original",
    "stn": "STN",
    "vstn": "V-STN",
    "lstn": "L-STN",
}

HEADINGS = VARIANTS | {  # the same with the control, the ablations and the variants of the smaller systems
    CONSTANT: "Constant map",
    "lstn-no-bn": "L-STN without batch norm",
    "lstn-no-1x1": "L-STN without 1 × 1",
    "stn-bn": "STN with batch norm",
    "affine": "Affine",
    "projective": "Projective",
    "tps": "Thin plate spline",
    "one": "One transformer",
    "two": "Two transformers",
    "feature": "Feature map warped",
    "shared": "Input warped",
    "ffn": "One map (FFN-SPN)",
    "rnn": "One map per digit (RNN-SPN)",
    "out60": "Output of 60 pixels",
    "out20": "Output of 20 pixels",
}
RELEASED = "-released"  # suffix of a variant whose transformer is bypassed: its output is discarded
HEADINGS |= {
    f"{v}{RELEASED}": f"{heading}, bypassed"
    for v, heading in HEADINGS.items()
    if v not in (ORIGINAL, CONSTANT, *ABLATIONS)
}


def variants(backbone: str) -> tuple[str, ...]:
    """Return the names of the variants of `backbone`, the original first."""
    return SYSTEMS[backbone].variants if backbone in SYSTEMS else tuple(VARIANTS)


def check_variant(variant: str, backbone: str) -> str:
    """Return `variant` if it is a variant of `backbone`, with or without "-released", else raise InputError.

    A backbone that has the paper's three variants also has the variant `constant` and the variants of ABLATIONS. These
    variants do not take the suffix "-released".
    """
    if str(variant).removesuffix(RELEASED) in variants(backbone)[1:]:
        return variant
    others = (CONSTANT, *ABLATIONS) if set(LOCALIZATION_NETS) < set(variants(backbone)) else ()
    return check_choice("variant", variant, [*variants(backbone), *others])


def build_model(
    backbone: str,
    variant: str,
    num_classes: int,
    image_size: int | None = None,
    applied: bool = True,
    padding: Padding = PADDING_MODE,
) -> nn.Module:
    """Build the untrained network `backbone` behind the transformer `variant`, or a smaller system.

    Returns a module from (B, 3, image_size, image_size) to logits (B, num_classes); `sequence-cnn` returns
    (B, num_classes, 3), for three digits.

    - `backbone`: one of the paper's, a smaller system, or timm/<any timm name>.
    - `variant`: original (no transformer), stn, vstn or lstn; a smaller system has variants of its own. With the
      suffix "-released", such as "lstn-released", the transformer is bypassed.
    - `num_classes`: a whole number from 1. With 0, a network of timm returns its features.
    - `image_size`: pixels of a side. None is the backbone's own size; for the paper's backbones it is 224 to 456
      (Table 9).
    - `applied`: False bypasses the transformer, see `with_stn`.
    - `padding`: what the transformer reads outside the image, see `SpatialTransformer`.

    Raises InputError for an unknown name or padding, another number of classes, and an image size that is not a whole
    number or is too small for the backbone (networks of timm are not checked) or the localization net.
    Source: paper sections 3 and 4.3.

    >>> build_model("resnet18", "lstn", num_classes=10, image_size=64)(torch.rand(5, 3, 64, 64)).shape
    torch.Size([5, 10])
    """
    name = check_variant(variant, check_backbone(backbone)).removesuffix(RELEASED)
    check_whole_number("num_classes", num_classes, 0 if backbone.startswith(TIMM) else 1)
    padding, applied = check_padding(padding), check_flag("applied", applied) and name == variant
    image_size = input_size(backbone) if image_size is None else check_image_size(backbone, image_size)
    if backbone in SYSTEMS:
        model = SYSTEMS[backbone].build(name, num_classes, image_size)
        for part in model.modules():
            if isinstance(part, SpatialTransformer):
                if not applied and part.output_size is not None:
                    why = "its output has another size than the image"
                    raise InputError(f"A bypassed {name} is not allowed for {backbone}, as {why}: apply it.")
                part.applied, part.padding = applied, padding
        return model
    model = build_backbone(backbone, num_classes, image_size)
    return model if name == ORIGINAL else with_stn(model, name, image_size, applied=applied, padding=padding)
