"""The time that a spatial transformer adds to a training step, and FLOPS against time of its localization net."""

from functools import partial
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from stn_paper.models import VARIANTS, costs
from stn_paper.models.localization import LOCALIZATION_NETS, localization_net
from stn_paper.models.transformer import sample, sampling_grid
from stn_paper.training import hardware

from .measuring import fresh, measure, peak_memory
from .programs import batches, network, ours
from .throughput import name

PARTS = ("localization", "grid", "sampling", "backward")
MORE = 2  # factor of the rounds for whole steps, because the added time is a small difference of two steps


def run(setting):
    """Yield `rows`, steps and the parts of each transformer, and `nets`, the localization nets alone."""
    yield {"rows": [*_steps(setting), *_parts(setting)], "nets": _nets(setting)}


def _steps(setting):
    """Yield rows of the steps of all variants in each mode, with their ratios to the original."""
    sizes = setting.sizes
    batch, backbone = sizes.batches[sizes.single], sizes.single
    for mode in sizes.modes:
        fresh(setting.device)
        steps = {v: ours(setting, backbone, v, batch, *mode) for v in VARIANTS}
        rows = measure(steps, setting.device, ["original"], MORE * sizes.rounds, sizes.steps)
        shared = {"what": "step", "backbone": backbone, "mode": name("ours", *mode), "batch": batch}
        yield from ({**shared, "variant": row["program"], **row} for row in rows)


def _parts(setting):
    """Yield rows of the parts of each transformer; 1 / ratio is a part's share of its variant's step."""
    sizes = setting.sizes
    batch, backbone = sizes.batches[sizes.single], sizes.single
    for variant in LOCALIZATION_NETS:
        fresh(setting.device)
        calls = {"step": ours(setting, backbone, variant, batch)}
        rows = measure(
            calls | transformer_calls(setting, variant), setting.device, ["step"], sizes.rounds, sizes.steps
        )
        shared = {"what": "part", "backbone": backbone, "variant": variant, "batch": batch}
        yield from (shared | row for row in rows if row["program"] in PARTS)


def transformer_calls(setting, variant):
    """{part: call} of a transformer in training; each part gets the output of the part before it.

    `backward` is the backward pass of the whole transformer to its weights; the images need no gradient.
    """
    backbone, height = setting.sizes.single, setting.image_size(setting.sizes.single)
    net = network(setting, backbone, variant).transformer
    net.to(setting.device, memory_format=torch.channels_last)
    images, _ = next(batches(setting, height, setting.sizes.batches[backbone]))
    tf32 = hardware.PRECISION_MODES["tf32"][0]
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    theta = net.theta(images).detach().requires_grad_()
    grid = sampling_grid(theta, height, height).detach().requires_grad_()
    warped, weights = net(images), list(net.parameters())
    upstream = torch.ones_like(warped)
    return {
        "localization": lambda: net.theta(images),
        "grid": lambda: sampling_grid(theta, height, height),
        "sampling": lambda: sample(images, grid),
        "backward": lambda: torch.autograd.grad(warped, weights, upstream, retain_graph=True),
    }


# --- the localization nets alone ----------------------------------------------------------------


def _nets(setting):
    """Rows of latency (one image), throughput and peak memory of each net in each form, with its FLOPS."""
    size, sizes, rows = setting.image_size(setting.sizes.single), setting.sizes, []
    nets = {v: localization_net(v, size).eval().to(setting.device) for v in LOCALIZATION_NETS}
    for batch in dict.fromkeys((1, sizes.inference)):
        fresh(setting.device)
        images = torch.randn(batch, 3, size, size, device=setting.device)
        with torch.inference_mode(), hardware.compute_in("tf32", setting.device.type):
            names = [(variant, form) for variant in nets for form in FORMS]
            calls = {f"{v} {f}": partial(FORMS[f](nets[v], setting.cuda), images) for v, f in names}
            baselines, work = [f"stn {form}" for form in FORMS], dict.fromkeys(calls, batch)
            found = measure(calls, setting.device, baselines, 2 * sizes.rounds, sizes.calls, work=work)
            for (variant, form), row in zip(names, found):
                # without CUDA graphs, which never free their memory
                memory = peak_memory(partial(FORMS[form](nets[variant], False), images), setting.device)
                shared = {"variant": variant, "form": form, "batch": batch, "peak_mib": memory}
                rows.append(shared | row | _facts(nets[variant], size))
    return rows


def _compiled(net, graphs):
    return torch.compile(net, mode="reduce-overhead" if graphs else None, dynamic=False)


def folded(net):
    """Return the net, for evaluation, with each batch normalization folded into the convolution before it."""
    layers = []
    for layer in net.features:
        parts = list(layer)
        if len(parts) > 1 and isinstance(parts[1], nn.BatchNorm2d):
            parts[:2] = [fuse_conv_bn_eval(*parts[:2])]
        layers.append(nn.Sequential(*parts))
    return nn.Sequential(nn.Sequential(*layers), net.head)


def mergeable(net):
    """Return the number of pairs of neighbouring 1 x 1 convolutions, and how many of them equal one convolution.

    A pair equals one convolution if there is at most batch normalization between them; a ReLU prevents it.
    """
    layers = [list(layer) for layer in net.features]
    pairs = [(a, b) for a, b in pairwise(layers) if _pointwise(a[0]) and _pointwise(b[0])]
    exact = [a for a, _ in pairs if all(isinstance(part, nn.BatchNorm2d) for part in a[1:])]
    return len(pairs), len(exact)


def _pointwise(layer):
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)


def _facts(net, size):
    pairs, exact = mergeable(net)
    why = f"{pairs - exact} of {pairs} pairs have a ReLU between them" if pairs else "no such pairs"
    return {
        "gflops": costs.measure(net, size).gflops,
        "norms_folded": sum(isinstance(part, nn.BatchNorm2d) for part in net.modules()),
        "pairs_of_1x1": pairs,
        "merged": 0,
        "why_not_merged": why,
    }


FORMS = {  # name -> function (net, with CUDA graphs or not) that returns the callable to time
    "eager": lambda net, graphs: net,
    "compiled": _compiled,
    "folded": lambda net, graphs: folded(net),
}
