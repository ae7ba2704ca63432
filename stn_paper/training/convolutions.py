"""Faster replacements for convolutions that torch computes slowly on a CPU; `hardware.compute_in` uses them.

Results are those of torch up to rounding. `benchmarks/convolutions.py` compares the times.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.nn.grad import conv2d_input, conv2d_weight
from torch.overrides import TorchFunctionMode

# a convolution with at least MANY_WEIGHTS weights and at most SMALL_MAP output pixels is faster as a matrix product
MANY_WEIGHTS, SMALL_MAP = 2**18, 4
# torch computes the weight gradient of a depthwise convolution slowly if its kernel has more than FAST_COLUMNS columns
FAST_COLUMNS = 3
# torch computes the images' gradient slowly if they have at most FEW_CHANNELS channels and the convolution has a stride
FEW_CHANNELS = 4


class FastConvolutions(TorchFunctionMode):
    """Context: replace the convolutions that torch computes slowly on a CPU.

    A convolution to a small map is computed as a matrix product. Depthwise convolutions, and convolutions of few
    channels with a stride, get their gradients by faster computations.

    Under autocast, depthwise convolutions are computed in float32, and their results are rounded to bfloat16. On a CPU,
    the gradients of a depthwise convolution take up to 14 times as long in bfloat16 as in float32 (torch 2.14).
    """

    def __torch_function__(self, func, types, args: tuple = (), kwargs=None):
        if func is not F.conv2d:
            return func(*args, **(kwargs or {}))
        call = _Call(*args, **(kwargs or {}))
        if call.is_depthwise:
            return _depthwise(call)
        if not call.is_plain or call.groups > 1:
            return F.conv2d(*call)
        if call.weight.numel() >= MANY_WEIGHTS and call.pixels <= SMALL_MAP:
            return _as_product(call)
        if call.is_strided and call.weight.shape[1] <= FEW_CHANNELS and call.input.requires_grad:
            return _first(call)
        return F.conv2d(*call)


class _Call(NamedTuple):
    """The arguments of F.conv2d, by its names."""

    input: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None = None
    stride: int | tuple = 1
    padding: int | tuple | str = 0
    dilation: int | tuple = 1
    groups: int = 1

    @property
    def is_depthwise(self):
        return self.weight.shape[1] == 1 < self.input.shape[1]

    @property
    def is_plain(self):
        """Whether our code can replace the call: a batch, padding in pixels, no dilation, no torch.compile."""
        if torch.compiler.is_compiling() or self.input.ndim < 4 or isinstance(self.padding, str):
            return False
        return _pair(self.dilation) == (1, 1)

    @property
    def is_strided(self):
        """Whether rows and columns have the same stride, and it is greater than 1."""
        down, right = _pair(self.stride)
        return down == right > 1

    @property
    def pixels(self):
        """The number of output pixels of an image."""
        sides = zip(self.input.shape[2:], self.weight.shape[2:], _pair(self.stride), _pair(self.padding))
        height, width = ((side + 2 * pad - kernel) // stride + 1 for side, kernel, stride, pad in sides)
        return height * width


def _as_product(call):
    """Compute a convolution as one matrix product, which reads the weights once and not once for each pixel."""
    outputs, _, *kernel = call.weight.shape
    down, right = _pair(call.stride)
    windows = _pad(call.input, call.padding).unfold(2, kernel[0], down).unfold(3, kernel[1], right)
    batch, _, height, width = windows.shape[:4]
    rows = windows.permute(0, 2, 3, 4, 5, 1).reshape(batch * height * width, -1)
    product = F.linear(rows, call.weight.permute(0, 2, 3, 1).reshape(outputs, -1), call.bias)
    return product.view(batch, height, width, outputs).permute(0, 3, 1, 2)


def _pair(setting):
    """Return a setting of F.conv2d, a number or one or two numbers, as (of rows, of columns)."""
    numbers = tuple(setting) if isinstance(setting, Iterable) else (setting,)
    return numbers * 2 if len(numbers) == 1 else numbers


def _pad(images, padding):
    high, wide = _pair(padding)
    return F.pad(images, (wide, wide, high, high))


def _depthwise(call):
    """Compute a depthwise convolution: in float32 under autocast, else in the precision of the images."""
    if not torch.is_autocast_enabled("cpu"):
        return _depthwise_exact(call)
    with torch.autocast("cpu", enabled=False):
        return _depthwise_exact(call._replace(input=call.input.float())).bfloat16()


def _depthwise_exact(call):
    columns, width = call.weight.shape[3], call.input.shape[-1]
    is_slow = columns > FAST_COLUMNS or columns > width
    if is_slow and call.is_plain and call.groups == len(call.weight) == call.input.shape[1]:
        return _Convolution.apply(conv2d_input, _depthwise_weight_gradient, *call)
    return F.conv2d(*call)


def _first(call):
    """Compute a network's first convolution behind a transformer, in bfloat16 under autocast."""
    if torch.is_autocast_enabled("cpu"):
        images, weight, bias = (x if x is None else x.bfloat16() for x in call[:3])
        call = call._replace(input=images, weight=weight, bias=bias)
    return _Convolution.apply(_first_images_gradient, conv2d_weight, *call)


class _Convolution(torch.autograd.Function):
    """A convolution whose gradients are computed by two given functions.

    They take the arguments of `conv2d_input` and `conv2d_weight` of torch.nn.grad.
    """

    @staticmethod
    def forward(ctx, images_gradient, weight_gradient, *call):
        call = _Call(*call)
        ctx.save_for_backward(call.input, call.weight)
        ctx.functions, ctx.settings = (images_gradient, weight_gradient), call[3:]
        return F.conv2d(*call)

    @staticmethod
    def backward(ctx, *gradients):
        (gradient,), (images, weight) = gradients, ctx.saved_tensors
        images_gradient, weight_gradient = ctx.functions
        _, _, of_images, of_weight, of_bias, *settings = ctx.needs_input_grad
        return (
            None,
            None,
            images_gradient(images.shape, weight, gradient, *ctx.settings) if of_images else None,
            weight_gradient(images, weight.shape, gradient, *ctx.settings) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
            *(None for _ in settings),
        )


def _depthwise_weight_gradient(images, shape, gradient, stride, padding, dilation, groups):
    """Return the weight's gradient, computed for FAST_COLUMNS columns of the kernel at a time."""
    channels, _, rows, columns = shape
    images, reach = _pad(images, padding), (gradient.shape[3] - 1) * _pair(stride)[1]
    strips = []
    for first in range(0, columns, FAST_COLUMNS):
        width = min(FAST_COLUMNS, columns - first)
        seen = images[..., first : first + reach + width]  # the pixels under these columns
        part = (channels, 1, rows, width)
        strips.append(conv2d_weight(seen, part, gradient, stride, 0, dilation, groups))
    return torch.cat(strips, 3)


def _first_images_gradient(shape, weight, gradient, stride, padding, *_):
    """Return the images' gradient, computed by a convolution without a stride.

    A weight reads only pixels whose row and column leave the same two remainders when divided by the stride. So each
    pair of remainders becomes an output channel, and `pixel_shuffle` arranges the channels into an image.
    """
    (step, _), (high, wide) = _pair(stride), _pair(padding)
    outputs, inputs, *kernel = weight.shape
    rows, columns = (-(-side // step) for side in kernel)
    weight = F.pad(weight, (0, columns * step - kernel[1], 0, rows * step - kernel[0]))
    weight = weight.view(outputs, inputs, rows, step, columns, step).flip(2, 4)
    weight = weight.permute(1, 3, 5, 0, 2, 4).reshape(-1, outputs, rows, columns)
    padded = F.pixel_shuffle(F.conv2d(gradient, weight, padding=(rows - 1, columns - 1)), step)
    bottom, right = (side + pad - size for side, pad, size in zip(shape[2:], (high, wide), padded.shape[2:]))
    return F.pad(padded, (-wide, right, -high, bottom))
