"""Pictures of trained networks from their records, and three properties of a transformer, for the smaller systems."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from ..analysis.effects import APPLIED
from ..analysis.statistics import MISSING, range_text
from ..models import HEADINGS
from ..models.transformer import SpatialTransformer, sample, sampling_grid
from ..training.examples import from_png, motion_maps, moving_example
from . import explorer
from .figures import close_figure
from .sentences import table_or_missing
from .small_systems import system_runs


def first_probes(dataset, system, variant):
    """The field `probes` of our first run of this variant, see `examples.collect_probes`; None without a run."""
    ours = system_runs(dataset, system)
    found = ours[ours["variant"] == variant]["record"]
    return found.iloc[0]["probes"] if len(found) else None


def example_images(probes):
    """The example images of a record's field `probes`, uint8 (N, 3, S, S)."""
    return torch.stack([from_png(text) for text in probes["images"]])


def gradcam_plot(dataset, system, variants):
    """Grad-CAM of each network: a row a variant, an example a column; yellow is the largest value.

    Behind a transformer, the picture is the transformer's output, which is the classifier's input.
    """
    probes_by_variant = {v: probes for v in variants if (probes := first_probes(dataset, system, v))}
    count = max((len(probes["images"]) for probes in probes_by_variant.values()), default=1)
    figure, axes = plt.subplots(
        max(len(probes_by_variant), 1),
        count,
        figsize=(1.28 * count + 0.6, 1.5 * len(probes_by_variant) + 0.4),
        squeeze=False,
    )
    for row, (variant, probes) in zip(axes, probes_by_variant.items()):
        images, maps = example_images(probes).float(), torch.tensor(probes["gradcam"])
        if "theta" in probes:
            images = sample(images, sampling_grid(torch.tensor(probes["theta"]), *images.shape[-2:]))
        for axis, image, heat, label in zip(row, images, maps, probes["label"]):
            extent = (0, image.shape[-1], image.shape[-2], 0)
            axis.imshow(image.permute(1, 2, 0).byte().numpy(), extent=extent)
            axis.imshow(heat.numpy(), "inferno", alpha=0.55, extent=extent, interpolation="bilinear")
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"class {label}", fontsize=11)
        row[0].set_ylabel(HEADINGS[variant], fontsize=11)
    if not probes_by_variant:
        axes[0, 0].set_title(MISSING)
        axes[0, 0].axis("off")
    return close_figure(figure)


def training_pictures(dataset, system, variant, still=False):
    """Return the animation of theta during our first run's training; None without a run.

    With `still`, return a strip of six pictures of the animation.
    """
    probes = first_probes(dataset, system, variant)
    if probes is None:
        return None
    draw = explorer.training_strip if still else explorer.training_animation
    watched = probes["training"]
    return draw(example_images(probes), watched["steps"], torch.tensor(watched["theta"]))


def motion_pictures(dataset, system, variant, still=False):
    """Return the animation of a moving image and of the output of our first run's transformer; None without a run.

    With `still`, return a strip of six pictures of the animation.
    """
    probes = first_probes(dataset, system, variant)
    if probes is None:
        return None
    draw = explorer.motion_strip if still else explorer.motion_animation
    return draw(moving_example(example_images(probes)), motion_maps(), torch.tensor(probes["motion"]))


def motion_shares(dataset, system):
    """The share of the motion in the variance of a moving example: {variant: [(at the output, at the input), ...]}.

    A pair a run; only variants with runs. See `explorer.output_variance`.
    """
    ours, found = system_runs(dataset, system), {}
    for variant in APPLIED:
        for record in ours[ours["variant"] == variant]["record"]:
            image, theta = moving_example(example_images(record["probes"])), record["probes"]["motion"]
            shares = explorer.output_variance(image, motion_maps(), torch.tensor(theta))
            found.setdefault(variant, []).append(shares)
    return found


def stillness_table(dataset, system):
    """The `motion_shares` as means over the seeds, a row a variant."""
    rows = {}
    for variant, shares in motion_shares(dataset, system).items():
        after, before = np.mean(shares, axis=0)
        cells = {"At the input": f"{before:.0%}", "At the output": f"{after:.0%}", "Seeds": len(shares)}
        rows[HEADINGS[variant]] = cells
    return table_or_missing(rows)


def stillness_verdict(dataset, system):
    """How much the picture of a moving example changes before and after the transformer: the end of a sentence."""
    means = [np.mean(shares, axis=0) for shares in motion_shares(dataset, system).values()]
    if not means:
        return f"{MISSING}."
    after, before = (range_text(shares, "{:.0%}") for shares in zip(*means))
    return f"the motion of a digit causes {before} of the inputs' variance, and {after} of the outputs' variance."


# --- three properties of a transformer ----------------------------------------------------------


def count_gradients(model):
    """Count the weight tensors of each part of `model` that get a gradient in a backward pass; changes the model."""
    torch.manual_seed(0)
    images, labels = torch.rand(8, 3, 32, 32), torch.arange(8)
    _perturb(model)
    F.cross_entropy(model.train()(images), labels).backward()
    rows = {}
    for name, part in model.named_children():
        reached = [bool(p.grad is not None and p.grad.abs().max() > 0) for p in part.parameters()]
        rows[name] = {"Weight tensors": len(reached), "with a gradient": sum(reached)}
    return pd.DataFrame(rows).T


def theta_depends_on_image(model):
    """Whether `model` predicts the same theta for two images, before and after its weights are changed: a table."""
    torch.manual_seed(0)
    images = torch.rand(2, 3, 32, 32)
    rows = {}
    for moment in ("at the identity", "after a step away from it"):
        with torch.no_grad():
            first, second = model.eval().transformer.theta(images)
        rows[moment] = {"same theta for both images": torch.equal(first, second)}
        _perturb(model)
    return pd.DataFrame(rows).T


@torch.no_grad()
def _perturb(model):
    """Move the last layers of the localization nets a little from zero, as a training step would."""
    for part in model.modules():
        if isinstance(part, SpatialTransformer):
            part.localization.head[-1].weight.add_(1e-3 * torch.randn_like(part.localization.head[-1].weight))
