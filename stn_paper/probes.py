"""What a trained network shows that accuracies do not: kept in its record, as weights are not kept.

`training` calls these where the protocol has `probes`; `looking` draws them. All use the weights after the
last epoch, but what is watched during the training.
"""

import base64
import io

import numpy as np
import torch
from PIL import Image
from torch import nn

from .datasets import known_maps
from .distortions import DIGIT
from .transformer import affine_theta, sample, sampling_grid

EXAMPLES = 4  # validation images, of as many classes
SNAPSHOTS = 40  # of theta during a training, from before the first step to after the last
MOTIONS = 40  # places on the closed path that an image is moved along


def examples(data, split):
    """Indices of the first validation image of each of the first EXAMPLES classes that have one."""
    labels = data.labels[split.validation].numpy()
    first = [split.validation[labels == c][0] for c in np.unique(labels)[:EXAMPLES]]
    return [int(index) for index in first]


def steps_to_watch(steps):
    """The numbers of the steps after which theta is kept, of a training of so many steps.

    They lie the closer the earlier, as most happens in the beginning.
    """
    return sorted({round(steps * x**2) for x in np.linspace(0, 1, SNAPSHOTS)})


def collect(model, dataset, data, split, normalized):
    """All that the record keeps of the trained `model`; `normalized` makes the network's input of images.

    `images` are examples as PNG, `label` their classes and `gradcam` a map each of where the network looks.
    With a transformer: `theta` of the examples; `motion`, theta of the last example at each place of
    `motion_maps`; and, where the distortions are known and affine, how much of them is `recovered`.
    """
    chosen = examples(data, split)
    images, labels = data.images[chosen].cpu(), data.labels[chosen]
    device = next(model.parameters()).device
    heat = gradcam(model, normalized(images), labels.to(device))
    kept = {
        "images": [as_png(image) for image in images],
        "label": labels.tolist(),
        "gradcam": _rounded(heat[:, 0]),
    }
    if not hasattr(model, "transformer"):
        return kept
    kept["theta"] = thetas(model, normalized(images))
    moved = sample(
        images[:1].float().expand(MOTIONS, -1, -1, -1), sampling_grid(motion_maps(), *images.shape[-2:])
    )
    kept["motion"] = thetas(model, normalized(moved.round().byte()))
    known = known_maps(dataset, len(data.images))
    if known is not None and model.transformer.kind == "affine":
        batches = torch.from_numpy(split.test).split(500)
        theta = [torch.tensor(thetas(model, normalized(data.images[batch]))) for batch in batches]
        kept["recovered"] = recovered(known[split.test], torch.cat(theta))
    return kept


@torch.no_grad()
def thetas(model, images):
    """The maps that the transformer at the input predicts for normalized images, as nested lists."""
    training = model.training
    model.eval()
    theta = model.transformer.theta(images)
    model.train(training)
    return _rounded(theta)


def motion_maps():
    """A closed path of maps (MOTIONS, 2, 3): an image turns, shrinks, grows and wanders."""
    turns = torch.arange(MOTIONS) / MOTIONS * 2 * torch.pi
    return torch.stack(
        [
            affine_theta(
                30 * torch.sin(t).item(),
                1.15 + 0.15 * torch.sin(2 * t).item(),
                (0.2 * torch.cos(t).item(), 0.2 * torch.sin(2 * t).item()),
            )
            for t in turns
        ]
    )


def moved(image, maps):
    """uint8 (1, C, S, S) read by each of the maps (K, 2, 3), black outside: uint8 (K, C, S, S)."""
    images = image.float().expand(len(maps), -1, -1, -1)
    return sample(images, sampling_grid(maps, *image.shape[-2:])).round().byte()


def gradcam(model, images, labels):
    """Grad-CAM (Selvaraju et al. 2017, by captum) at the classifier's last convolution, (B, 1, h, w) >= 0.

    It explains the right class. Behind a transformer, places are those of the transformed image.
    """
    from captum.attr import LayerGradCam  # seconds that most runs do not need

    classifier = [m for name, m in model.named_modules() if "transformer" not in name and "inner" not in name]
    layer = [m for m in classifier if isinstance(m, nn.Conv2d)][-1]
    model.eval()
    return LayerGradCam(model, layer).attribute(images, labels, relu_attributions=True).detach()


def recovered(known, theta):
    """How much of known maps a transformer undoes: {quantity: {before, after: [median, 90th percentile]}}.

    `known` (N, 2, 3) reads an image's pixels from the undistorted digit, `theta` (N, 2, 3) the transformer's
    output from the image. A transformer may choose any pose to show all digits in: after it, what is left
    is the distance of each output from the typical pose, the median of all; before it, that of each image.
    Rotation in degrees, scale as a ratio from 1, shift in pixels of the digit.
    """
    last = torch.tensor([[[0.0, 0.0, 1.0]]], dtype=known.dtype).expand(len(known), 1, 3)
    after = known @ torch.cat([theta, last], 1)
    table = {}
    for moment, maps in (("before", known), ("after", after)):
        for quantity, values in _distances(maps).items():
            quantiles = np.quantile(values, (0.5, 0.9)).round(4).tolist()
            table.setdefault(quantity, {})[moment] = quantiles
    return table


def _distances(maps):
    """Each map's distance from the median pose of all: rotation, scale and shift, (N,) each."""
    (a, b, x), (c, d, y) = maps.double().numpy().transpose(1, 2, 0)
    turn = np.exp(1j * np.arctan2(c - b, a + d))  # of the nearest rotation
    away = np.angle(turn / np.mean(turn))
    scale = np.log(np.sqrt(np.abs(a * d - b * c)).clip(1e-6))
    shift = np.stack([x, y]) * DIGIT / 2
    return {
        "rotation": np.abs(np.degrees(away - np.median(away))),
        "scale": np.exp(np.abs(scale - np.median(scale))),
        "shift": np.linalg.norm(shift - np.median(shift, 1, keepdims=True), axis=0),
    }


def as_png(image):
    """uint8 (C, H, W) or (H, W) as base64 text of a PNG."""
    array = np.asarray(image)
    buffer = io.BytesIO()
    Image.fromarray(array.transpose(1, 2, 0) if array.ndim == 3 else array).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def from_png(text):
    """The uint8 tensor that `as_png` wrote."""
    array = np.array(Image.open(io.BytesIO(base64.b64decode(text))))
    return torch.from_numpy(array.transpose(2, 0, 1) if array.ndim == 3 else array)


def _rounded(tensor):
    return np.asarray(tensor.cpu(), np.float64).round(4).tolist()
