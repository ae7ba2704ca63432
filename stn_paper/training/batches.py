"""Batches of normalized images on the device of the run; training images may be distorted for each batch."""

import math
from functools import lru_cache

import numpy as np
import torch

from ..data import datasets
from ..data.datasets import DATASETS, stored_size
from ..data.distortions import DISTORTIONS, distort_images, new_theta
from ..data.download import ensure_dataset
from ..data.enlarge import enlarge
from ..errors import InputError
from .protocol import LOCAL, REDRAWN

EVALUATION_BATCH = {"cuda": 400}  # images, on other devices 100; the accuracy does not depend on it
MEMORY_FORMAT = torch.channels_last  # of networks and images
CHANNEL_STATISTICS = {  # mean and standard deviation of red, green and blue in [0, 1]
    "half": (0.5, 0.5),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
LOCAL_WIDTH = 2.0  # pixels: standard deviation of the Gaussian of the local normalization


def load_run_images(spec, data_dir, until=math.inf):
    """Return the Images of a run, downloaded first if missing; raises InputError as `datasets.load_images` does."""
    ensure_dataset(spec.dataset, data_dir, until)
    size = stored_size(spec.dataset, spec.image_size)
    return datasets.load_images(spec.dataset, size, data_dir, spec.protocol.skip_corrupt, until)


def check_size(spec, data):
    """Return the Images of a run if they have the size that it needs, else raise InputError."""
    size = stored_size(spec.dataset, spec.image_size)
    height, width = data.images.shape[-2:]
    if height != size or width != size:
        raise InputError(
            f"data of {height} x {width} pixels is not allowed for this run: load it at {size} pixels."
        )
    return data


def batches_of(data, device, normalization, size):
    """Return the function (indices, batch size, read) that yields batches of these Images, see `make_batches`.

    Without a batch size, it takes the batch size of evaluations.
    """
    evaluation = EVALUATION_BATCH.get(torch.device(device).type, 100)
    return lambda indices, count=evaluation, read=None: make_batches(
        data, device, normalization, size, indices, count, read
    )


def make_batches(data, device, normalization, size, indices, batch_size, read=None):
    """Yield the network's input (B, 3, size, size) and labels (B,) on the device, in the order of `indices`.

    `read` is a function from indices to uint8 images (B, 3, S, S); by default it returns the dataset's images.
    A last batch of one image is joined to the batch before, because batch norm on a 1 x 1 map needs two images.
    """
    order, labels = torch.from_numpy(indices), data.labels.to(device)  # copied once, not batch by batch
    sizes = [len(part) for part in order.split(batch_size)]
    if sizes[1:] and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    places, chosen = (order.to(where).split(sizes) for where in (data.images.device, device))
    for place, which in zip(places, chosen):
        images = data.images[place] if read is None else read(place)
        yield network_input(images, device, normalization, size), labels[which]


def augment(spec, data, epoch):
    """Return the function `read` of `make_batches` that augments an epoch's training images; None without augmentation.

    The maps are drawn from the seed and the number of the epoch, so that a run continued from a checkpoint sees the
    same images. The augmentation `redrawn` draws new maps of the dataset's own distortion; `jitter` shifts and scales
    the images a little and repeats their edges outside.
    """
    name, random = spec.protocol.augmentation, np.random.RandomState([spec.seed, epoch, 1])
    if name is None:
        return None
    if name != REDRAWN:

        def jittered(places):
            theta = new_theta(name, len(places), random).to(data.images.device)
            return distort_images(data.images[places], theta, padding="border")

        return jittered
    # RunSpec allows `redrawn` for distorted datasets only
    distortion = DATASETS[spec.dataset].distortion or ""
    kind = DISTORTIONS[distortion].kind

    def redrawn(places):
        digits, theta = data.undistorted[places.cpu(), None], new_theta(distortion, len(places), random)
        return distort_images(digits, theta, kind, spec.image_size).expand(-1, 3, -1, -1)

    return redrawn


def network_input(images, device, normalization, size):
    """Return the network's input of uint8 images (B, 3, S, S), or (B, 1, S, S) if grey: float (B, 3, size, size).

    The images are enlarged to `size` and normalized on the device. Raises InputError for images of another type or
    shape, and for images larger than `size`.
    """
    fits = images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[2] == images.shape[3]
    if images.dtype != torch.uint8 or not fits:
        raise InputError(
            f"Images of type {images.dtype} and shape {tuple(images.shape)} are not allowed: give uint8 (B, 3, S, S)."
        )
    images = enlarge(images.to(device), size).expand(-1, 3, -1, -1)
    return normalize(images.contiguous(memory_format=MEMORY_FORMAT), normalization)


def normalize(images, normalization="half"):
    """Normalize uint8 images (B, 3, H, W) to float, by a row of CHANNEL_STATISTICS or LOCAL; "half" gives -1 to 1."""
    if normalization == LOCAL:
        return _normalize_locally(images.float())
    mean, std = _scales(normalization, images.device)
    return images.float().sub_(mean).div_(std)


def _normalize_locally(images):
    """Subtract the mean around each pixel, and divide by the standard deviation around it, over all channels.

    The divisor is at least the image's mean deviation and at least one grey level. Source: local contrast
    normalization (Jarrett et al. 2009), which the published sign networks use.
    """
    rows, columns = (_gaussian(side, images.device) for side in images.shape[-2:])
    centred = images - rows @ images @ columns.T
    deviation = (rows @ centred.square().mean(1, keepdim=True) @ columns.T).sqrt()
    floor = deviation.mean((2, 3), keepdim=True).clamp(min=1.0)  # a grey level of 255
    return centred / torch.maximum(deviation, floor)


@lru_cache
def _gaussian(side, device):
    """Return the matrix (side, side) whose product with a column of pixels is the column's Gaussian means."""
    place = torch.arange(float(side), device=device)
    weight = torch.exp(-((place - place[:, None]) ** 2) / (2 * LOCAL_WIDTH**2))
    return weight / weight.sum(1, keepdim=True)


@lru_cache
def _scales(normalization, device):
    """A row of CHANNEL_STATISTICS for uint8 images, on the device."""
    return [
        255 * torch.tensor(values, device=device).view(-1, 1, 1)
        for values in CHANNEL_STATISTICS[normalization]
    ]


def keep_on_device(images, device):
    """Return the images on the GPU if they fit into half of its free memory; else return them unchanged."""
    if device.type != "cuda" or images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return images
    return images.to(device)
