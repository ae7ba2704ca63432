"""Faster replacements for convolutions that torch computes slowly on a CPU; `hardware.compute_in` uses them.

Results are those of torch up to rounding. `benchmarks/convolutions.py` compares the times.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.nn.grad import conv2d_input
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

# a convolution with at least MANY_WEIGHTS weights and at most SMALL_MAP output pixels is faster as a matrix product
MANY_WEIGHTS, SMALL_MAP = 2**18, 4
# with at most this many output pixels, a depthwise convolution's weight gradient is faster as a product for each tap
SMALL_DEPTHWISE_MAP = 16


class FastConvolutions(TorchFunctionMode):
    """Context: convolutions to small maps as matrix products, and depthwise convolutions without bfloat16 autocast.

    Under autocast, depthwise convolutions are computed in float32, and their results are rounded to bfloat16. On a CPU,
    the gradients of a depthwise convolution take up to 14 times as long in bfloat16 as in float32 (torch 2.14).
    """

    def __torch_function__(self, func, types, args: tuple = (), kwargs=None):
        if func is not F.conv2d:
            return func(*args, **(kwargs or {}))
        call = _Call(*args, **(kwargs or {}))
        if call.is_depthwise:
            return _depthwise(call)
        if call.weight.numel() >= MANY_WEIGHTS and call.fits(SMALL_MAP):
            return _as_product(call)
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

    def fits(self, pixels):
        """Return whether this module can compute the convolution, and its output has at most `pixels` pixels."""
        if torch.compiler.is_compiling() or self.input.ndim < 4 or isinstance(self.padding, str):
            return False
        if self.groups > 1 and not self.groups == len(self.weight) == self.input.shape[1]:
            return False
        if _pair(self.dilation) != (1, 1):
            return False
        sides = zip(self.input.shape[2:], self.weight.shape[2:], _pair(self.stride), _pair(self.padding))
        height, width = ((side + 2 * pad - kernel) // stride + 1 for side, kernel, stride, pad in sides)
        return height * width <= pixels


def _windows(images, kernel, stride, padding):
    """Return the windows of images (B, C, H, W) under a kernel, as a view (B, C, height, width, *kernel)."""
    (high, wide), (down, right) = _pair(padding), _pair(stride)
    padded = F.pad(images, (wide, wide, high, high))
    return padded.unfold(2, kernel[0], down).unfold(3, kernel[1], right)


def _as_product(call):
    """Compute a convolution as one matrix product, which reads the weights once and not once for each pixel."""
    outputs, _, *kernel = call.weight.shape
    windows = _windows(call.input, kernel, call.stride, call.padding)
    batch, _, height, width = windows.shape[:4]
    rows = windows.permute(0, 2, 3, 4, 5, 1).reshape(batch * height * width, -1)
    product = F.linear(rows, call.weight.permute(0, 2, 3, 1).reshape(outputs, -1), call.bias)
    return product.view(batch, height, width, outputs).permute(0, 3, 1, 2)


def _depthwise(call):
    """Compute a depthwise convolution: in float32 under autocast, else in the precision of the images."""
    if not torch.is_autocast_enabled("cpu"):
        return _depthwise_exact(call)
    with torch.autocast("cpu", enabled=False):
        return _depthwise_exact(call._replace(input=call.input.float())).bfloat16()


def _depthwise_exact(call):
    if call.fits(SMALL_DEPTHWISE_MAP):
        return _SmallDepthwise.apply(call.input, call.weight, call.bias, call.stride, call.padding)
    return F.conv2d(*call)


class _SmallDepthwise(torch.autograd.Function):
    """A depthwise convolution; its weight gradient is one product and one sum for each tap of the kernel."""

    @staticmethod
    def forward(ctx, images, weight, bias, stride, padding):
        ctx.save_for_backward(images, weight)
        ctx.settings = stride, padding
        return F.conv2d(images, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx, *gradients):
        (gradient,), (images, weight), (stride, padding) = gradients, ctx.saved_tensors, ctx.settings
        of_images = of_bias = None
        if ctx.needs_input_grad[0]:
            of_images = conv2d_input(images.shape, weight, gradient, stride, padding, 1, len(weight))
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        windows = _windows(images, weight.shape[2:], stride, padding)
        taps = (tap for row in windows.unbind(4) for tap in row.unbind(4))
        of_weight = torch.stack([(tap * gradient).sum((0, 2, 3)) for tap in taps], 1).view_as(weight)
        return of_images, of_weight, of_bias, None, None
