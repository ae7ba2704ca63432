"""Reading views: our numbers beside the paper's, as tables of strings ready to be shown.

The notebooks call these; nothing here measures or trains. A missing number reads "not yet run".
"""

import math

import pandas as pd

from . import results
from .backbones import BACKBONES, title
from .costs import read_costs
from .datasets import DATASETS
from .models import HEADINGS, ORIGINAL
from .paper import LOCALIZATION_TABLES, corrected, corrections, networks, table
from .paths import PRINTED
from .protocol import BEST_OF_FIVE, BEST_VALIDATION, OTHER_SEEDS, PROTOCOLS, preset

MISSING = "not yet run"
OTHERS = "Original, other seeds"  # runs that are compared with the original, and pair with no variant
RULES = (BEST_VALIDATION, BEST_OF_FIVE)
ACCURACIES = ["Validation", *(f"Test, {rule}" for rule in RULES)]  # columns of `accuracy`
RANKED = 5  # networks; of fewer, an order says nothing
ORDERS = 9999  # what a p-value is counted over, if there are more orders of the networks than that
TOLERANCE = 0.0003  # GFLOPS; what counts as the paper's figure, after rounding to its decimals


# --- costs: Tables 1 to 5, 7 and 9 --------------------------------------------------------------


def layers(number):
    """Tables 1 to 3, row by row: the paper's type, filter, output and parameters, and ours."""
    printed, ours = table(number), read_costs(number)
    return pd.DataFrame(
        {
            ("", "Type"): printed["type"],
            ("", "Filter"): printed["filter"],
            ("Output", "paper"): printed["output"],
            ("Output", "ours"): [*ours["output"], ""],
            ("Parameters", "paper"): printed["parameters"],
            ("Parameters", "corrected"): [
                right if (right := corrected(number, p, i)) != p else ""
                for i, p in enumerate(printed["parameters"], 1)
            ],
            ("Parameters", "ours"): [str(n) for n in (*ours["parameters"], ours["parameters"].sum())],
            ("MFLOPS", "ours"): [f"{1000 * g:.2f}" for g in (*ours["gflops"], ours["gflops"].sum())],
        }
    ).set_index(pd.Index([*range(1, len(ours) + 1), ""]))


def compare_costs(number):
    """Every cost that Table 4, 5, 7 or 9 prints beside ours: one row a cell, numbers and verdicts.

    Columns: backbone, model (as printed), variant, parameters, gflops (printed), our_parameters,
    our_gflops (rounded to the printed decimals), exact (parameters), close (GFLOPS within TOLERANCE).
    """
    printed, ours = networks(number).copy(), read_costs(number)
    printed["parameters"] = printed["parameters"].astype(int)
    decimals = [len(g.split(".")[1]) for g in printed["gflops"]]
    printed["gflops"] = printed["gflops"].astype(float)
    printed["our_parameters"] = ours["parameters"]
    printed["our_gflops"] = [round(g, d) for g, d in zip(ours["gflops"], decimals)]
    printed["decimals"] = decimals
    printed["exact"] = printed["parameters"] == printed["our_parameters"]
    printed["close"] = (printed["gflops"] - printed["our_gflops"]).abs() <= TOLERANCE + 1e-9
    return printed


def costs(number, quantity):
    """Table 4, 5, 7 or 9 as printed, `quantity` parameters or gflops: each cell beside ours."""
    cells = compare_costs(number)
    view = {}
    for variant in cells["variant"].unique():
        mine = cells[cells["variant"] == variant].set_index("model")
        form = "{:,}" if quantity == "parameters" else f"{{:.{mine['decimals'].iloc[0]}f}}"
        view[HEADINGS[variant], "paper"] = mine[quantity].map(form.format)
        view[HEADINGS[variant], "ours"] = mine[f"our_{quantity}"].map(form.format)
    return _named(pd.DataFrame(view), number)


def _named(view, number):
    """Name each row as printed, with the right name behind where the paper misprints it."""
    names = {m: corrected(number, m) for m in view.index}
    view.index = [m if m == right else f"{m} (is {right})" for m, right in names.items()]
    return view


def cost_verdict(number):
    """How well our costs agree with the paper's, in one sentence."""
    if number in LOCALIZATION_TABLES:
        printed, ours = table(number), read_costs(number)
        rows = printed.iloc[:-1]
        shapes = sum(rows["output"].to_numpy() == ours["output"].to_numpy())
        right = [
            sum(map(int, corrected(number, p, i).split("+"))) for i, p in enumerate(rows["parameters"], 1)
        ]
        counts = sum(a == b for a, b in zip(right, ours["parameters"]))
        total, mine = printed["parameters"].iloc[-1], ours["parameters"].sum()
        return (
            f"{shapes} of {len(rows)} output shapes and {counts} of {len(rows)} parameter counts agree"
            f"{' (after the corrections below)' if len(corrections(number)) else ''}; "
            f"the paper's total is {total}, ours {mine}."
        )
    cells = compare_costs(number)
    worst = (cells["gflops"] - cells["our_gflops"]).abs().max()
    return (
        f"{cells['exact'].sum()} of {len(cells)} parameter counts agree to the unit, and "
        f"{cells['close'].sum()} of {len(cells)} GFLOPS figures within {TOLERANCE}: "
        f"rounded to the paper's decimals, the largest difference is {worst:.4f}."
    )


def misprints(number):
    """The corrections of Table `number` as a table to show."""
    return corrections(number).rename(columns=str.capitalize).set_index("Row").rename_axis(None)


def transformer_verdict():
    """Table 9's two claims about L-STN, in one sentence computed from our costs."""
    ratio, extra = lstn_against_stn()
    return (
        f"L-STN costs {ratio.min():.3f} to {ratio.max():.3f} of STN's GFLOPS (the paper: “almost one third”) "
        f"and has {extra.min():,} to {extra.max():,} parameters more (“slightly more”)."
    )


def lstn_against_stn():
    """L-STN's GFLOPS as a share of STN's, and its parameters less STN's; one value a backbone."""
    cost = read_costs(9).pivot(index="row", columns="variant")
    ratio = cost["gflops", "lstn"] / cost["gflops", "stn"]
    return ratio, cost["parameters", "lstn"] - cost["parameters", "stn"]


# --- accuracies: Tables 4, 6 and 8 --------------------------------------------------------------


RUN_COLUMNS = ["backbone", "variant", "seed", "validation", "test", *RULES, "record"]


def runs(dataset, protocol, backbone=None):
    """One row a recorded run, of one backbone or of all, accuracies in percent: columns RUN_COLUMNS.

    `test` is the test accuracy by the protocol's own selection rule; the column of a rule's name is what that
    rule reports of the same run.
    """
    rows = []
    for record in results.records(dataset, protocol):
        names = [record["spec"][field] for field in ("backbone", "variant", "seed")]
        chosen, by_rule = results.chosen(record), [_by(record, rule) for rule in RULES]
        rows.append([*names, chosen["validation"], chosen["test"], *by_rule, record])
    found = pd.DataFrame(rows, columns=RUN_COLUMNS)
    return found if backbone is None else found[found["backbone"] == backbone]


def _by(record, rule):
    """The test accuracy that a rule reports of a run; NaN where the run looked at the test images by another one."""
    return record["selected"].get(rule, {}).get("test", math.nan)


def networks_run(dataset, protocol):
    """How many networks, each a backbone with a variant, have a run."""
    return len(runs(dataset, protocol).drop_duplicates(["backbone", "variant"]))


def arms(ours):
    """What each of these `runs` is called, the original with other seeds apart: a Series of texts."""
    others = (ours["variant"] == ORIGINAL) & (ours["seed"] >= OTHER_SEEDS)
    return ours["variant"].map(HEADINGS).mask(others, OTHERS)


def variants_of(ours):
    """Names of the variants that these `runs` are of, in the order of HEADINGS."""
    return [variant for variant in HEADINGS if variant in set(ours["variant"])]


def interval(values):
    """Half width of the 95 % confidence interval of the mean (Student's t); None below two values."""
    if len(values) < 2:
        return None
    from scipy import stats  # here, so that a machine without it can still train

    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def mean_text(values, count=" (n={})", sign=""):
    """Accuracies in percent as text: mean, 95 % interval where there are two seeds, their number.

    Of differences in points, with "+" for `sign`, the mean keeps its sign.
    """
    values = list(values)
    if not values:
        return MISSING
    half = interval(values)
    spread = "" if half is None else f" ± {half:.2f}"
    return f"{sum(values) / len(values):{sign}.2f}{spread}{count.format(len(values))}"


def rank_correlation(a, b):
    """Spearman's rank correlation, its two-sided p-value, and the orders of `a` that p counts, in words."""
    from scipy import stats  # here, so that a machine without it can still train

    a, b, orders = a.rank(), b.rank(), math.factorial(len(a))
    test = stats.permutation_test((a,), b.dot, permutation_type="pairings", n_resamples=ORDERS, rng=0)
    over = f"all {orders:,} orders" if orders <= ORDERS else f"{ORDERS:,} random orders"
    return a.corr(b), test.pvalue, over


def accuracy(dataset, protocol):
    """Our accuracies (percent) at this protocol: a row a network that has a record, in the paper's order.

    Mean and 95 % interval over n seeds, by both selection rules. The selection bias is the mean of their
    difference, in points. The original's other seeds have a row of their own, as no variant has them.
    """
    ours = runs(dataset, protocol)
    rows, called = [], arms(ours)
    for backbone in ordered(ours["backbone"]):
        for heading in (*HEADINGS.values(), OTHERS):
            mine = ours[(ours["backbone"] == backbone) & (called == heading)]
            if len(mine):
                accuracies = [mean_text(mine[column], "") for column in ("validation", *RULES)]
                bias = (mine[BEST_OF_FIVE] - mine[BEST_VALIDATION]).mean()
                rows.append([title(backbone), heading, *accuracies, f"{bias:+.2f}", len(mine)])
    columns = ["Backbone", "Variant", *ACCURACIES, "Selection bias", "n"]
    return pd.DataFrame(rows, columns=columns).set_index(["Backbone", "Variant"])


def ordered(backbones):
    """Each name once: the paper's in its order, then the others by name."""
    known = list(BACKBONES)
    return sorted(set(backbones), key=lambda b: (known.index(b) if b in known else len(known), b))


def best_protocol(dataset, protocols):
    """The first of the protocols with records of at least half as many networks as any other has."""
    counts = [networks_run(dataset, protocol) for protocol in protocols]
    return next(p for p, count in zip(protocols, counts) if 2 * count >= max(counts))


def protocol_heading(dataset, protocol):
    """What stands above a table of runs, as Markdown: the protocol and how many images it takes."""
    used = preset(protocol, dataset, ORIGINAL)
    limits = {
        "training images a class": used.train_per_class,
        "images each of validation and test": used.max_evaluation,
        "images a split": used.max_images,
    }
    few = ", ".join(f"{number:,} {of}" for of, number in limits.items() if number)
    meaning = PROTOCOLS[protocol] + (f" ({few})" if few else "")
    heading = f"**{DATASETS[dataset].title}, protocol `{protocol}`**: {meaning}."
    found = results.records(dataset, protocol)
    if not found:
        return f"{heading} *{MISSING.capitalize()}.*"
    return " ".join([heading, *copies(found)])


def copies(records):
    """What is known of the images of these records where they are not the official files: sentences."""
    notes = pd.read_csv(PRINTED / "copies.csv", index_col="fingerprint")["note"]
    return [notes[f] for f in sorted({r["data"].get("fingerprint") for r in records} & set(notes.index))]
