"""Our warp against the warps of other packages: `python -m benchmarks.warps --out benchmarks/warps/cpu.json`.

kornia and MONAI are not requirements of the package. If one of them is not installed, the program says so and leaves
it out.
"""

import argparse
import json
import os
import sys
import time
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from stn_paper import SpatialTransformer
from stn_paper.errors import InputError
from stn_paper.models.localization import localization_net
from stn_paper.models.transformer import warp
from stn_paper.models.transforms import invert
from stn_paper.training.hardware import check_device

from .measuring import machine, measure, significant

SIZES = (28, 32, 48, 64, 96, 128, 160, 224)  # pixels of a side
BATCH, CHANNELS = 20, 3
ROUNDS = 9
OURS = "stn_paper"
TOLERANCE = 2e-4  # allowed difference between the programs' pixels in [0, 1]


# --- programs: images (B, C, H, H) and theta (B, 2, 3) -> a call of (images, theta) -----------------


def ours(theta, size):
    return warp


def tutorial(theta, size):
    """The two lines of PyTorch's tutorial on spatial transformers."""

    def call(images, theta):
        grid = F.affine_grid(theta, images.shape, align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)

    return call


def kornia(theta, size):
    """`warp_affine` takes a map from input pixels to output pixels, which each call computes from theta.

    This is part of the work, because a network predicts theta.
    """
    transform = import_module("kornia.geometry.transform")
    half = size / 2
    pixels = torch.tensor([[half, 0, half - 0.5], [0, half, half - 0.5], [0, 0, 1]]).to(theta)
    normal, last = torch.linalg.inv(pixels), torch.tensor([[[0.0, 0, 1]]]).to(theta)

    def call(images, theta):
        forth = torch.cat([invert(theta), last.expand(len(theta), 1, 3)], 1)
        matrix = (pixels @ forth @ normal)[:, :2]
        return transform.warp_affine(images, matrix, (size, size), align_corners=True)

    return call


def monai(theta, size):
    """`AffineTransform`, set to our convention of theta."""
    layers = import_module("monai.networks.layers")
    return layers.AffineTransform(normalized=True, align_corners=False, reverse_indexing=False)


WARPS = {OURS: ours, "PyTorch tutorial": tutorial, "kornia": kornia, "monai": monai}


class Tutorial(nn.Module):
    """A transformer as in PyTorch's tutorial, with our localization net."""

    def __init__(self, localization):
        super().__init__()
        self.localization = localization

    def forward(self, images):
        theta = self.localization(images).view(-1, 2, 3)
        grid = F.affine_grid(theta, images.shape, align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)


# --- measuring ----------------------------------------------------------------------------------


def forward(call, images, theta):
    with torch.no_grad():
        call(images, theta)


def step(call, images, theta, upstream):
    """Forward, and backward to images and theta, as for a transformer before a layer of a network."""
    torch.autograd.grad(call(images, theta), (images, theta), upstream)


def module_step(net, images, upstream):
    torch.autograd.grad(net(images), list(net.parameters()), upstream)


def calls(size, device, warps):
    """{work: {program: call}} at images of `size` pixels a side; RuntimeError if the programs do not agree."""
    generator = torch.Generator().manual_seed(size)
    images = torch.rand(BATCH, CHANNELS, size, size, generator=generator)
    theta = torch.eye(2, 3) + 0.2 * torch.randn(BATCH, 2, 3, generator=generator)
    upstream = torch.rand(images.shape, generator=generator).to(device)
    images, theta = (tensor.to(device).requires_grad_() for tensor in (images, theta))
    programs = {name: make(theta, size) for name, make in warps.items()}
    agree({name: call(images, theta) for name, call in programs.items()})
    net = localization_net("stn", size).to(device)
    nn.init.normal_(net.head[-1].weight, std=0.01)
    modules = {OURS: SpatialTransformer(net).to(device), "PyTorch tutorial": Tutorial(net)}
    plain = images.detach()
    agree({name: module(plain) for name, module in modules.items()})
    return {
        "forward": {name: partial(forward, call, images, theta) for name, call in programs.items()},
        "forward and backward": {
            name: partial(step, call, images, theta, upstream) for name, call in programs.items()
        },
        "module": {name: partial(module_step, module, plain, upstream) for name, module in modules.items()},
    }


def agree(outputs):
    """Raise RuntimeError unless all outputs, {program: images}, are equal within TOLERANCE."""
    for name, output in outputs.items():
        difference = (output - outputs[OURS]).abs().max().item()
        if difference > TOLERANCE:
            raise RuntimeError(f"{name} differs from {OURS} by {difference:.1e} of pixels in [0, 1].")


def installed():
    """The programs whose package is installed; prints a sentence on standard error for each other program."""
    found = dict(WARPS)
    for package in ("kornia", "monai"):
        try:
            import_module(package)
        except ImportError:
            print(f"{package} is not installed and is left out.", file=sys.stderr)
            del found[package]
    return found


def clock_of(device):
    """Processor time of this thread if it does all the work, else wall time."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.thread_time if alone else time.perf_counter


def rows(device, sizes=SIZES, rounds=ROUNDS):
    """Yield a row for each size, work and program; `ratios` are its speed divided by that of each other program.

    On a CPU with one thread, the times are processor times, so that other programs hardly change them.
    """
    warps, clock = installed(), clock_of(device)
    for size in sizes:
        for work, programs in calls(size, device, warps).items():
            steps = max(1, (max(SIZES) // size) ** 2 // 2)  # rounds of all sizes are about equally long
            for row in measure(programs, device, list(programs), rounds, steps, clock=clock):
                yield {"image_size": size, "work": work, "load": significant(os.getloadavg()[0])} | {
                    key: row[key] for key in ("program", "seconds", "ratios", "rounds", "steps")
                }


def main(arguments=None):
    """Parse the command line, measure and write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warps", description=__doc__)
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="JSON")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU, 1 by default")
    options = parser.parse_args(arguments)
    try:
        device = check_device(options.device)
    except InputError as error:
        sys.exit(str(error))
    options.out.parent.mkdir(parents=True, exist_ok=True)  # before the measurement, which takes minutes
    torch.set_num_threads(options.threads)
    packages = {name: version(name) for name in ("kornia", "monai") if name in installed()}
    content = {
        "device": device.type,
        "machine": machine(device) | packages,
        "batch": BATCH,
        "channels": CHANNELS,
        "clock": clock_of(device).__name__,
        "load_is": "processes that ran or waited in the last minute, this one included",
        "rows": list(rows(device)),
    }
    lines = ",\n  ".join(json.dumps(row) for row in content.pop("rows"))
    options.out.write_text(
        f'{json.dumps(content, indent=1)[:-2]},\n "rows": [\n  {lines}\n ]\n}}\n', encoding="utf-8"
    )


if __name__ == "__main__":
    main()
