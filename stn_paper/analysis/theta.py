"""How far theta varies from image to image in our runs, and which sampling grids left the image.

All numbers come from the records' `epochs[].theta`, which describes the validation images.
"""

import pandas as pd

from ..models import CONSTANT, ORIGINAL, RELEASED
from . import frame, stability
from .frame import outside

PHOTOGRAPHS = ("caltech101", "cifar10")
THETA_COLUMNS = (
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
    "image_size",
)
STILL_BELOW = 0.01  # standard deviation below which theta counts as nearly the same for every image


def theta_by_run():
    """Return the runs whose transformer predicts affine maps and is not bypassed: a row for each run.

    THETA_COLUMNS lists the columns.

    Left out are the short runs of `stability`, and the variant `constant`, whose map cannot react to an image. `run` is
    the run's name; `std` is the largest standard deviation of theta's six numbers over the validation images after the
    last epoch; `outside` is the percentage of the sampling grid outside the image after the last epoch; `photographs`
    says whether the images are photographs; `image_size` is in pixels of a side.
    """
    every = frame.runs()
    theta = every["record"].map(lambda record: record["epochs"][-1].get("theta"))
    affine = theta.map(lambda field: field is not None and len(field["mean"]) == 6).astype(bool)
    applied = ~every["variant"].isin((ORIGINAL, CONSTANT)) & ~every["variant"].str.endswith(RELEASED)
    found = every[affine & applied & ~every["run"].isin(stability.start_names())].copy()
    found["std"] = theta[found.index].map(lambda field: max(field["std"]))
    found["photographs"] = found["dataset"].isin(PHOTOGRAPHS)
    return found[list(THETA_COLUMNS)].reset_index(drop=True).astype({"collapsed": bool, "photographs": bool})


def outside_by_epoch(found):
    """Percent of the sampling grid outside after each epoch, of the collapsed runs of `theta_by_run`: {run: list}."""
    recorded = frame.records_by_name()
    names = found.loc[found["collapsed"], "run"]
    return {name: [outside(epoch["theta"]) for epoch in recorded[name]["epochs"]] for name in names}


def count_outcomes(found):
    """Count all runs, the collapsed runs, and the runs whose theta is nearly the same for every image.

    The row True counts runs on photographs, the row False runs on other images. The columns are `runs`, `collapsed` and
    `still`: the number of runs that did not collapse and whose standard deviation is below STILL_BELOW.
    """
    rows = {}
    for photographs in (True, False):
        mine = found[found["photographs"] == photographs]
        collapsed, still = mine["collapsed"], mine["std"] < STILL_BELOW
        counts = {"collapsed": collapsed, "still": still & ~collapsed}
        rows[photographs] = {"runs": len(mine)} | {name: int(mask.sum()) for name, mask in counts.items()}
    return pd.DataFrame.from_dict(rows, orient="index")
