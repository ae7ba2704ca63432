"""Guards of the spatial transformer: the type of its numbers, tracing, sizes, padding, and the grid's place.

They stand here so that `transformer` can be read beside Figure 1.
"""

import math
import warnings
from contextlib import nullcontext
from numbers import Real

import torch
import torch.nn.functional as F
from torch.fx import Proxy

from ..errors import InputError, whole

PADDINGS = ("zeros", "border", "reflection")  # beside a fill value
CHECK_EVERY = 10  # training steps between two looks at the grid, as a look waits for the GPU
LEFT = 0.95  # share of the grid outside the image from which on a transformer has lost it


def without_autocast(tensor):
    """A context without autocast: places in an image need more than bfloat16's eight bits.

    While torch.fx traces it does nothing, so that a traced localization net follows autocast.
    """
    if isinstance(tensor, Proxy):
        return nullcontext()
    kind = tensor.device.type
    amp = torch.amp.is_autocast_available(kind)
    return torch.autocast(kind, enabled=False) if amp else nullcontext()


@torch.fx.wrap
def widened(images):
    """The same numbers as float32 at least."""
    return images.to(torch.promote_types(images.dtype, torch.float32))


def as_parameters(images, module):
    """Images of the type that `module` computes in: its first parameter's, or float32 at least."""
    weight = next(module.parameters(), None)
    return widened(images) if weight is None else images.to(weight.dtype)


def resized(images, size):
    """Images (B, C, H, W) at size (h, w), anti-aliased, in float32 at least; as they are for None."""
    if size is None:
        return images
    return F.interpolate(widened(images), size, mode="bilinear", antialias=True, align_corners=False)


def is_running(tensor):
    """Whether `tensor` holds numbers that can be read now: not while a program or a CUDA graph is recorded."""
    if torch.compiler.is_compiling() or torch.compiler.is_exporting() or torch.jit.is_tracing():
        return False
    if type(tensor) is not torch.Tensor or tensor.is_meta:
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


def is_proxy(tensor):
    """Whether torch.fx is tracing, where a size or a number cannot be read."""
    return isinstance(tensor, Proxy)


def check_size(name, size):
    """Return `size`, None or a whole number or (height, width), as None or (height, width).

    Raises InputError for anything else, naming the argument `name`.
    """
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, (tuple, list, torch.Size)) else (size, size)
    try:
        height, width = (whole(name, side) for side in sides)
    except ValueError:
        raise InputError(
            f"{name} {size!r} is not allowed: give a whole number from 1 or a pair (height, width) of them."
        ) from None
    return height, width


def check_padding(padding):
    """Return `padding`: a name out of PADDINGS, a finite number, or a tuple of one number a channel.

    Raises InputError for anything else.
    """
    if isinstance(padding, str) and padding in PADDINGS:
        return padding
    values = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,)
    numbers = [isinstance(v, Real) and not isinstance(v, bool) and math.isfinite(v) for v in values]
    if not values or not all(numbers):
        raise InputError(
            f"padding {padding!r} is not allowed: give zeros, border, reflection, "
            "a finite fill value, or one for each channel."
        )
    return tuple(map(float, values)) if isinstance(padding, (tuple, list)) else float(padding)


def fill_values(images, padding):
    """The fill value, or one for each channel, as a tensor (1 or C, 1, 1) of the images' type.

    Raises InputError if there are not as many as the images have channels.
    """
    fill = images.new_tensor(padding).view(-1, 1, 1)
    if isinstance(padding, tuple) and len(fill) != images.shape[1]:
        raise InputError(
            f"padding {padding} does not fit images of {images.shape[1]} channels: give one each."
        )
    return fill


def check_flag(name, value):
    """Return `value` if it is True or False, else raise InputError naming the argument `name`."""
    if value is not True and value is not False:
        raise InputError(f"{name} {value!r} is not allowed: give True or False.")
    return value


def share_outside(grid):
    """Share of the points of grid (B, h, w, 2) that lie outside the image, 0 to 1; NaN counts as outside."""
    return 1 - (grid.abs() <= 1).all(-1).float().mean().item()


def warn_outside(share):
    """Warn that the transformer reads next to nothing of its images."""
    warnings.warn(
        f"{share:.0%} of the sampling grid lies outside the images: the transformer has lost them. "
        "Give the localization net a lower rate (stn_paper.models.param_groups), "
        "add transformer.penalty() to the loss, or choose a restricted map.",
        RuntimeWarning,
        stacklevel=2,
    )
