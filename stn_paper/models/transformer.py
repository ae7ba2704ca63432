"""The spatial transformer: theta -> sampling grid -> sampled image (paper Figure 1).

`transforms` has the families of maps and the **convention** of coordinates, directions and units. This module has
the grid generator (`sampling_grid`), the sampler (`sample`) and `SpatialTransformer`, which joins them to a
localization net. Sampling is bilinear. By default (`padding="zeros"`), the sampler reads 0
at points outside the input image. In images normalized with mean 0.5, 0 is mid-grey.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import check_choice, check_whole_number
from . import guards, transforms
from .guards import Padding, Size
from .transforms import (
    CONTROL_POINTS,
    TRANSFORMS,
    affine_theta,
    compose,
    grid_distance,
    inverse_grid,
    invert,
    to_theta,
)

__all__ = [
    "CONTROL_POINTS",
    "TRANSFORMS",
    "SpatialTransformer",
    "affine_theta",
    "compose",
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


def sampling_grid(theta: Tensor, height: int, width: int, transform: str = "affine") -> Tensor:
    """Return the grid (B, height, width, 2): for each output pixel, the input point (x, y) that it is read from.

    theta is (B, 3, 3) for `projective`, (B, 16, 2) for `tps`, (B, 2, 3) for all other transforms; B may be 0.
    With N maps an image, theta (B, N, 2, 3) gives (B, N, height, width, 2). The grid has theta's type. It is computed
    in at least float32, on CUDA in float64, because bfloat16 and TF32 would move the pixels of a large image. The
    identity gives the exact coordinates of the pixels; an affine grid equals torch's `affine_grid` to 3e-7.
    Source: paper section 2.A. Raises InputError for an unknown transform, a theta of another shape, and a size that is
    not a whole number from 1.

    >>> sampling_grid(affine_theta(scale=0.5)[None], 1, 2)
    tensor([[[[-0.2500,  0.0000],
              [ 0.2500,  0.0000]]]])
    """
    family = TRANSFORMS[check_choice("transform", transform, TRANSFORMS)]
    transforms.check_theta(theta, transform)
    if guards.is_running(theta):
        check_whole_number("Height", height)
        check_whole_number("Width", width)
    with guards.without_autocast(theta):
        return family.grid(guards.exact(theta), height, width).to(theta.dtype)


@torch.fx.wrap
def sample(images: Tensor, grid: Tensor, padding: Padding = PADDING_MODE) -> Tensor:
    """Read the images (B, C, H, W) at the points of grid (B, h, w, 2): (B, C, h, w). Differentiable in both.

    With N glimpses an image, grid (B, N, h, w, 2) gives (B, N, C, h, w). `padding` says how points outside the image
    read: zeros, border (as the nearest pixel), reflection, a fill value, or a tuple of fill values, one a channel.
    Source: paper section 2.A. Raises InputError for another padding, and for a tuple whose length is not C.

    >>> image = torch.arange(4.0).view(1, 1, 1, 4)
    >>> sample(image, sampling_grid(affine_theta(shift=(0.5, 0))[None], 1, 4), padding="border").flatten()
    tensor([1., 2., 3., 3.])
    """
    if grid.ndim == 5:  # one glimpse below the other
        glimpses = sample(images, grid.flatten(1, 2), padding)  # (B, C, N * h, w)
        return glimpses.unflatten(2, grid.shape[1:3]).movedim(2, 1)
    padding = guards.check_padding(padding)
    if isinstance(padding, str):
        return F.grid_sample(images, grid, INTERPOLATION, padding, align_corners=ALIGN_CORNERS)
    fill = guards.fill_values(images, padding)
    return sample(images - fill, grid) + fill


@torch.fx.wrap
def warp(
    images: Tensor,
    theta: Tensor,
    transform: str = "affine",
    output_size: Size = None,
    padding: Padding = PADDING_MODE,
    antialias: bool = False,
) -> Tensor:
    """Warp the images (B, C, H, W) by theta: (B, C, h, w).

    - `theta`: see `sampling_grid`; N maps an image give (B, N, C, h, w).
    - `output_size`: the output's size in pixels of a side or (height, width); None is (H, W).
    - `padding`: see `sample`.
    - `antialias`: for an output smaller than the input, each output pixel is the mean of as many points as input
      pixels fall on it. At half the size, the identity gives means of 2 x 2 pixels. Only the two sizes matter, not a
      scale within theta.

    The output has the images' type if that is a floating-point type, else float32. Grid and sampling are computed in
    at least float32. Source: paper Figure 1. Raises InputError for such a size, and as `sample` and `sampling_grid` do.

    >>> warp(torch.rand(5, 3, 64, 64), affine_theta(scale=0.5).expand(5, 2, 3), output_size=32).shape
    torch.Size([5, 3, 32, 32])
    """
    wide = guards.widened(images)
    height, width = guards.check_size("output_size", output_size) or images.shape[-2:]
    rows, columns = _points_a_pixel(images.shape[-2:], (height, width)) if antialias else (1, 1)
    grid = sampling_grid(theta, height * rows, width * columns, transform)
    output = sample(wide, grid.to(wide.dtype), padding)
    if rows * columns > 1:
        pooled = F.avg_pool2d(output.flatten(0, -4), (rows, columns))
        output = pooled if output.ndim == 4 else pooled.unflatten(0, (-1, output.shape[1]))
    return output.to(images.dtype) if images.is_floating_point() else output


@torch.fx.wrap
def grid_of(output: Tensor, theta: Tensor, transform: str = "affine") -> Tensor:
    """Return the grid (B, h, w, 2) that the output (B, C, h, w) was read at; see `sampling_grid`."""
    return sampling_grid(theta, output.shape[-2], output.shape[-1], transform)


def _points_a_pixel(inputs, outputs):
    return [max(1, -(-int(i) // o)) for i, o in zip(inputs, outputs)]  # int: a traced size is a tensor


class SpatialTransformer(nn.Module):
    """Warp each image by the map that `localization` predicts for it (Jaderberg et al. 2015).

    Input and output are images (B, C, H, W). If `localization` returns N maps an image, the output is N glimpses of
    each image, (B, N, C, H, W).

    - `localization`: any module from images (B, C, H, W) to the numbers of a map, (B, n), or of N maps, (B, N, n).
      `localization_net` builds such modules.
    - `transform`: the family of maps, see `transforms`; n is 1 for scale, 6 for affine, 32 for tps.
    - `applied`: False bypasses the transformer: images are returned unchanged, and the localization net gets no
      gradient.
    - `output_size`: the output's size in pixels of a side or (height, width); None is the input's size.
    - `padding`: zeros, border, reflection, a fill value, or a tuple with a fill value for each channel.
    - `antialias`: for outputs smaller than the input, see `warp`.
    - `localization_size`: the localization net sees a copy of this size; the images themselves are sampled.
    - `max_scale`: the largest scale of a restricted map, a number above 1; see `to_theta`.
    - `max_angle`: the largest angle of a restricted map, in degrees, above 0 and at most 180.
    - `steps`: the localization net runs this many times, each time on the image warped so far. The output is read
      once, by the composed map (IC-STN, Lin and Lucey 2017). Bounds hold for each step. Not for tps.
    - `return_theta`, `return_grid`: `forward` returns (output, theta), (output, grid) or (output, theta, grid).
      For grid (B, h, w, 2), see `sampling_grid`.
    - `keep_graph`: `last_theta` keeps its gradient, which `penalty` needs in training.

    The attribute `last_theta` is theta of the last call, detached unless `keep_graph` is True. It is None before the
    first call, and exported or traced programs do not set it. In training, a RuntimeWarning says once if at least 95 %
    of the grid lies outside the images; a compiled transformer does not warn. The localization net computes in the
    precision of its parameters, also under autocast; so `.half()` rounds theta, and autocast does not.

    `torch.compile`, `torch.export`, `torch.jit.trace`, `torch.fx` and both ONNX exporters accept the module. With
    `localization_size`, only the newer ONNX exporter (`dynamo=True`) does. `torch.jit.script` does not accept it:
    trace the transformer first, then script the network. In a program traced by `torch.fx`, autocast changes the
    localization net's precision.
    Source: paper Figure 1 and section 2.A. Raises InputError for a value that is not allowed.

    >>> net = localization_net("lstn", 64, transform="similarity")
    >>> stn = SpatialTransformer(net, "similarity", output_size=32, padding="border", antialias=True)
    >>> stn(torch.rand(5, 3, 64, 64)).shape
    torch.Size([5, 3, 32, 32])
    """

    def __init__(
        self,
        localization: nn.Module,
        transform: str = "affine",
        applied: bool = True,
        *,
        output_size: Size = None,
        padding: Padding = PADDING_MODE,
        antialias: bool = False,
        localization_size: Size = None,
        max_scale: float | None = None,
        max_angle: float | None = None,
        steps: int = 1,
        return_theta: bool = False,
        return_grid: bool = False,
        keep_graph: bool = False,
    ):
        super().__init__()
        self.localization = guards.check_localization(localization)
        self.transform = check_choice("transform", transform, TRANSFORMS)
        self.applied = guards.check_flag("applied", applied)
        self.output_size = guards.check_size("output_size", output_size)
        self.padding = guards.check_padding(padding)
        self.antialias = guards.check_flag("antialias", antialias)
        self.localization_size = guards.check_size("localization_size", localization_size)
        self.max_scale, self.max_angle = transforms.check_bounds(transform, max_scale, max_angle)
        self.steps = transforms.check_steps(transform, steps)
        self.return_theta = guards.check_flag("return_theta", return_theta)
        self.return_grid = guards.check_flag("return_grid", return_grid)
        self.keep_graph = guards.check_flag("keep_graph", keep_graph)
        guards.check_bypass(applied, output_size, return_theta or return_grid)
        self.last_theta, self._calls = None, 0

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the warped images; with `return_theta` or `return_grid`, a tuple that ends with theta or the grid."""
        if not self.applied:
            return images
        theta = self.theta(images)
        output = warp(images, theta, self.transform, self.output_size, self.padding, self.antialias)
        guards.keep_theta(self, theta, sampling_grid)
        shown = (output, theta) if self.return_theta else (output,)
        if self.return_grid:
            shown += (grid_of(output, theta, self.transform),)
        return shown if len(shown) > 1 else output

    def theta(self, images: Tensor) -> Tensor:
        """Return the maps that the localization net predicts for the images (B, C, H, W).

        Shapes: (B, 3, 3) for projective, (B, 16, 2) for tps, (B, 2, 3) for all other transforms; (B, N, ...) for N
        maps an image. Type: float32 or wider. Raises InputError for images of another size than the localization net
        takes.
        """
        with guards.without_autocast(images):
            seen = guards.as_parameters(guards.resized(images, self.localization_size), self)
            theta = self._predict(seen)
            for _ in range(self.steps - 1):
                guards.check_one_map(theta, self.steps)
                warped = warp(seen, theta, self.transform, padding=self.padding)
                theta = transforms.compose(theta, self._predict(warped), self.transform)
            return theta

    def _predict(self, images):
        numbers = guards.widened(self.localization(images))
        return transforms.to_theta(numbers, self.transform, self.max_scale, self.max_angle)

    def penalty(self) -> Tensor:
        """Return a penalty to add to a loss: the mean of `grid_distance` over the last call's maps, a scalar.

        Raises InputError before the first call, and in training without `keep_graph`, because theta then has no
        gradient.

        >>> loss = cross_entropy(model(images), labels) + 0.1 * model.transformer.penalty()
        """
        return grid_distance(guards.check_penalty(self), self.transform).mean()

    def __getstate__(self):
        """Leave `last_theta` out of copies and files, because its graph cannot be copied or saved."""
        return self.__dict__ | {"last_theta": None}
