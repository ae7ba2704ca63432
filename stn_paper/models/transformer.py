"""The spatial transformer: theta -> sampling grid -> sampled image (paper Figure 1).

`transforms` has the families of maps and the **convention** of coordinates, directions and units. Here are
the grid generator (`sampling_grid`), the sampler (`sample`) and the module that joins them to a localization
net. Sampling is bilinear; what lies outside the input reads as 0 (`padding="zeros"`), which is mid-grey for
images normalized with mean 0.5, unless another padding is chosen.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import check_choice
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
    """Return the input points (B, height, width, 2) that the output's pixels are read from.

    theta is (B, 3, 3) for `projective`, (B, 16, 2) for `tps`, (B, 2, 3) for all other transforms; B may be 0.
    N maps an image, (B, N, 2, 3), give (B, N, height, width, 2). The grid has theta's type and is computed in
    float32 at least, in float64 on CUDA: bfloat16 and TF32 would move the pixels of a large image. The
    identity's points are the pixels' places to the last bit; an affine grid is torch's `affine_grid` to 3e-7.
    Source: paper section 2.A. Raises InputError for an unknown transform.

    >>> sampling_grid(affine_theta(scale=0.5)[None], 1, 2)
    tensor([[[[-0.2500,  0.0000],
              [ 0.2500,  0.0000]]]])
    """
    family = TRANSFORMS[check_choice("transform", transform, TRANSFORMS)]
    with guards.without_autocast(theta):
        return family.grid(guards.exact(theta), height, width).to(theta.dtype)


@torch.fx.wrap
def sample(images: Tensor, grid: Tensor, padding: Padding = PADDING_MODE) -> Tensor:
    """Return the images (B, C, H, W) read at grid (B, h, w, 2): (B, C, h, w). Differentiable in both.

    N glimpses an image, grid (B, N, h, w, 2), give (B, N, C, h, w). `padding` is what lies outside: zeros,
    border (the nearest pixel), reflection, a fill value, or a tuple of one for each channel.
    Source: paper section 2.A. Raises InputError for another name, or another number of fill values.

    >>> image = torch.arange(4.0).view(1, 1, 1, 4)
    >>> sample(image, sampling_grid(affine_theta(shift=(0.5, 0))[None], 1, 4), padding="border").flatten()
    tensor([1., 2., 3., 3.])
    """
    if grid.ndim == 5:  # one glimpse below the other
        glimpses = sample(images, grid.flatten(1, 2), padding)  # (B, C, N * h, w)
        return glimpses.unflatten(2, grid.shape[1:3]).movedim(2, 1)
    if isinstance(padding, str):
        check_choice("padding", padding, guards.PADDINGS)
        return F.grid_sample(images, grid, INTERPOLATION, padding, align_corners=ALIGN_CORNERS)
    fill = guards.fill_values(images, padding)
    return sample(images - fill, grid) + fill


@torch.fx.wrap
def warp(
    images: Tensor,
    theta: Tensor,
    transform: str = "affine",
    output_size: tuple[int, int] | None = None,
    padding: Padding = PADDING_MODE,
    antialias: bool = False,
) -> Tensor:
    """Return the images (B, C, H, W) under theta: (B, C, h, w), of `output_size` (h, w) or the input's size.

    theta as in `sampling_grid`; N maps an image give (B, N, C, h, w). `padding` as in `sample`. `antialias`,
    for an output smaller than the input, reads as many points for each output pixel as it has input pixels,
    and gives their mean: the identity at half the size is a mean of 2 x 2 pixels. It goes by the two sizes,
    not by a scale within theta. The output has the images' type, if that is a floating one; grid and sampling
    are float32 at least. Source: paper Figure 1. Raises InputError as `sample` and `sampling_grid` do.

    >>> warp(torch.rand(5, 3, 64, 64), affine_theta(scale=0.5).expand(5, 2, 3), output_size=(32, 32)).shape
    torch.Size([5, 3, 32, 32])
    """
    wide = guards.widened(images)
    height, width = output_size or images.shape[-2:]
    rows, columns = _points_a_pixel(images.shape[-2:], (height, width)) if antialias else (1, 1)
    grid = sampling_grid(theta, height * rows, width * columns, transform)
    output = sample(wide, grid.to(wide.dtype), padding)
    if rows * columns > 1:
        pooled = F.avg_pool2d(output.flatten(0, -4), (rows, columns))
        output = pooled if output.ndim == 4 else pooled.unflatten(0, (-1, output.shape[1]))
    return output.to(images.dtype) if images.is_floating_point() else output


@torch.fx.wrap
def grid_of(output: Tensor, theta: Tensor, transform: str = "affine") -> Tensor:
    """Return the input points (B, h, w, 2) that the pixels of the output (B, C, h, w) show; see `sampling_grid`."""
    return sampling_grid(theta, output.shape[-2], output.shape[-1], transform)


def _points_a_pixel(inputs, outputs):
    return [max(1, -(-int(i) // o)) for i, o in zip(inputs, outputs)]  # int: a traced size is a tensor


class SpatialTransformer(nn.Module):
    """Warp each image by the map that `localization` predicts for it (Jaderberg et al. 2015).

    `localization` is any module from images (B, C, H, W) to the numbers of a map of the family `transform`:
    (B, n), n from 1 for scale to 32 for tps (`transforms`); `localization_net` builds such modules. Input and
    output are (B, C, H, W). A recurrent localization net gives (B, N, n): N glimpses of each image, (B, N, C,
    H, W), in one pass. With `applied` off, images pass as they are, and the localization net gets no gradient.
    `.half()` rounds the localization net's computation of theta, autocast does not.

    - `output_size`, pixels of a side or (height, width): the output's size; None is the input's.
    - `padding`: zeros, border, reflection, a fill value, or a tuple of one for each channel.
    - `antialias`: see `warp`; for outputs smaller than the input.
    - `localization_size`: the localization net sees a copy of this size; the images themselves are sampled.
    - `max_scale` (above 1) and `max_angle` (degrees, to 180): bounds of a restricted map, see `to_theta`.
    - `steps`: the localization net looks this many times, each time at the image warped so far; the image is
      warped once, by the composed map (IC-STN, Lin and Lucey 2017). Bounds hold for each step. Not for tps.
    - `return_theta`, `return_grid`: `forward` returns (output, theta), (output, grid) or (output, theta, grid);
      grid (B, h, w, 2) is the input point of each output pixel, normalized x and y.
    - `keep_graph`: `last_theta` keeps its gradient, which `penalty` needs in training.

    `last_theta` is theta of the last call, detached unless `keep_graph`; None before the first, and inside
    exported or traced programs. In training, a RuntimeWarning says once that the grid has left the images.
    `torch.compile`, `torch.export`, `torch.jit.trace`, `torch.fx` and both ONNX exporters take the module;
    with `localization_size`, only the newer exporter (`dynamo=True`). `torch.jit.script` does not take it:
    script a network whose transformer is traced. In a program traced by `torch.fx`, autocast reaches the
    localization net.
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
        self.localization = localization
        self.transform = check_choice("transform", transform, TRANSFORMS)
        self.applied = applied
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
        """Return the warped images; with `return_theta` and `return_grid` a tuple with theta and the grid."""
        if not self.applied:
            return images
        theta = self.theta(images)  # localization net
        output = warp(images, theta, self.transform, self.output_size, self.padding, self.antialias)
        guards.keep_theta(self, theta, sampling_grid)  # as last_theta
        shown = (output, theta) if self.return_theta else (output,)
        if self.return_grid:
            shown += (grid_of(output, theta, self.transform),)
        return shown if len(shown) > 1 else output

    def theta(self, images: Tensor) -> Tensor:
        """Return the predicted maps from the output's to the input's normalized coordinates.

        (B, 3, 3) for projective, (B, 16, 2) for tps, (B, 2, 3) for all other transforms, in float32 at least;
        (B, N, ...) if the localization net gives N maps an image.
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
        """Return the last grid's distance from the identity, to add to a loss: mean of `grid_distance`, a scalar.

        Raises InputError before the first call, and in training without `keep_graph`, where it would have no
        gradient.

        >>> loss = cross_entropy(model(images), labels) + 0.1 * model.transformer.penalty()
        """
        return grid_distance(guards.check_penalty(self), self.transform).mean()

    def __getstate__(self):
        """Leave the last theta out of copies and files: its graph can be in neither."""
        return self.__dict__ | {"last_theta": None}
