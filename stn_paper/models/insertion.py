"""Put a spatial transformer into any image model, at its input or before one of its layers.

Other programs call `with_stn`, and `param_groups` to train the result. `timm_models` calls `with_stn` too.
"""

from collections import OrderedDict
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from ..errors import InputError, check_choice, check_whole_number, is_finite_number
from .localization import ABLATIONS, CONSTANT, LOCALIZATION_NETS, localization_net
from .transformer import SpatialTransformer

# the options of `SpatialTransformer` that `with_stn` takes
OPTIONS = ("output_size", "padding", "antialias", "max_scale", "max_angle", "steps", "keep_graph")


def with_stn(
    model: nn.Module,
    variant: str,
    image_size: int,
    in_channels: int = 3,
    transform: str = "affine",
    applied: bool = True,
    *,
    before: str | None = None,
    localization_size: int | None = None,
    **options,
) -> nn.Module:
    """Put the transformer `variant` before `model`, any torchvision or timm network, or before a layer of it.

    Returns a module from (B, in_channels, image_size, image_size) to the output of `model`; its parts are
    `.transformer` and `.backbone`. An untrained transformer is the identity, so the module at first computes the same
    as `model`. Source: paper section 4.3.B.

    - `variant`: stn, vstn or lstn; constant, one learned map for all images; or one of `localization.ABLATIONS`.
    - `transform`: the family of maps, see `transforms`; affine in the paper.
    - `applied`: False bypasses the transformer: it is there but does not change the images, as in most of the
      notebooks that the paper's author released.
    - `before`: a layer's name, such as "layer2" or "features.3". The transformer warps the feature maps
      (B, C, H, H) that enter this layer; their size is measured by one pass of a black image. The layer gets
      a forward pre-hook, so the parameters of `model` keep their names. Call `with_stn` again for another
      transformer.
    - `localization_size`: pixels of a side. The localization net sees a copy of the images at this size, so that the
      images may have any size.
    - `options`: `output_size`, `padding`, `antialias`, `max_scale`, `max_angle`, `steps` and `keep_graph` of
      `SpatialTransformer`. Theta of the last call is at `.transformer.last_theta`.

    The transformer starts in the mode of `model`, training or evaluation, and on its device. Settings and methods of a
    timm network stay at `.backbone`. The names in its `no_weight_decay()` lack the prefix "backbone."; book/run.md
    shows how to pass them to timm's optimizers.
    Raises InputError for an unknown variant, transform or layer, for a `model` that is not a module, for a size or
    number of channels that is not a whole number or an image size that is too small for the variant, and for an option
    that is not allowed. The module raises InputError for images of another size, unless the variant is constant or
    `localization_size` is given.

    >>> model = with_stn(torchvision.models.resnet18(), "lstn", image_size=224)
    >>> model = with_stn(model, "stn", image_size=224, before="layer2", padding="border")
    """
    check_choice("variant", variant, [*LOCALIZATION_NETS, *ABLATIONS, CONSTANT])
    if not isinstance(model, nn.Module):
        raise InputError(
            f"Model {model!r} is not allowed: give a network, such as torchvision.models.resnet18()."
        )
    check_whole_number("in_channels", in_channels)
    for name in options:
        if name not in OPTIONS:
            raise InputError(f"with_stn has no option {name!r}: choose one of {', '.join(OPTIONS)}.")
    channels, side, entry = in_channels, check_whole_number("Image size", image_size), None
    if before is not None:
        entry = find_layer(model, before)
        channels, side = feature_map(model, entry, before, side, in_channels)
    net = _net(variant, channels, side, transform, before, localization_size)
    options["localization_size"] = localization_size
    transformer = SpatialTransformer(net, transform, applied, **options).train(model.training)
    transformer.to(next(model.parameters(), torch.zeros(())).device)
    if entry is not None:
        return Inserted(transformer, model, entry)
    joined = nn.Sequential(OrderedDict(transformer=transformer, backbone=model))
    joined.training = model.training  # `joined.train` would also change parts of the model that may be frozen
    return joined


class Inserted(nn.Module):
    """`backbone` with `transformer` before its layer `entry`; takes and returns what `backbone` does."""

    def __init__(self, transformer: SpatialTransformer, backbone: nn.Module, entry: nn.Module):
        super().__init__()
        self.transformer, self.backbone = transformer, backbone
        self.training = backbone.training
        entry.register_forward_pre_hook(partial(_warp_input, transformer))

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(images)


def _warp_input(transformer, layer, inputs):
    return transformer(inputs[0]), *inputs[1:]


def _net(variant, channels, side, transform, before, localization_size):
    """Return the localization net for maps (B, channels, side, side), or for a copy at `localization_size`."""
    if localization_size is not None:
        side = check_whole_number("localization_size", localization_size)
    try:
        return localization_net(variant, side, channels, transform)
    except InputError as error:
        if before is None or localization_size is not None or variant == CONSTANT:
            raise
        size = f"{side} x {side} pixels, and localization_size can enlarge a copy of it"
        raise InputError(f"The feature map before {before!r} has {size}. {error}") from None


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the module that takes the input of the layer `name` of `model`.

    For a Sequential this is its first child, because some networks call the children one by one. In a model that has
    a transformer already, layers may be named with or without the prefix "backbone.". Raises InputError for an
    unknown name.
    """
    layers = dict(model.named_modules())
    found = [layers[path] for depth in range(9) if (path := f"{'backbone.' * depth}{name}") in layers]
    if not found or not name:
        children = ", ".join(child for child, _ in model.named_children())
        raise InputError(f"Unknown layer {name!r}: choose one of {children}, or a layer within one of these.")
    layer = found[0]
    while type(layer).forward is nn.Sequential.forward and len(layer):
        layer = layer[0]
    return layer


@contextmanager
def _evaluation(model):
    """Context: the model is in evaluation mode; at the end, each of its parts returns to its own mode."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def feature_map(
    model: nn.Module, entry: nn.Module, name: str, image_size: int, in_channels: int
) -> tuple[int, int]:
    """Return (channels, pixels of a side) of the feature map that enters the module `entry`, called `name`.

    `model` runs on a black image in evaluation mode; it is not changed. Raises InputError if `entry` is not called
    once, or if its input is not square feature maps (B, C, H, H).
    """
    shapes = []

    def reach(_, inputs):
        shapes.append(tuple(getattr(inputs[0], "shape", ())) if inputs else ())

    like = next(model.parameters(), torch.zeros(()))
    image = torch.zeros(1, in_channels, image_size, image_size, dtype=like.dtype, device=like.device)
    handle = entry.register_forward_pre_hook(reach)
    try:
        with torch.no_grad(), _evaluation(model):
            model(image)
    finally:
        handle.remove()
    if not shapes:
        raise InputError(f"Layer {name!r} is not allowed: the network does not call it with images.")
    if len(shapes) > 1:
        raise InputError(
            f"Layer {name!r} is not allowed: the network calls it {len(shapes)} times for an image, and a transformer "
            "belongs before a layer that is called once."
        )
    if len(shapes[0]) != 4 or shapes[0][2] != shapes[0][3]:
        raise InputError(
            f"Layer {name!r} is not allowed: its input is {shapes[0]}, and a transformer needs "
            "square feature maps (B, C, H, H)."
        )
    return shapes[0][1:3]


def param_groups(model: nn.Module, lr: float, localization_rate: float = 0.1) -> list[dict]:
    """Return parameter groups for any optimizer: localization nets learn at `localization_rate` times `lr`.

    The first group has the rate `lr` and all other parameters, the second the rate `lr * localization_rate` and the
    parameters of the localization nets. Each parameter is in one group; a group without parameters is left out. Two
    tables on the page about theta count the runs whose sampling grid left the image: with the full rate and with 0.1.
    Raises InputError for a rate that is not a finite number from 0.

    >>> optimizer = torch.optim.AdamW(param_groups(model, lr=1e-3), weight_decay=0.05)
    """
    for name, value in (("lr", lr), ("localization_rate", localization_rate)):
        if not is_finite_number(value) or value < 0:
            raise InputError(f"{name} {value!r} is not allowed: give a finite number from 0.")
    lr, localization_rate = float(lr), float(localization_rate)  # a file of weights holds no NumPy number
    nets = [part.localization for part in model.modules() if isinstance(part, SpatialTransformer)]
    slow = {id(p) for net in nets for p in net.parameters()}
    groups = [
        {"params": [p for p in model.parameters() if id(p) not in slow], "lr": lr},
        {"params": [p for p in model.parameters() if id(p) in slow], "lr": lr * localization_rate},
    ]
    return [group for group in groups if group["params"]]
