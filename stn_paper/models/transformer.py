"""The spatial transformer: theta -> sampling grid -> sampled image (paper Figure 1).

`transforms` has the families of maps and the **convention** of coordinates, directions and units. Here are
the grid generator (`sampling_grid`), the sampler (`sample`) and the module that joins them to a localization
net. Sampling is bilinear; what lies outside the input reads as 0 (`padding="zeros"`), which is mid-grey for
images normalized with mean 0.5, unless another padding is chosen.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import InputError, choose
from . import guards
from .guards import as_parameters, fill_values, resized, widened, without_autocast
from .transforms import (
    CONTROL_POINTS,
    KINDS,
    affine_theta,
    check_bounds,
    grid_distance,
    inverse_grid,
    invert,
    to_theta,
)

__all__ = [
    "CONTROL_POINTS",
    "KINDS",
    "SpatialTransformer",
    "affine_theta",
    "grid_distance",
    "inverse_grid",
    "invert",
    "sample",
    "sampling_grid",
    "to_theta",
    "warp",
]

ALIGN_CORNERS = False
PADDING_MODE = "zeros"
INTERPOLATION = "bilinear"
torch.fx.wrap("widened")  # torch.fx takes these functions as they are
torch.fx.wrap("resized")
torch.fx.wrap("to_theta")


def sampling_grid(theta, height, width, kind="affine"):
    """Input points (B, height, width, 2) that the output's pixels are read from.

    theta is (B, 3, 3) for `projective`, (B, 16, 2) for `tps`, (B, 2, 3) for all other kinds; B may be 0. Its
    precision is the points', under autocast too, and on CUDA they are computed in float64: as a product in
    bfloat16 or TF32, the identity would move the pixels of a large image. The identity's points are the
    pixels' places to the last bit, and an affine map's are torch's `affine_grid` to 3e-7.
    Raises InputError for an unknown kind.

    >>> sampling_grid(affine_theta(scale=0.5)[None], 1, 2)
    tensor([[[[-0.2500,  0.0000],
              [ 0.2500,  0.0000]]]])
    """
    chosen = KINDS[choose("kind of map", kind, KINDS)]
    with without_autocast(theta):
        return chosen.grid(theta.double() if theta.is_cuda else theta, height, width).to(theta.dtype)


def sample(images, grid, padding=PADDING_MODE):
    """Read images (B, C, H, W) at grid (B, h, w, 2): returns (B, C, h, w). Differentiable in both.

    `padding` is what lies outside: zeros, border (the nearest pixel), reflection, a fill value, or a tuple of
    one for each channel. Raises InputError for another name, or another number of fill values.
    """
    if isinstance(padding, str):
        choose("padding", padding, guards.PADDINGS)
        return F.grid_sample(images, grid, INTERPOLATION, padding, align_corners=ALIGN_CORNERS)
    fill = fill_values(images, padding)
    return sample(images - fill, grid) + fill


@torch.fx.wrap
def warp(images, theta, kind="affine", output_size=None, padding=PADDING_MODE, antialias=False):
    """Images (B, C, H, W) under theta: (B, C, h, w) with output_size (h, w), else of the input's size.

    `antialias`, for an output smaller than the input, reads as many points for each output pixel as it has
    input pixels, and gives their mean: the identity at half the size is a mean of 2 x 2 pixels. It goes by
    the two sizes, not by a scale within theta. The output has the images' type, if that is a floating one;
    grid and sampling are float32 at least. `padding` as in `sample`.
    """
    wide = widened(images)
    height, width = output_size or images.shape[-2:]
    rows, columns = _points_a_pixel(images.shape[-2:], (height, width)) if antialias else (1, 1)
    grid = sampling_grid(theta, height * rows, width * columns, kind)
    output = sample(wide, grid.to(wide.dtype), padding)
    if rows * columns > 1:
        output = F.avg_pool2d(output, (rows, columns))
    return output.to(images.dtype) if images.is_floating_point() else output


def _points_a_pixel(inputs, outputs):
    return [max(1, -(-int(i) // o)) for i, o in zip(inputs, outputs)]  # int: a traced size is a tensor


class SpatialTransformer(nn.Module):
    """Warp each image by the map that `localization` predicts for it (Jaderberg et al. 2015).

    `localization` is any module from (B, C, H, W) to the numbers of the `kind` of map (B, n), n from 1 for
    scale to 32 for tps (`transforms`); `localization_net` builds such modules. Input and output are
    (B, C, H, W). With `applied` off, images pass as they are, and the localization net gets no gradient.
    `.half()` rounds the localization net's computation of theta, autocast does not.

    - `output_size`, pixels of a side or (height, width): the output's size; None is the input's.
    - `padding`: zeros, border, reflection, a fill value, or a tuple of one for each channel.
    - `antialias`: see `warp`; for outputs smaller than the input.
    - `localization_size`: the localization net sees a copy of this size; the images themselves are sampled.
    - `max_scale` (above 1) and `max_angle` (degrees, to 180): bounds of a restricted map, see `to_theta`.
    - `return_theta`: `forward` returns (output, theta).
    - `keep_graph`: `last_theta` keeps its gradient, which `penalty` needs in training.

    `last_theta` is theta of the last call, detached unless `keep_graph`; None before the first, and inside
    exported or traced programs. In training, a RuntimeWarning says once that the grid has left the images.
    `torch.compile`, `torch.export`, `torch.jit.trace`, `torch.fx` and both ONNX exporters take the module;
    with `localization_size`, only the newer exporter (`dynamo=True`). `torch.jit.script` does not take it:
    script a network whose transformer is traced. In a program traced by `torch.fx`, autocast reaches the
    localization net.
    Source: paper Figure 1 and section 2.A. Raises InputError for a value that is not allowed.

    >>> net = localization_net("lstn", 64, kind="similarity")
    >>> stn = SpatialTransformer(net, "similarity", output_size=32, padding="border", antialias=True)
    >>> stn(torch.rand(5, 3, 64, 64)).shape
    torch.Size([5, 3, 32, 32])
    """

    def __init__(
        self,
        localization,
        kind="affine",
        applied=True,
        *,
        output_size=None,
        padding=PADDING_MODE,
        antialias=False,
        localization_size=None,
        max_scale=None,
        max_angle=None,
        return_theta=False,
        keep_graph=False,
    ):
        super().__init__()
        self.localization = localization
        self.kind = choose("kind of map", kind, KINDS)
        self.applied = applied
        self.output_size = guards.check_size("output_size", output_size)
        self.padding = guards.check_padding(padding)
        self.antialias = guards.check_flag("antialias", antialias)
        self.localization_size = guards.check_size("localization_size", localization_size)
        check_bounds(kind, max_scale, max_angle)
        self.max_scale, self.max_angle = max_scale, max_angle
        self.return_theta = guards.check_flag("return_theta", return_theta)
        self.keep_graph = guards.check_flag("keep_graph", keep_graph)
        if not applied and (output_size is not None or return_theta):
            raise InputError("applied False is not allowed with output_size or return_theta: give True.")
        self.last_theta, self._steps = None, 0

    def theta(self, images):
        """The predicted maps from the output's to the input's normalized coordinates.

        (B, 3, 3) for projective, (B, 16, 2) for tps, (B, 2, 3) for all other kinds.
        """
        with without_autocast(images):
            seen = as_parameters(resized(images, self.localization_size), self)
            numbers = widened(self.localization(seen))
            return to_theta(numbers, self.kind, self.max_scale, self.max_angle)

    def forward(self, images):
        if not self.applied:
            return images
        theta = self.theta(images)  # localization net
        self._look_at(theta)
        output = warp(images, theta, self.kind, self.output_size, self.padding, self.antialias)
        return (output, theta) if self.return_theta else output

    def penalty(self):
        """Distance of the last grid from the identity, to add to a loss: mean of `grid_distance`, a scalar.

        Raises InputError before the first call, and in training without `keep_graph`, where it would have no
        gradient.

        >>> loss = cross_entropy(model(images), labels) + 0.1 * model.transformer.penalty()
        """
        if self.last_theta is None:
            raise InputError("penalty() has no theta yet: call the transformer on images first.")
        if self.training and torch.is_grad_enabled() and not self.keep_graph:
            raise InputError("keep_graph False is not allowed for penalty() in training: give True.")
        return grid_distance(self.last_theta, self.kind).mean()

    def _look_at(self, theta):
        """Keep the last theta, and warn once if the grid has left the images."""
        if guards.is_proxy(theta) or torch.compiler.is_exporting() or torch.jit.is_tracing():
            return
        self.last_theta = theta if self.keep_graph else theta.detach()
        if not self.training or self._steps is None or not guards.is_running(theta):
            return
        self._steps += 1
        if self._steps % guards.CHECK_EVERY == 1:
            share = guards.share_outside(sampling_grid(theta.detach(), 8, 8, self.kind))
            if share >= guards.LEFT:
                guards.warn_outside(share)
                self._steps = None  # warned

    def __getstate__(self):
        """Leave the last theta out of copies and files: its graph can be in neither."""
        return self.__dict__ | {"last_theta": None}
