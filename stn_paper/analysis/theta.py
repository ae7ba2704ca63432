"""What the transformers of our runs do: how far theta varies from image to image, and which grids left the image.

All numbers come from the records' `epochs[].theta`, which is of the validation images.
"""

import pandas as pd
import torch

from ..data.datasets import DATASETS
from ..models import ORIGINAL, RELEASED
from ..models.guards import COLLAPSED, POINTS
from ..models.transformer import sampling_grid
from ..training import diagnostics, records

PHOTOGRAPHS = ("caltech101", "cifar10")
COLUMNS = (
    "run",
    "dataset",
    "backbone",
    "variant",
    "seed",
    "protocol",
    "std",
    "outside",
    "collapsed",
    "photographs",
)
STILL = 0.05, 0.01  # standard deviations of theta below which a transformer counts as standing still


def runs():
    """A row a run with an applied transformer and affine maps.

    Columns: run (name), dataset, backbone, variant, protocol, seed; std: the largest standard deviation of
    theta's six numbers over the validation images after the last epoch; outside: percent of the sampling grid
    outside the image then; collapsed; photographs: whether the images are such.
    """
    rows = []
    for name, record in records.everything().items():
        spec, theta = record["spec"], record["epochs"][-1].get("theta")
        bypassed = spec["variant"] == ORIGINAL or spec["variant"].endswith(RELEASED)
        if bypassed or theta is None or len(theta["mean"]) != 6:
            continue
        out = outside(theta)
        rows.append(
            {
                "run": name,
                **{field: spec[field] for field in ("dataset", "backbone", "variant", "seed")},
                "protocol": spec["protocol"]["name"],
                "std": max(theta["std"]),
                "outside": out,
                "collapsed": out >= COLLAPSED,
                "photographs": spec["dataset"] in PHOTOGRAPHS,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"collapsed": bool, "photographs": bool})


def outside(theta):
    """Percent of the sampling grid outside the image: as recorded, in older records that of the mean map."""
    if "outside" in theta:
        return theta["outside"]
    mean = torch.tensor(theta["mean"], dtype=torch.float64).view(1, 2, 3)
    return diagnostics.of_grid(sampling_grid(mean, POINTS, POINTS), 64)["outside"]


def collapses(found):
    """`outside` epoch by epoch of the collapsed runs of `runs`: {run: list in percent}."""
    recorded = records.everything()
    names = found.loc[found["collapsed"], "run"]
    return {name: [outside(epoch["theta"]) for epoch in recorded[name]["epochs"]] for name in names}


def counts(found):
    """How many runs of `runs` there are on photographs and others, how many collapsed and how many stand still."""
    rows = {}
    for photographs, title in ((True, "photographs"), (False, "digits and signs")):
        mine = found[found["photographs"] == photographs]
        inside = mine[~mine["collapsed"]]
        still = {f"std below {limit}": int((inside["std"] < limit).sum()) for limit in STILL}
        rows[title] = {"runs": len(mine), "collapsed": int(mine["collapsed"].sum()), **still}
    return pd.DataFrame.from_dict(rows, orient="index")


def by_variant(found):
    """Collapsed runs on photographs, a row a variant: collapsed, runs."""
    mine = found[found["photographs"]]
    return mine.groupby("variant")["collapsed"].agg(collapsed="sum", runs="size")


def datasets(found):
    """The datasets of these runs in the package's order."""
    return [name for name in DATASETS if name in set(found["dataset"])]
