"""Helpers of the spatial transformer: number types, tracing, checks of arguments, and grids that leave the image.

They are in this module so that `transformer` can be read beside Figure 1, and `localization` beside Tables 1 to 3.
"""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any  # stands for SpatialTransformer, whose module imports this module

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import Proxy

from ..errors import InputError, check_whole_number, is_finite_number

Size = int | tuple[int, int] | None  # pixels of a side, or (height, width)
# a padding is a name in PADDINGS, one fill value for all channels, or a tuple of fill values, one for each channel
Padding = str | float | tuple[float, ...]
PADDINGS = ("zeros", "border", "reflection")
COLLAPSED_PERCENT = 95.0  # a transformer counts as collapsed if this percentage of its grid lies outside
POINTS = 32  # points a side of the sampling grid that is checked
VECTORIZED_FROM = 16  # channels from which torch vectorizes a channels-last batch norm on a CPU
CHECK_EVERY = 50  # training steps between two checks of the grid, because a check waits for the GPU


# --- number types -------------------------------------------------------------------------------


def without_autocast(tensor: Tensor) -> AbstractContextManager:
    """Return a context without autocast: coordinates need more precision than bfloat16's eight bits.

    While torch.fx traces, the context does nothing, so that a traced localization net follows autocast. An exported
    program always contains it, because autocast may be on where the program runs.
    """
    if isinstance(tensor, Proxy):
        return nullcontext()
    kind = tensor.device.type
    amp = torch.amp.is_autocast_available(kind)
    needed = amp and (torch.is_autocast_enabled(kind) or torch.compiler.is_exporting())
    return torch.autocast(kind, enabled=False) if needed else nullcontext()


@torch.fx.wrap
def widened(images: Tensor) -> Tensor:
    """Return the images as float32, or unchanged if their type is wider."""
    return images.to(torch.promote_types(images.dtype, torch.float32))


def exact(theta: Tensor) -> Tensor:
    """Return theta in float64 on CUDA, where float32 products may use TF32; else in at least float32."""
    return theta.double() if theta.is_cuda else widened(theta)


def as_parameters(images: Tensor, module: nn.Module) -> Tensor:
    """Return the images in the dtype of the module's first parameter, or as `widened` if it has no parameters."""
    weight = next(module.parameters(), None)
    return widened(images) if weight is None else images.to(weight.dtype)


@torch.fx.wrap
def resized(images: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Resize images (B, C, H, W) to (h, w), anti-aliased, in at least float32; None returns them unchanged."""
    if size is None:
        return images
    return F.interpolate(widened(images), size, mode="bilinear", antialias=True, align_corners=False)


class NormedLayer(nn.Sequential):
    """A convolution, a batch norm and a ReLU; on a CPU, a norm of few channels gets contiguous maps and gradients.

    On a CPU, channels-last batch norm is not vectorized below 16 channels: the gradient of (20, 8, 110, 110)
    took 16 times as long (torch 2.14, AVX-512). All other layers are fastest if maps and gradients are channels-last,
    and slow where the two differ.
    """

    def forward(self, input: Tensor) -> Tensor:
        conv, norm, relu = self
        maps = conv(input)
        recorded = is_recorded(maps) or torch.compiler.is_compiling()
        if recorded or maps.shape[1] >= VECTORIZED_FROM or maps.is_cuda or maps.is_contiguous():
            return relu(norm(maps))
        normed = norm(maps.contiguous())
        if normed.requires_grad:
            normed.register_hook(Tensor.contiguous)
        return relu(normed.contiguous(memory_format=torch.channels_last))


# --- tracing ------------------------------------------------------------------------------------


def is_recorded(tensor: Tensor) -> bool:
    """Return whether torch.fx, torch.jit or torch.export is recording the call."""
    return isinstance(tensor, Proxy) or torch.compiler.is_exporting() or torch.jit.is_tracing()


def is_running(tensor: Tensor) -> bool:
    """Return whether the values of `tensor` can be read now: not while a program or CUDA graph is recorded."""
    if is_recorded(tensor) or torch.compiler.is_compiling():
        return False
    if type(tensor) is not Tensor or tensor.is_meta:
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


# --- checks of arguments ------------------------------------------------------------------------


def check_size(name: str, size: Size) -> tuple[int, int] | None:
    """Return `size`, a whole number or a pair (height, width), as a pair; None stays None.

    Raises InputError for anything else; the error names the argument `name`.
    """
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, (tuple, list, torch.Size)) else (size, size)
    try:
        height, width = (check_whole_number(name, side) for side in sides)
    except ValueError:
        raise InputError(
            f"{name} {size!r} is not allowed: give a whole number from 1 or a pair (height, width) of them."
        ) from None
    return height, width


def check_padding(padding: Padding) -> Padding:
    """Return `padding` if it is allowed.

    Allowed are a name in PADDINGS, a finite number, and a tuple of finite numbers with one number for each channel.
    Raises InputError for any other value.
    """
    if isinstance(padding, str) and padding in PADDINGS:
        return padding
    values = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,)
    if not values or not all(map(is_finite_number, values)):
        raise InputError(
            f"padding {padding!r} is not allowed: give zeros, border, reflection, "
            "a finite fill value, or a tuple with a fill value for each channel."
        )
    return tuple(map(float, values)) if isinstance(padding, (tuple, list)) else float(padding)


def fill_values(images: Tensor, padding: float | tuple[float, ...]) -> Tensor:
    """Return the fill values as a tensor of the images' type: (1, 1, 1) of a number, (C, 1, 1) of a tuple or list.

    Raises InputError if the length of the tuple or list is not the images' number of channels.
    """
    fill = images.new_tensor(padding).view(-1, 1, 1)
    if isinstance(padding, (tuple, list)) and len(fill) != images.shape[1]:
        raise InputError(
            f"padding {padding} does not fit images of {images.shape[1]} channels: give a fill value for each."
        )
    return fill


def check_localization(net: Any) -> Any:
    """Return `net` if it can be called on images, else raise InputError."""
    if not callable(net):
        raise InputError(
            f"localization {net!r} is not allowed: give a module, such as localization_net('lstn', 64)."
        )
    return net


def check_flag(name: str, value: bool) -> bool:
    """Return `value` if it is True or False, else raise InputError naming the argument `name`."""
    if value is not True and value is not False:
        raise InputError(f"{name} {value!r} is not allowed: give True or False.")
    return value


def check_bypass(applied: bool, output_size: Size, returns: bool) -> None:
    """Raise InputError if a bypassed transformer is asked for another output size, theta or the grid."""
    if not applied and (output_size is not None or returns):
        raise InputError(
            "applied False is not allowed with output_size, return_theta or return_grid: give True."
        )


def check_numbers(numbers: Tensor, transform: str, identity: Tensor) -> None:
    """Raise InputError unless `numbers` has shape (B, n) or (B, N, n), where n is the length of `identity`."""
    if is_running(numbers) and (numbers.ndim not in (2, 3) or numbers.shape[-1] != len(identity)):
        raise InputError(
            f"Numbers of shape {tuple(numbers.shape)} are not allowed for the transform {transform}: "
            f"give (B, {len(identity)}), or (B, N, {len(identity)}) for N glimpses."
        )


def check_one_map(theta: Tensor, steps: int) -> None:
    """Raise InputError if theta has N maps an image: with several steps, a localization net must predict one map."""
    if is_running(theta) and theta.ndim == 4:
        raise InputError(f"steps {steps} is not allowed for a localization net of several maps: give 1.")


def check_sides(image_size: int, net: nn.Module, inputs: tuple[Tensor]) -> None:
    """Forward pre-hook of a localization net: raise InputError unless the images have `image_size` pixels a side."""
    if isinstance(inputs[0], Proxy):
        return
    height, width = inputs[0].shape[-2:]
    if height != image_size or width != image_size:
        raise InputError(
            f"Images or feature maps of {height} x {width} pixels do not fit a localization net for {image_size} "
            "pixels a side: resize them, build the net for their size, or give localization_size."
        )


def check_penalty(transformer: Any) -> Tensor:
    """Return the transformer's last theta for a penalty.

    Raises InputError before the first call, and in training if theta has no gradient.
    """
    if not transformer.applied:
        raise InputError("penalty() is not allowed for a bypassed transformer: it predicts no theta.")
    if transformer.last_theta is None:
        raise InputError("penalty() has no theta yet: call the transformer on images first.")
    if transformer.training and torch.is_grad_enabled() and not transformer.keep_graph:
        raise InputError("keep_graph False is not allowed for penalty() in training: give True.")
    return transformer.last_theta


# --- grids that leave the image -----------------------------------------------------------------


def percent_outside(grid: Tensor) -> float:
    """Return the percentage, 0 to 100, of the points of grid (..., 2) outside the image; NaN counts as outside.

    >>> percent_outside(torch.tensor([[0.0, 0.9], [0.0, 1.1]]))
    50.0
    """
    outside = ~(grid.abs() <= 1).all(-1)
    return 100 * outside.sum().item() / max(1, outside.numel())


def keep_theta(transformer: Any, theta: Tensor, sampling_grid: Callable) -> None:
    """Store theta as the transformer's `last_theta`; in training, warn once if its grid has left the images.

    The grid is checked every CHECK_EVERY steps. `sampling_grid` is the function of `transformer`.
    """
    if is_recorded(theta):
        return
    transformer.last_theta = theta if transformer.keep_graph else theta.detach()
    if not transformer.training or transformer._calls is None or torch.compiler.is_compiling():
        return
    transformer._calls += 1
    if transformer._calls % CHECK_EVERY == 1 and is_running(theta):
        with torch.no_grad():
            percent = percent_outside(sampling_grid(theta, POINTS, POINTS, transformer.transform))
        if percent >= COLLAPSED_PERCENT:
            _warn(percent)
            transformer._calls = None  # warned


def _warn(percent):
    warnings.warn(
        f"{percent:.0f}% of the sampling grid lies outside the images: the transformer has collapsed. "
        "Give the localization net a lower rate (stn_paper.models.param_groups), "
        "add transformer.penalty() to the loss, or choose a restricted map.",
        RuntimeWarning,
        stacklevel=2,
    )
