"""Pictures of trained networks from their records, and three properties of a transformer, for the smaller systems."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from ..analysis.statistics import MISSING
from ..models import HEADINGS
from ..models.transformer import SpatialTransformer, sample, sampling_grid
from ..training.examples import from_png, motion_maps, moving_example
from . import explorer
from .figures import close_figure
from .small_systems import AFFINE, system_runs, table_or_missing


def first_probes(dataset, system, variant):
    """The probes of the first of our runs of this variant, or None: see `examples.collect_probes`."""
    ours = system_runs(dataset, system)
    found = ours[ours["variant"] == variant]["record"]
    return found.iloc[0]["probes"] if len(found) else None


def example_images(kept):
    """The examples that a record keeps, uint8 (N, 3, S, S)."""
    return torch.stack([from_png(text) for text in kept["images"]])


def gradcam_plot(dataset, system, variants):
    """Where networks look, by Grad-CAM: a row a variant, an example a column; yellow where most.

    Behind a transformer, the picture is the transformer's output, which is all that the network sees.
    """
    kept = {v: found for v in variants if (found := first_probes(dataset, system, v))}
    count = max((len(k["images"]) for k in kept.values()), default=1)
    figure, axes = plt.subplots(
        max(len(kept), 1), count, figsize=(1.28 * count + 0.6, 1.5 * len(kept) + 0.4), squeeze=False
    )
    for row, (variant, found) in zip(axes, kept.items()):
        images, heat = example_images(found).float(), torch.tensor(found["gradcam"])
        if "theta" in found:
            images = sample(images, sampling_grid(torch.tensor(found["theta"]), *images.shape[-2:]))
        for axis, image, one, label in zip(row, images, heat, found["label"]):
            extent = (0, image.shape[-1], image.shape[-2], 0)
            axis.imshow(image.permute(1, 2, 0).byte().numpy(), extent=extent)
            axis.imshow(one.numpy(), "inferno", alpha=0.55, extent=extent, interpolation="bilinear")
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"class {label}", fontsize=11)
        row[0].set_ylabel(HEADINGS[variant], fontsize=11)
    if not kept:
        axes[0, 0].set_title(MISSING)
        axes[0, 0].axis("off")
    return close_figure(figure)


def training_pictures(dataset, system, variant, still=False):
    """The animation of our first run's training, or a strip of five of its pictures; None without a run."""
    kept = first_probes(dataset, system, variant)
    if kept is None:
        return None
    draw = explorer.training_strip if still else explorer.training_animation
    return draw(example_images(kept), kept["training"]["steps"], torch.tensor(kept["training"]["theta"]))


def motion_pictures(dataset, system, variant, still=False):
    """The animation of a moving example behind our first run, or a strip of five pictures; None without a run."""
    kept = first_probes(dataset, system, variant)
    if kept is None:
        return None
    draw = explorer.motion_strip if still else explorer.motion_animation
    return draw(moving_example(example_images(kept)), motion_maps(), torch.tensor(kept["motion"]))


def stillness_table(dataset, system):
    """The motion's share of the variance of an example's picture: a row a variant, mean over the seeds."""
    ours, rows = system_runs(dataset, system), {}
    for variant in AFFINE:
        both = []
        for record in ours[ours["variant"] == variant]["record"]:
            image, theta = moving_example(example_images(record["probes"])), record["probes"]["motion"]
            both.append(explorer.output_variance(image, motion_maps(), torch.tensor(theta)))
        if both:
            with_it, without = np.mean(both, axis=0)
            cells = {"At the input": f"{without:.0%}", "At the output": f"{with_it:.0%}", "Seeds": len(both)}
            rows[HEADINGS[variant]] = cells
    return table_or_missing(rows)


def stillness_verdict(dataset, system):
    """How still the output stays, in words."""
    rows = stillness_table(dataset, system)
    if "At the output" not in rows:
        return f"{MISSING.capitalize()}."
    shares = sorted(rows["At the output"].unique(), key=lambda share: int(share.rstrip("%")))
    after = " to ".join(dict.fromkeys((shares[0], shares[-1])))
    before = rows["At the input"].iloc[0]
    return f"Motion makes {before} of the picture's variance at the input, and {after} at the output of a transformer."


# --- three properties of a transformer ----------------------------------------------------------


def count_gradients(model, image_size=32):
    """How many weight tensors of each part of `model` get a gradient in one backward pass."""
    torch.manual_seed(0)
    images, labels = torch.rand(8, 3, image_size, image_size), torch.arange(8)
    _perturb(model)
    F.cross_entropy(model.train()(images), labels).backward()
    rows = {}
    for name, part in model.named_children():
        reached = [bool(p.grad is not None and p.grad.abs().max() > 0) for p in part.parameters()]
        rows[name] = {"Weight tensors": len(reached), "with a gradient": sum(reached)}
    return pd.DataFrame(rows).T


def theta_depends_on_image(model, image_size=32):
    """Whether two images get the same theta from `model`, at the start and after a small step."""
    torch.manual_seed(0)
    images = torch.rand(2, 3, image_size, image_size)
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
