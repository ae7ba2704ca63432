"""Tables 4, 6 and 8 as numbers: the paper's accuracies, ours, and whether the paper's pattern replicates.

Accuracies are in percent and differences in points; a missing number is NaN. `report.accuracy_page` shows these
frames as tables, `report.accuracy_figures` as figures and `report.accuracy_verdicts` in sentences.
"""

import math

import pandas as pd

from ..errors import check_choice
from ..models import ORIGINAL
from ..training import records
from ..training.presets import PAPER_SIZE, SMALL, SMALL_IN_FLOAT32
from . import copies, effects, estimates, frame, grid, statistics
from .paper import DATASET_OF, column_of, networks

# in order of preference; a row of a table shows the runs of one protocol, in one precision
TABLE_PROTOCOLS = (*PAPER_SIZE, SMALL, SMALL_IN_FLOAT32)
ESTIMATED_PROTOCOL = "equal"  # the protocol, at the paper's image size, for which missing hours are estimated
COMPARISONS = (
    ("lstn", "stn"),
    ("vstn", "stn"),
    ("lstn", "vstn"),
    ("stn", ORIGINAL),
    ("vstn", ORIGINAL),
    ("lstn", ORIGINAL),
)
DISTINCT = "tsrd-distinct"
WELL_ABOVE_98 = 99.0  # percent; "well above 98%" is read as at least this
REPLICATES, DOES_NOT_REPLICATE, OPEN = "replicates", "does not replicate", "open"
FEWEST_BACKBONES = 3  # with fewer backbones there is no verdict on a pattern
# columns of `runs_with_copy_accuracy` that describe a protocol
PROTOCOL_COLUMNS = ("image_size", "epochs", "train_images", "selection")
TSRD_COLUMNS = {  # column of Table 4's `cells` -> its half width
    "test": "half",
    "without_copy": "without_copy_half",
    "distinct": "distinct_half",
}


# --- runs ---------------------------------------------------------------------------------------


def runs_with_copy_accuracy(dataset, protocol):
    """`frame.runs` with two more columns on the test images that have no identical training image.

    Columns `without_copy` (the accuracy in percent; NaN if the record lacks it) and `images_without_copy` (their
    number).
    """
    found = frame.runs(dataset, protocol)
    fields = [record.get("test", {}).get("without_copy", {}) for record in found["record"]]
    return found.assign(
        without_copy=pd.Series([f.get("accuracy", math.nan) for f in fields], found.index, dtype=float),
        images_without_copy=pd.Series([f.get("images", 0) for f in fields], found.index, dtype=int),
    )


def datasets_of(number):
    """Return the names of the datasets on which we train the networks of Table 4, 6 or 8.

    The first is the paper's dataset. Raises InputError for another number.
    """
    paper_dataset = DATASET_OF[check_choice("table of accuracies", number, DATASET_OF)]
    return (paper_dataset, DISTINCT) if number == 4 else (paper_dataset,)


def runs_by_protocol(number):
    """{protocol: {dataset: `runs_with_copy_accuracy`}} of Table 4, 6 or 8."""
    return {
        protocol: {d: runs_with_copy_accuracy(d, protocol) for d in datasets_of(number)}
        for protocol in TABLE_PROTOCOLS
    }


def protocol_by_backbone(number, runs=None):
    """{backbone: the protocol whose runs its row of Table 4, 6 or 8 shows}; "" for a backbone without a run.

    It is the protocol that fills most cells of the row; with equal counts, the first in TABLE_PROTOCOLS.
    """
    runs = runs_by_protocol(number) if runs is None else runs
    printed = networks(number)
    protocols = {}
    for backbone, rows in printed.groupby("backbone", sort=False):
        counts = {
            p: sum(_count_variants(r, backbone, set(rows["variant"])) for r in runs[p].values()) for p in runs
        }
        most = max(counts.values())
        protocols[backbone] = next(p for p, count in counts.items() if count == most) if most else ""
    return protocols


def _count_variants(ours, backbone, variants):
    """How many of these variants of a backbone have a run."""
    return len(set(ours.loc[ours["backbone"] == backbone, "variant"]) & variants)


# --- cells --------------------------------------------------------------------------------------


def cells(number, runs=None):
    """Table 4, 6 or 8, a row a cell in the paper's order.

    Columns: backbone, model (as printed), variant, paper_validation, paper_test, protocol ("" without a run),
    test (ours, mean over seeds), half (half width of its 95 % interval), n (seeds), validation,
    class_accuracy, collapsed and failed (numbers of runs), spread (median over the runs), image_size, epochs,
    train_images, selection. Table 4 has more columns: without_copy and distinct (accuracies on images without
    a copy and of `tsrd-distinct`), without_copy_half, images_without_copy, distinct_half and distinct_n. `runs` is
    the result of `runs_by_protocol`; None computes it.

    >>> cells(6).groupby("variant")["test"].mean()  # doctest: +SKIP
    """
    runs, rows = runs_by_protocol(number) if runs is None else runs, []
    protocols = protocol_by_backbone(number, runs)
    for printed in networks(number).to_dict("records"):
        key = {name: printed[name] for name in ("backbone", "model", "variant")}
        theirs = {
            f"paper_{split}": float(printed[column_of(number, split)]) for split in ("validation", "test")
        }
        protocol = protocols[printed["backbone"]]
        at = runs[protocol or TABLE_PROTOCOLS[0]]
        mine = [
            _of_cell(at[dataset], printed["backbone"], printed["variant"]) for dataset in datasets_of(number)
        ]
        row = key | theirs | {"protocol": protocol} | _our_columns(mine[0])
        rows.append(row | (_copy_columns(*mine) if number == 4 else {}))
    return pd.DataFrame(rows)


def runs_by_cell(number, runs=None):
    """{(backbone, variant): the runs of a cell of `cells`, as `runs_with_copy_accuracy`, on the paper's dataset}."""
    runs = runs_by_protocol(number) if runs is None else runs
    at = {
        backbone: runs[protocol or TABLE_PROTOCOLS[0]]
        for backbone, protocol in protocol_by_backbone(number, runs).items()
    }
    keys = zip(networks(number)["backbone"], networks(number)["variant"])
    return {(b, v): _of_cell(at[b][datasets_of(number)[0]], b, v) for b, v in keys}


def _of_cell(ours, backbone, variant):
    return ours[(ours["backbone"] == backbone) & (ours["variant"] == variant)]


def _our_columns(mine):
    means = {column: mine[column].astype(float).mean() for column in ("test", "validation", "class_accuracy")}
    counts = {column: int(mine[column].sum()) for column in ("collapsed", "failed")}
    settings = {column: mine[column].iloc[0] if len(mine) else None for column in PROTOCOL_COLUMNS}
    spread = mine["spread"].astype(float).median()
    return (
        means
        | {"half": statistics.half_width(mine["test"]), "n": len(mine)}
        | counts
        | {"spread": spread}
        | settings
    )


def _copy_columns(merged, distinct):
    return {
        "without_copy": merged["without_copy"].astype(float).mean(),
        "without_copy_half": statistics.half_width(merged["without_copy"]),
        "images_without_copy": int(merged["images_without_copy"].max()) if len(merged) else 0,
        "distinct": distinct["test"].astype(float).mean(),
        "distinct_half": statistics.half_width(distinct["test"]),
        "distinct_n": len(distinct),
    }


def count_missing(number):
    """Count the cells of Table 4, 6 or 8 with and without a run, and estimate the missing hours: a dict.

    `cells`: all cells. `with_run`: cells with a run at any protocol. `lacking`: cells without a record at the protocol
    ESTIMATED_PROTOCOL. `hours`: the estimated hours of one seed of the lacking cells on `device`, the name of a
    measured device; both are None if nothing has been measured.
    """
    found, measured = cells(number), estimates.measurements()
    specs = grid.target_specs(f"table{number}", 1, ESTIMATED_PROTOCOL)
    lacking = [spec for spec in specs if not records.record_path(spec).exists()]
    device = next(iter(estimates.devices(measured)), None)
    hours = estimates.total_hours(lacking, measured, device) if device else None
    counts = {"cells": len(found), "with_run": int((found["n"] > 0).sum()), "lacking": len(lacking)}
    return counts | {"hours": hours, "device": device}


# --- does the pattern replicate? ----------------------------------------------------------------


def differences(number):
    """The COMPARISONS of Table 6 or 8 for each backbone, a row each.

    Columns: variant, against, backbone, paper and ours (difference of test accuracies), half (half width of
    Welch's 95 % interval over seeds, NaN if a side has one seed), n (seeds of the side with fewer),
    protocol, collapsed and collapsed_against (collapsed runs of either side), left_out (at least half of the original's
    runs failed to train, so that the backbone is not compared), kept (compared, and without a collapsed run).
    """
    check_choice("table with transformers", number, (6, 8))
    runs, rows = runs_by_protocol(number), []
    found, seeds = cells(number, runs).set_index(["backbone", "variant"]), runs_by_cell(number, runs)
    for variant, against in COMPARISONS:
        for backbone in found.index.unique("backbone"):
            a, b, original = (found.loc[(backbone, v)] for v in (variant, against, ORIGINAL))
            row = {"variant": variant, "against": against, "backbone": backbone}
            row |= {"paper": round(a["paper_test"] - b["paper_test"], 2), "ours": a["test"] - b["test"]}
            sides = (seeds[backbone, name].set_index("seed")["test"] for name in (variant, against))
            row |= {"half": statistics.compare(*sides, paired=False).half}
            row |= {"n": int(min(a["n"], b["n"])), "protocol": a["protocol"]}
            row |= {"collapsed": int(a["collapsed"]), "collapsed_against": int(b["collapsed"])}
            rows.append(row | {"left_out": effects.mostly_failed(original["failed"], original["n"])})
    found = pd.DataFrame(rows)
    collapsed = found["collapsed"] + found["collapsed_against"]
    return found.assign(kept=found["ours"].notna() & ~found["left_out"] & (collapsed == 0))


def kept_cells(number, variant, against):
    """The rows of `cells` of two variants, for the backbones whose difference `differences` keeps."""
    found = effects.rows_of_pair(differences(number), variant, against)
    kept, mine = found.loc[found["kept"], "backbone"], cells(number)
    return mine[mine["backbone"].isin(kept) & mine["variant"].isin([variant, against])]


def replication(number, found=None):
    """Compare the differences over the backbones of Table 6 or 8 in the paper and in our runs, a row a comparison.

    Columns of the paper: variant, against, paper_ahead (backbones in which the variant is ahead), paper_backbones,
    paper_mean. Columns of our runs: ahead, behind, backbones, mean, half (Student's 95 % interval, the backbones as
    the sample), p (exact sign test), p_holm (over the comparisons of this table), collapsed (backbones with a
    collapsed run on a side), mean_kept, half_kept and kept (mean, interval and number of the backbones without a
    collapsed run). All other columns include collapsed runs. Backbones that `differences` marks as left out are in no
    column of our runs. `found` is the result of `differences`; None computes it.

    >>> replication(8).set_index(["variant", "against"]).loc[("lstn", "stn"), "mean"]  # doctest: +SKIP
    """
    rows = []
    for (variant, against), part in (differences(number) if found is None else found).groupby(
        ["variant", "against"], sort=False
    ):
        compared = part[part["ours"].notna() & ~part["left_out"]]
        ours, kept = compared["ours"], compared.loc[compared["kept"], "ours"]
        ahead, behind = int((ours > 0).sum()), int((ours < 0).sum())
        row = {"variant": variant, "against": against, "paper_ahead": int((part["paper"] > 0).sum())}
        row |= {"paper_backbones": len(part), "paper_mean": part["paper"].mean()}
        row |= {"ahead": ahead, "behind": behind, "backbones": len(ours), "mean": ours.mean()}
        row |= {"half": statistics.half_width(ours), "p": statistics.sign_test(ahead, behind)}
        row |= {"collapsed": len(ours) - len(kept), "kept": len(kept)}
        rows.append(row | {"mean_kept": kept.mean(), "half_kept": statistics.half_width(kept)})
    view = pd.DataFrame(rows)
    return view.assign(p_holm=statistics.holm(view["p"]))


def judge_replication(row):
    """Judge from a row of `replication` whether our runs show the paper's gain.

    The mean without collapsed runs decides, because a collapsed run moves a mean by tens of points. Returns REPLICATES
    if its 95 % interval lies above zero, DOES_NOT_REPLICATE if the interval lies below the paper's mean and not above
    zero, and OPEN otherwise or with fewer than FEWEST_BACKBONES backbones.
    """
    if row["kept"] < FEWEST_BACKBONES:
        return OPEN
    if row["mean_kept"] - row["half_kept"] > 0:
        return REPLICATES
    return DOES_NOT_REPLICATE if row["mean_kept"] + row["half_kept"] < row["paper_mean"] else OPEN


# --- Table 4 ------------------------------------------------------------------------------------


def baseline_accuracies():
    """Test accuracies (percent) of the baselines that learn nothing: a row a baseline, the columns of TSRD_COLUMNS."""
    stored = copies.read_table("baselines")
    if stored.empty:
        return pd.DataFrame(columns=["test", "without_copy", "distinct"])
    shares = (100 * stored["correct"] / stored["number"]).groupby(
        [stored["baseline"], stored["dataset"], stored["images"]], sort=False
    )
    table = shares.first()
    places = {
        "test": ("tsrd", "all"),
        "without_copy": ("tsrd", "without copy"),
        "distinct": (DISTINCT, "all"),
    }
    names = list(dict.fromkeys(stored["baseline"]))
    rows = [{c: table.get((name, *place), math.nan) for c, place in places.items()} for name in names]
    return pd.DataFrame(rows, index=names)


def size_ranking():
    """Rank correlation of size and accuracy on TSRD: a row for the paper and a row for each of TSRD_COLUMNS.

    Columns: networks, rho (Spearman's rank correlation of the printed parameters and the test accuracy), p
    (two-sided, by permutation, see `statistics.rank_correlation`). rho and p are NaN with fewer than
    statistics.RANKED networks.
    """
    tsrd_cells, parameters, rows = cells(4), networks(4)["parameters"].astype(int), {}
    for column in ("paper_test", *TSRD_COLUMNS):
        measured = tsrd_cells[column].notna()
        rho, p = math.nan, math.nan
        if measured.sum() >= statistics.RANKED and tsrd_cells.loc[measured, column].nunique() > 1:
            rho, p, _ = statistics.rank_correlation(tsrd_cells.loc[measured, column], parameters[measured])
        rows[column] = {"networks": int(measured.sum()), "rho": rho, "p": p}
    return pd.DataFrame(rows).T
