"""Batches of normalized images on the device of the run."""

from functools import lru_cache

import torch

from ..data.enlarge import enlarge

EVALUATION_BATCH = {"cuda": 400}  # images, on other devices 100; the accuracy does not depend on it
MEMORY_FORMAT = torch.channels_last  # of networks and images
NORMALIZATIONS = {  # mean and standard deviation of red, green and blue in [0, 1]
    "half": (0.5, 0.5),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def batches_of(data, device, normalization, size):
    """(indices, batch size) -> (images, labels) batches of these Images on the device, as a network takes them.

    Without a batch size the batches are those of an evaluation.
    """
    evaluation = EVALUATION_BATCH.get(torch.device(device).type, 100)
    return lambda indices, count=evaluation: batches(data, device, normalization, size, indices, count)


def batches(data, device, normalization, size, indices, batch_size):
    """Yield the network's input (B, 3, size, size) and labels (B,) on the device, in the order of `indices`.

    A last batch of one image joins the one before, as batch norm on a 1 x 1 map needs two.
    """
    order, labels = torch.from_numpy(indices), data.labels.to(device)  # copied once, not batch by batch
    sizes = [len(part) for part in order.split(batch_size)]
    if sizes[1:] and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    places, chosen = (order.to(where).split(sizes) for where in (data.images.device, device))
    for place, which in zip(places, chosen):
        yield network_input(data.images[place], device, normalization, size), labels[which]


def network_input(images, device, normalization, size):
    """The network's input of uint8 images (B, 3, S, S): enlarged to `size`, normalized floats, on the device."""
    images = enlarge(images.to(device), size).contiguous(memory_format=MEMORY_FORMAT)
    return normalize(images, normalization)


def normalize(images, normalization="half"):
    """uint8 images (B, 3, H, W) to float by a row of NORMALIZATIONS; "half" gives -1 to 1."""
    mean, std = _scales(normalization, images.device)
    return images.float().sub_(mean).div_(std)


@lru_cache
def _scales(normalization, device):
    """A row of NORMALIZATIONS for uint8 images, on the device."""
    return [
        255 * torch.tensor(values, device=device).view(-1, 1, 1) for values in NORMALIZATIONS[normalization]
    ]


def on_device(images, device):
    """The images in the GPU's memory if they leave half of it free, else where they are."""
    if device.type != "cuda" or images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return images
    return images.to(device)
