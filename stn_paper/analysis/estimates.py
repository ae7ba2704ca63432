"""Estimate the hours of runs from the throughput of recorded runs.

Records of the same network and image size give the best estimate; throughput of other networks is scaled by their
operations in results/costs.csv. `workflow/Snakefile` calls `resources`, and the page on the cost of the grid shows
`hours_by_target` and the functions `growth_with_...`.
"""

import math
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from statistics import median
from typing import NamedTuple

import pandas as pd
import torch

from ..data.datasets import DATASETS
from ..models import ORIGINAL, RELEASED, build_model, costs
from ..models.backbones import title
from ..models.localization import LOCALIZATION_NETS, localization_net
from ..models.small_nets import SYSTEMS
from ..paths import IN_CLONE, ROOT
from ..training import records
from ..training.protocol import DEFAULTS
from ..training.spec import RunSpec
from . import frame
from .grid import GRID, TABLE_NUMBERS, target_networks, target_specs, unique_specs

EVALUATION_COST = 1 / 3  # time to evaluate an image, divided by the time to train on it: no backward pass
SAFETY_FACTOR = 1.5  # a job requests this times its estimated time and memory
STARTUP_MINUTES = 10  # minutes that every job gets on top: imports, decoding images
LEAST_MEMORY = 8000  # MiB of main memory that every job gets at least
COST_TABLES = (5, 7, 4)  # rows of results/costs.csv that are whole networks
UNMEASURED = "not yet measured"


class Measurement(NamedTuple):
    device: str
    backbone: str
    variant: str
    image_size: int  # pixels of a side
    batch_size: int
    speed: float  # images a second in training
    memory: float  # peak in MiB, see results/README.md
    precision: str = DEFAULTS["precision"]  # of products, as in the run's protocol


BASES = {  # in words -> fields in which the measured runs equal the estimated run; in order of preference
    "the same network and image size": ("backbone", "variant", "image_size"),
    "the same backbone and image size": ("backbone", "image_size"),
    "the same backbone": ("backbone",),
    "other networks": (),
}


def measurements():
    """A Measurement of each record with a measured speed. Damaged records are left out: `results check` names them."""
    return [
        Measurement(
            frame.device_title(record["environment"]["device"]),
            record["spec"]["backbone"],
            record["spec"]["variant"],
            record["data"]["image_size"],
            record["spec"]["protocol"]["batch_size"],
            record["measured"]["train_images_per_second"],
            record["measured"].get("peak_memory_mib", 0),
            record["spec"]["protocol"]["precision"],
        )
        for record in frame.readable_records()
        if "train_images_per_second" in record["measured"]
    ]


def is_gpu(device):
    """Whether a device of a record is a GPU: the name of a CPU ends in its number of cores."""
    return not re.search(r", \d+ cores$", device)


def devices(measured):
    """Names of the measured devices: GPUs first, then by number of records."""
    counts = Counter(m.device for m in measured)
    return sorted(counts, key=lambda d: (not is_gpu(d), -counts[d], d))


@cache
def _known_costs():
    """The rows of the repository's costs.csv that are whole networks; an installed package has no such file."""
    if not IN_CLONE:
        return pd.DataFrame(columns=["table", "row", "variant", "image_size", "gflops"])
    rows = pd.read_csv(ROOT / "results/costs.csv", dtype={"row": str}, keep_default_na=False)
    return rows[rows["table"].isin(COST_TABLES)]


@cache
def gflops(backbone, variant, image_size):
    """Billions of operations of one forward pass, counted as the paper counts.

    They are from results/costs.csv if it has the network at this size, else measured.
    """
    variant = variant.removesuffix(RELEASED)
    if variant in LOCALIZATION_NETS and backbone not in SYSTEMS:
        # grid and sampling count as 0 operations, so that all nets share the cached backbone
        return gflops(backbone, ORIGINAL, image_size) + _net_gflops(variant, image_size)
    table = _known_costs()
    row = table[(table["row"] == backbone) & (table["variant"] == variant)]
    row = row[row["image_size"].astype(int) == image_size]
    if len(row):
        return float(row["gflops"].iloc[0])
    with torch.device("meta"):
        model = build_model(backbone, variant, 10, image_size)
    return costs.measure(model, image_size).gflops


@cache
def _net_gflops(variant, image_size):
    with torch.device("meta"):
        net = localization_net(variant, image_size)
    return costs.measure(net, image_size).gflops


def images_an_epoch(spec):
    """(trained, evaluated): numbers of images in one epoch of a run, from the dataset's own splits."""
    chosen, sizes = spec.protocol, dict(DATASETS[spec.dataset].splits)
    if chosen.validation_images:
        sizes["train"] += sizes["validation"] - chosen.validation_images
        sizes["validation"] = chosen.validation_images
    if chosen.train_per_class:
        sizes["train"] = min(sizes["train"], chosen.train_per_class * DATASETS[spec.dataset].num_classes)
    sizes["train"] = min(sizes["train"], chosen.train_images or sizes["train"])
    sizes["validation"] = min(sizes["validation"], chosen.max_validation or sizes["validation"])
    for name in ("validation", "test"):
        sizes[name] = min(sizes[name], chosen.max_evaluation or sizes[name])
    sizes = {name: min(size, chosen.max_images or size) for name, size in sizes.items()}
    if chosen.test_once:
        return sizes["train"], sizes["validation"] + sizes["test"] / chosen.max_epochs
    return sizes["train"], sizes["validation"] + sizes["test"]


def nearest_measurements(spec, measured, device):
    """The measurements on the device that are most like a run: (key of BASES, measurements); (None, []) without any.

    They are at the run's precision, or at the default precision if the device has none at the run's precision.
    """
    of_run = {"backbone": spec.backbone, "variant": spec.variant, "image_size": spec.image_size}
    on_device = [m for m in measured if m.device == device and m.precision == spec.protocol.precision]
    on_device = on_device or [
        m for m in measured if m.device == device and m.precision == DEFAULTS["precision"]
    ]
    for name, fields in BASES.items():
        if found := [m for m in on_device if all(getattr(m, f) == of_run[f] for f in fields)]:
            return name, found
    return None, []


def estimate_hours(spec, measured, device=None):
    """Hours of a run on a device, by default the first of `devices`; None if nothing was measured there.

    The hours are for all epochs of the protocol; early stopping can shorten a run.
    """
    _, found = nearest_measurements(spec, measured, device or next(iter(devices(measured)), None))
    if not found:
        return None
    fastest: dict[tuple, float] = {}  # of each network: slower runs shared their machine with others
    for m in found:
        network = m.backbone, m.variant, m.image_size
        fastest[network] = max(fastest.get(network, 0.0), m.speed * gflops(*network))
    rate = median(fastest.values())
    trained, evaluated = images_an_epoch(spec)
    work = spec.protocol.max_epochs * (trained + EVALUATION_COST * evaluated)
    return work * gflops(spec.backbone, spec.variant, spec.image_size) / rate / 3600


def total_hours(specs, measured, device=None):
    """Hours of all the runs, one after the other on one device; None if nothing was measured there."""
    hours = [estimate_hours(spec, measured, device) for spec in specs]
    return None if None in hours else sum(hours)


def resources(spec, measured, attempt=1, longest=1440, gpus=1):
    """The resources that a job requests: {"runtime": minutes, "mem_mb": MiB, "gpu": devices}.

    `longest` is the largest runtime in minutes. A job that reaches its limit is tried again with more time (`attempt`),
    and continues from its checkpoint. A run without an estimate requests `longest`. If `gpus` is 0, only measurements
    on CPUs are used.
    """
    hours = estimate_hours(spec, [m for m in measured if gpus or not is_gpu(m.device)])
    minutes = longest if hours is None else STARTUP_MINUTES + 60 * SAFETY_FACTOR * attempt * hours
    memory = [LEAST_MEMORY]
    if not gpus:  # on a CPU the tensors are in main memory, which grows with the pixels of a batch
        pixels = spec.protocol.batch_size * spec.image_size**2
        same = [m for m in measured if m.backbone == spec.backbone and not is_gpu(m.device)]
        memory += [SAFETY_FACTOR * m.memory * max(1, pixels / (m.batch_size * m.image_size**2)) for m in same]
    return {"runtime": min(longest, math.ceil(minutes)), "mem_mb": math.ceil(max(memory)), "gpu": gpus}


def missing_in_words(targets, measured, seeds=3, protocol="equal"):
    """The number of runs without a record and their estimated hours, as text: a line a target."""
    lines = []
    for target in targets:
        specs = target_specs(target, seeds, protocol)
        lacking = [spec for spec in specs if not records.record_path(spec).exists()]
        line = f"{target}: {len(lacking)} of {len(specs)} runs have no record"
        lines.append(
            f"{line}, {_hours_in_words(lacking, measured)}" if lacking else f"{target}: all runs are recorded"
        )
    return "\n".join(lines)


def _hours_in_words(specs, measured):
    hours = total_hours(specs, measured)
    if hours is None:
        return "hours unknown, as no run has been measured"
    device = devices(measured)[0]
    unit = "GPU hours" if is_gpu(device) else "hours"
    note = "" if is_gpu(device) else f"; GPU hours are {UNMEASURED}"
    return f"about {_hours_text(hours)} {unit} on {device}{note}"


def _hours_text(hours):
    """Hours as text, with one decimal below 10, one digit below 0.1, and at least 0.001."""
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else f"{max(hours, 0.001):.1g}"


# --- the page on what the grid costs --------------------------------------------------------------


def recorded_throughput():
    """Images a second in training, over all variants of a backbone: a row a device, backbone and image size."""
    rows = [{"Device": m.device, "Backbone": title(m.backbone), **m._asdict()} for m in measurements()]
    if not rows:
        return pd.DataFrame([[UNMEASURED]], columns=["Images a second"])
    groups = pd.DataFrame(rows).groupby(["Device", "Backbone", "image_size", "precision"])["speed"]
    view = groups.agg(["median", "min", "max", "count"]).reset_index()
    names = {"image_size": "Image size", "precision": "Precision", "count": "Records"}
    names |= {"median": "Images a second, median"}
    return view.rename(columns=names | {"min": "Slowest", "max": "Fastest"})


def cost_in_words(seeds=3, protocol="equal"):
    """The hours of the whole grid, in one sentence."""
    measured = measurements()
    specs = list(unique_specs(GRID, seeds, protocol).values())
    lacking = [spec for spec in specs if not records.record_path(spec).exists()]
    return (
        f"With {seeds} seeds at the protocol `{protocol}`, all trainings are {len(specs)} runs, of which "
        f"{len(lacking)} have no record yet: {_hours_in_words(lacking, measured)}."
    )


def _by_device(specs, measured):
    """{device: hours as text}; without a measured GPU, the first device is "GPU", not yet measured."""
    measured_devices = devices(measured)
    hours = {d: total_hours(specs, measured, d) for d in measured_devices}
    texts = {d: UNMEASURED if h is None else _hours_text(h) for d, h in hours.items()}
    return texts if any(map(is_gpu, measured_devices)) else {"GPU": UNMEASURED, **texts}


def hours_by_target(seeds=1, protocol="equal"):
    """Runs of each target and their hours on each measured device; a row a target."""
    measured = measurements()
    specs_by_target = {target: target_specs(target, seeds, protocol) for target in GRID}
    rows = {
        target: {"Runs": len(specs), **_by_device(specs, measured)}
        for target, specs in specs_by_target.items()
    }
    every = list(unique_specs(GRID, seeds, protocol).values())
    rows["all, shared runs once"] = {"Runs": len(every), **_by_device(every, measured)}
    return pd.DataFrame.from_dict(rows, orient="index")


def growth_with_seeds(numbers=(1, 3, 5), protocol="equal"):
    """Runs and hours of the cells of Tables 4, 6 and 8 with several numbers of seeds; a row a number."""
    measured, rows = measurements(), {}
    for seeds in numbers:
        specs = [spec for target in TABLE_NUMBERS for spec in target_specs(target, seeds, protocol)]
        rows[seeds] = {"Runs": len(specs), **_by_device(specs, measured)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("Seeds")


def growth_with_backbones(target="table6", protocol="equal"):
    """Hours of one seed of each backbone of a table, all its variants: a row a backbone.

    A second column of each device names the key of BASES that the hours are estimated from.
    """
    measured, rows = measurements(), {}
    for backbone in dict.fromkeys(b for _, b, _ in target_networks(target)):
        specs = [s for s in target_specs(target, 1, protocol) if s.backbone == backbone]
        row = {("", "Image size"): specs[0].image_size, ("", "Runs"): len(specs)}
        for device, hours in _by_device(specs, measured).items():
            row[device, "Hours"] = hours
            if used := {nearest_measurements(spec, measured, device)[0] for spec in specs} - {None}:
                row[device, "Estimated from"] = ", ".join(name for name in BASES if name in used)
        rows[title(backbone)] = row
    return pd.DataFrame(rows).T


def growth_with_size(backbone="resnet18", dataset="caltech101", sizes=(64, 128, 224, 320, 456)):
    """Hours of a run of the original network at several image sizes, in pixels of a side; a row a size."""
    measured, rows = measurements(), {}
    settings = RunSpec(dataset, backbone, "original", "equal").protocol
    for size in sizes:
        spec = RunSpec(dataset, backbone, "original", replace(settings, image_size=size))
        each = gflops(backbone, "original", size)
        rows[size] = {"GFLOPS": f"{each:.2f}", **_by_device([spec], measured)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("Image size")
