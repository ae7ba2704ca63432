"""Enlarge images on any device; the results equal Pillow's to the last bit.

CIFAR-10's images have 32 pixels a side and are enlarged batch by batch: stored at the paper's sizes, 224 to
300 pixels, they would need 48 GB of disk.
"""

import math
from functools import lru_cache

import torch

from ..errors import InputError

BITS = 22  # Pillow's weights are whole multiples of 2 ** -22, so that their sums are exact in float64


def enlarge(images: torch.Tensor, size: int) -> torch.Tensor:
    """Enlarge square uint8 images (B, C, S, S) to `size` >= S pixels a side, as Pillow's BILINEAR does.

    Computed on the images' device. Images that have this size already are returned unchanged. Raises InputError for a
    smaller `size`.

    >>> enlarge(torch.tensor([[[[0, 100], [100, 200]]]], dtype=torch.uint8), 4)[0, 0, 0].tolist()
    [0, 25, 75, 100]
    """
    side = images.shape[-1]
    if side == size:
        return images
    if size < side:
        raise InputError(
            f"Images of {side} pixels a side cannot be enlarged to {size}: give at least {side}, or images of at most "
            f"{size}."
        )
    weights = _weights(side, size, images.device)
    rows = _round_sums(images.double() @ weights.T)  # Pillow rounds between its two passes
    return _round_sums(weights @ rows).byte()


def _round_sums(sums):
    return (sums / 2**BITS + 0.5).floor_().clamp_(0, 255)


@lru_cache
def _weights(side, size, device):
    """Return Pillow's weights, float64 (size, side): pixel i of the output is the sum of the input times row i."""
    weights = torch.zeros(size, side, dtype=torch.float64)
    for i in range(size):
        middle = (i + 0.5) * (side / size)
        first, end = max(int(middle - 0.5), 0), min(int(middle + 1.5), side)
        row = [max(0.0, 1 - abs(j - middle + 0.5)) for j in range(first, end)]
        weights[i, first:end] = torch.tensor([math.floor(0.5 + w / sum(row) * 2**BITS) for w in row]).double()
    return weights.to(device)
