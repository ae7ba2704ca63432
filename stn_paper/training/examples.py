"""The results of the trained network that a record keeps: its test and its diagnostics. Most runs keep no weights.

`loop` calls `collect_results` after the training and `watch_theta` during it; `report.explorer` draws the results.
"""

import base64
import io
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import nn

from ..data.datasets import known_maps
from ..data.distortions import DIGIT, distort_images
from ..models import ORIGINAL
from ..models.transformer import affine_theta
from .batches import network_input
from .evaluation import evaluate_test_images

EXAMPLES = 4  # validation images, each of another class
SNAPSHOTS = 40  # of theta during a training, from before the first step to after the last
MOTIONS = 40  # maps on the closed path of `motion_maps`
STRENGTHS = {  # distortion of the test images -> its strengths
    "rotation": (0, 15, 30, 45, 60, 75, 90),  # degrees, to either side
    "scale": (0.5, 0.6, 0.7, 0.85, 1, 1.2, 1.5, 2),  # of what the image shows, as a ratio
    "shift": (0, 0.1, 0.2, 0.3, 0.4, 0.5),  # in image sides, in any direction
}
DISTORTED = 2000  # test images that are distorted to each strength


def example_indices(data, split):
    """Return the index of the first validation image of each of the first EXAMPLES classes with such an image."""
    labels = data.labels[split.validation].numpy()
    first = [split.validation[labels == c][0] for c in np.unique(labels)[:EXAMPLES]]
    return [int(index) for index in first]


def moving_example(images):
    """Return the example image (1, C, S, S) that is moved along `motion_maps`: the last of (N, C, S, S)."""
    return images[-1:]


def watched_steps(steps):
    """Return the training steps after which theta is recorded, sorted; `steps` is the length of the training.

    They are closer together at the beginning, where theta changes most.
    """
    return sorted({round(steps * x**2) for x in np.linspace(0, 1, SNAPSHOTS)})


def collect_results(job, state):
    """Return those of the record's fields `test`, `probes` and `glimpses` that the run has.

    If the protocol evaluates the test images once, the network has the weights of the selected epoch, else those of the
    last epoch.
    """
    if "best" in state:
        job.model.load_state_dict(state["best"])
    found = {"test": evaluate_test_images(job)} if job.spec.protocol.test_once else {}
    if job.spec.protocol.probes:
        found["probes"] = collect_probes(job) | {"training": state["watched"]}
    if job.data.labels.ndim == 2:
        found["glimpses"] = collect_glimpses(job)
    return found


def collect_probes(job):
    """Return all diagnostics of the trained network of a `loop.Job`: the record's field `probes`.

    - `images`: the examples as PNG. `label`: their classes.
    - `gradcam`: the Grad-CAM map of each example, see `gradcam`.
    - `strength`: the accuracies on distorted test images, see `accuracy_by_strength`.
    - With a transformer, `theta`: theta of the examples. `motion`: theta of the `moving_example` under each map of
      `motion_maps`.
    - `recovered_in_class`, where affine distortions are known: how much of them the transformer undoes, see
      `measure_recovery`.
    """
    model, data, split = job.model, job.data, job.split
    normalized = _input_maker(job)
    chosen = example_indices(data, split)
    images, labels = data.images[chosen].cpu().expand(-1, 3, -1, -1), data.labels[chosen]
    heat = gradcam(model, normalized(images), labels.to(job.device))
    kept = {
        "images": [as_png(image) for image in images],
        "label": labels.tolist(),
        "gradcam": _rounded(heat[:, 0]),
        "strength": accuracy_by_strength(model, data, split.test[:DISTORTED], normalized),
    }
    if not hasattr(model, "transformer"):
        return kept
    kept["theta"] = predict_theta(model, normalized(images))
    kept["motion"] = predict_theta(model, normalized(move_images(moving_example(images), motion_maps())))
    digit_maps = known_maps(job.spec.dataset, len(data.images))
    if digit_maps is not None and model.transformer.transform == "affine":
        batches = torch.from_numpy(split.test).split(500)
        theta = [torch.tensor(predict_theta(model, normalized(data.images[batch]))) for batch in batches]
        maps, theta = digit_maps[split.test], torch.cat(theta)
        kept["recovered_in_class"] = measure_recovery(maps, theta, data.labels[split.test].numpy())
    return kept


def _input_maker(job):
    """Return the function that turns the dataset's uint8 images into the network's input."""
    settings = {"normalization": job.spec.protocol.normalization, "size": job.spec.image_size}
    return partial(network_input, device=job.device, **settings)


def watch_theta(job, state):
    """Return the function that the loop calls after each step: it records theta of the examples."""
    spec, model, data, split = job.spec, job.model, job.data, job.split
    if not spec.protocol.probes or spec.variant == ORIGINAL:
        return lambda step: None
    images = _input_maker(job)(data.images[example_indices(data, split)])
    batches = -(-len(split.train) // spec.protocol.batch_size)
    steps = watched_steps(spec.protocol.max_epochs * batches)
    if not state["epochs"]:
        state["watched"] = {"steps": [0], "theta": [predict_theta(model, images)]}

    def watch(step):
        number = len(state["epochs"]) * batches + step
        if number in steps:
            state["watched"]["steps"].append(number)
            state["watched"]["theta"].append(predict_theta(model, images))

    return watch


def collect_glimpses(job):
    """Return results on the first test images of a network that reads several digits: the record's field `glimpses`.

    `images` as PNG, `labels` and `predicted` digits from left to right, and, with a transformer, `theta`: a map a
    glimpse.
    """
    chosen = job.split.test[: 2 * EXAMPLES]
    images = _input_maker(job)(job.data.images[chosen])
    with torch.no_grad():
        predicted = job.model.eval()(images).argmax(1)
    found = {
        "images": [as_png(image[0]) for image in job.data.images[chosen].cpu()],
        "labels": job.data.labels[chosen].tolist(),
        "predicted": predicted.tolist(),
    }
    if job.spec.variant != ORIGINAL:
        theta = torch.tensor(predict_theta(job.model, images))
        found["theta"] = theta.view(len(chosen), -1, 2, 3).tolist()
    return found


@torch.no_grad()
def predict_theta(model, images):
    """Return theta that the transformer at the input predicts for normalized images, as nested lists."""
    training = model.training
    model.eval()
    theta = model.transformer.theta(images)
    model.train(training)
    return _rounded(theta)


def motion_maps():
    """Return a closed path of maps (MOTIONS, 2, 3): rotation, scale and shift of an image change smoothly."""
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


def move_images(images, maps):
    """Warp uint8 images (K, C, S, S), or one image (1, C, S, S), by maps (K, 2, 3): (K, C, S, S), black outside."""
    return distort_images(images.expand(len(maps), -1, -1, -1), maps)


@torch.no_grad()
def accuracy_by_strength(model, data, indices, normalized):
    """Return the accuracy in percent on distorted test images: {distortion: [accuracy at each strength]}.

    Strengths are relative to the images of the dataset. The sides and directions of the distortions are random, but
    the same for all networks and strengths. The outside of an image is black.
    """
    model.eval()
    random = np.random.RandomState(0)
    sides, directions = random.choice([-1, 1], len(indices)), random.uniform(0, 2 * np.pi, len(indices))
    accuracies = {}
    for distortion, strengths in STRENGTHS.items():
        accuracies[distortion] = []
        for strength in strengths:
            correct = 0
            for batch in np.array_split(np.arange(len(indices)), -(-len(indices) // 500)):
                theta = strength_maps(distortion, strength, sides[batch], directions[batch])
                chosen = indices[batch]
                distorted = move_images(data.images[chosen].cpu(), theta)
                predicted = model(normalized(distorted)).argmax(1).cpu()
                correct += (predicted == data.labels[chosen]).sum().item()
            accuracies[distortion].append(round(100 * correct / len(indices), 4))
    return accuracies


def strength_maps(distortion, strength, sides, directions):
    """Return the maps (N, 2, 3) that distort N images to one strength of a row of STRENGTHS.

    `sides` (N,): -1 or 1, the sense of each rotation. `directions` (N,): the direction of each shift, in radians.
    """
    changes = {
        "rotation": lambda side, _: affine_theta(strength * side),
        "scale": lambda *_: affine_theta(scale=1 / strength),
        "shift": lambda _, way: affine_theta(
            shift=(2 * strength * np.cos(way).item(), 2 * strength * np.sin(way).item())
        ),
    }
    return torch.stack([changes[distortion](side.item(), way) for side, way in zip(sides, directions)])


def gradcam(model, images, labels):
    """Return Grad-CAM of the right class at the classifier's last convolution, (B, 1, h, w) >= 0.

    Behind a transformer, the map belongs to the warped image. Source: Selvaraju et al. 2017, computed by captum.
    """
    from captum.attr import LayerGradCam  # not at the top: the import takes seconds

    classifier = [m for name, m in model.named_modules() if "transformer" not in name and "inner" not in name]
    layer = [m for m in classifier if isinstance(m, nn.Conv2d)][-1]
    model.eval()
    return LayerGradCam(model, layer).attribute(images, labels, relu_attributions=True).detach()


def measure_recovery(known_maps, theta, labels=None):
    """Return how much of known maps a transformer undoes: {quantity: {before, after: [median, 90th percentile]}}.

    `known_maps` (N, 2, 3) map the image to the undistorted digit, `theta` (N, 2, 3) the transformer's output to the
    image. A transformer may show all digits in one pose of its own. So `after` is the distance of each output from
    the median pose of all outputs, and `before` is the distance of each image from the median pose of all images.
    With `labels` (N,), medians are taken within each class, because a transformer may show each class in another pose.
    Rotation is in degrees, scale a ratio from 1, shift in pixels of the digit.
    """
    last = torch.tensor([[[0.0, 0.0, 1.0]]], dtype=known_maps.dtype).expand(len(known_maps), 1, 3)
    after = known_maps @ torch.cat([theta, last], 1)
    table = {}
    for moment, maps in (("before", known_maps), ("after", after)):
        for quantity, values in _distances_in_class(maps, labels).items():
            quantiles = np.quantile(values, (0.5, 0.9)).round(4).tolist()
            table.setdefault(quantity, {})[moment] = quantiles
    return table


def _distances_in_class(maps, labels):
    """Return `_distances` of the maps within each class; without `labels`, within all maps."""
    labels = np.zeros(len(maps)) if labels is None else np.asarray(labels)
    parts = [_distances(maps[torch.from_numpy(labels == label)]) for label in np.unique(labels)]
    return {quantity: np.concatenate([part[quantity] for part in parts]) for quantity in parts[0]}


def _distances(maps):
    """Return each map's distances from the median pose of all maps: rotation, scale and shift, (N,) each."""
    (a, b, x), (c, d, y) = maps.double().numpy().transpose(1, 2, 0)
    turn = np.exp(1j * np.arctan2(c - b, a + d))  # the rotation that is nearest to the map
    angle = np.angle(turn / np.mean(turn))
    scale = np.log(np.sqrt(np.abs(a * d - b * c)).clip(1e-6))
    shift = np.stack([x, y]) * DIGIT / 2
    return {
        "rotation": np.abs(np.degrees(angle - np.median(angle))),
        "scale": np.exp(np.abs(scale - np.median(scale))),
        "shift": np.linalg.norm(shift - np.median(shift, 1, keepdims=True), axis=0),
    }


def as_png(image):
    """Return a uint8 image (C, H, W) or (H, W) as base64 text of a PNG."""
    array = np.asarray(image)
    buffer = io.BytesIO()
    Image.fromarray(array.transpose(1, 2, 0) if array.ndim == 3 else array).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def from_png(text):
    """Return the uint8 image of a text that `as_png` returned."""
    array = np.array(Image.open(io.BytesIO(base64.b64decode(text))))
    return torch.from_numpy(array.transpose(2, 0, 1) if array.ndim == 3 else array)


def _rounded(tensor):
    return np.asarray(tensor.cpu(), np.float64).round(4).tolist()
