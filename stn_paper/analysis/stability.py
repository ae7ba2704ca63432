"""Does a lower rate of the localization net keep the sampling grid inside the image in the first steps?

The runs are ResNet-50 on Caltech-101 in the protocol `small`, but in float32, cut to 300 steps at a constant learning
rate: three localization nets, two rates, ten seeds.
"""

from dataclasses import replace
from functools import cache
from itertools import product

import pandas as pd

from ..models import HEADINGS
from ..models.localization import LOCALIZATION_NETS
from ..training.presets import preset
from ..training.protocol import DEFAULTS
from ..training.spec import RunSpec
from . import frame, statistics

DATASET, BACKBONE = "caltech101", "resnet50"
SEEDS = range(10)
# the localization net's rate as a share of the classifier's: the paper's, and that of `small`
RATES = (1.0, 0.1)
STEPS = 300
COUNT_COLUMNS = ["variant", "rate", "runs", "collapsed", "low", "high", "moved", "spread"]
TEST_COLUMNS = ["comparison", "first", "second", "p", "first_moved", "second_moved", "p_moved"]
ALL, POOLED = "all", "all nets, the full rate against a tenth"  # the nets together
COMPARISONS = {  # what is compared: two sides (variant or ALL, rate)
    POOLED: ((ALL, 1.0), (ALL, 0.1)),
    **{
        f"{HEADINGS[net]}, the full rate against a tenth": ((net, 1.0), (net, 0.1))
        for net in LOCALIZATION_NETS
    },
    "L-STN against STN, the full rate": (("lstn", 1.0), ("stn", 1.0)),
    "V-STN against STN, the full rate": (("vstn", 1.0), ("stn", 1.0)),
}


def start_spec(net, rate, seed):
    """The RunSpec of a net's first steps."""
    protocol = preset("small", DATASET, net, BACKBONE)
    cut = {
        "max_epochs": 1,
        "min_epochs": 1,
        "max_evaluation": 600,
        "train_images": STEPS * protocol.batch_size,
        "precision": DEFAULTS["precision"],
    }
    protocol = replace(protocol, schedule="constant", localization_rate=rate, **cut)
    return RunSpec(DATASET, BACKBONE, net, protocol, seed)


@cache
def start_names():
    """The names of the study's runs: {name: localization rate}. Other analyses leave these runs out."""
    return {
        start_spec(net, rate, seed).name: rate
        for net in LOCALIZATION_NETS
        for rate in RATES
        for seed in SEEDS
    }


def start_runs():
    """`frame.runs` of this study, with two more columns.

    rate: of the localization net; moved: how far its mean map has moved the image's corners, in pixels.
    """
    found = frame.runs()
    found = found[found["run"].isin(start_names())].copy()
    found["rate"] = found["run"].map(start_names())
    found["moved"] = found["record"].map(lambda record: record["epochs"][-1]["theta"]["from_identity"])
    return found


def start_counts(found):
    """A row for each net and rate of `start_runs` that has runs.

    Columns: runs; collapsed; low and high, the exact 95 % interval of the share that collapses, in percent; moved
    and spread, medians in pixels: how far the mean map is from the identity, and how far theta moves the corners from
    image to image (collapsed runs have no spread).
    """
    rows = []
    for net, rate in product(LOCALIZATION_NETS, RATES):
        mine = found[(found["variant"] == net) & (found["rate"] == rate)]
        if len(mine):
            collapsed = int(mine["collapsed"].sum())
            low, high = statistics.exact_interval(collapsed, len(mine))
            counts = {"runs": len(mine), "collapsed": collapsed, "low": low, "high": high}
            medians = {column: mine[column].median() for column in ("moved", "spread")}
            rows.append({"variant": net, "rate": rate} | counts | medians)
    return pd.DataFrame(rows, columns=COUNT_COLUMNS)


def start_tests(found):
    """Test each of COMPARISONS whose two sides have runs; a row for each comparison.

    Columns: comparison; first and second, each (collapsed runs, all runs); p of Fisher's exact test of them;
    first_moved and second_moved, medians in pixels; p_moved of Mann and Whitney's test of them; p_holm and
    p_moved_holm, adjusted by Holm's method.
    """
    both = pd.concat([found.assign(variant=ALL), found])
    sides = {side: mine for side, mine in both.groupby(["variant", "rate"])}
    rows = [
        {"comparison": name} | _differences(sides[one], sides[other])
        for name, (one, other) in COMPARISONS.items()
        if one in sides and other in sides
    ]
    tests = pd.DataFrame(rows, columns=TEST_COLUMNS)
    return tests.assign(**{f"{p}_holm": statistics.holm(tests[p]) for p in ("p", "p_moved")})


def _differences(first, second):
    """The columns of `start_tests` that compare two parts of `start_runs`."""
    counts = [(int(side["collapsed"].sum()), len(side)) for side in (first, second)]
    found = {"first": counts[0], "second": counts[1], "p": statistics.fisher_test(*counts)}
    moved = first["moved"], second["moved"]
    medians = {"first_moved": moved[0].median(), "second_moved": moved[1].median()}
    return found | medians | {"p_moved": statistics.rank_test(*moved)}
