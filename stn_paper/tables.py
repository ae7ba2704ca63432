"""Reading views: our numbers beside the paper's, as tables of strings ready to be shown.

The notebooks call these; nothing here measures or trains. A missing number reads "not yet run".
"""

import pandas as pd
from scipy import stats

from . import results
from .backbones import BACKBONES, title
from .costs import read_costs
from .datasets import DATASETS as DATASETS_BY_NAME
from .models import ORIGINAL, VARIANTS
from .paper import DATASETS, LOCALIZATION_TABLES, corrected, corrections, table
from .protocol import COMPARABLE, PROTOCOLS, preset

MISSING = "not yet run"
TOLERANCE = 0.0003  # GFLOPS; what counts as the paper's figure, after rounding to its decimals


# --- costs: Tables 1 to 5, 7 and 9 --------------------------------------------------------------


def layers(number):
    """Tables 1 to 3, row by row: the paper's type, filter, output and parameters, and ours."""
    printed, ours = table(number), read_costs(number)
    total = f"{ours['parameters'].sum():,}"
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
            ("Parameters", "ours"): [*ours["parameters"].map(str), total.replace(",", "")],
            ("MFLOPS", "ours"): [*(f"{1000 * g:.2f}" for g in ours["gflops"]), _mega(ours["gflops"].sum())],
        }
    ).set_index(pd.Index([*range(1, len(ours) + 1), ""]))


def _mega(gflops):
    return f"{1000 * gflops:.2f}"


def compare_costs(number):
    """Every cost that Table 4, 5, 7 or 9 prints beside ours: one row a cell, numbers and verdicts.

    Columns: backbone, model (as printed), variant, parameters, gflops (printed), our_parameters,
    our_gflops (rounded to the printed decimals), exact (parameters), close (GFLOPS within TOLERANCE).
    """
    printed, ours = table(number).copy(), read_costs(number)
    if "variant" not in printed:
        printed["variant"] = ORIGINAL
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
        for source, column in (("paper", quantity), ("ours", f"our_{quantity}")):
            if quantity == "parameters":
                view[VARIANTS[variant], source] = mine[column].map("{:,}".format)
            else:
                digits = mine["decimals"].iloc[0]
                view[VARIANTS[variant], source] = mine[column].map(f"{{:.{digits}f}}".format)
    return _named(pd.DataFrame(view), number)


def _numbered(rows, columns):
    return pd.DataFrame(rows, columns=columns, index=range(1, len(rows) + 1))


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
    ratio, extra = _lstn_against_stn()
    return (
        f"L-STN costs {ratio.min():.3f} to {ratio.max():.3f} of STN's GFLOPS (the paper: “almost one third”) "
        f"and has {extra.min():,} to {extra.max():,} parameters more (“slightly more”)."
    )


def _lstn_against_stn():
    """L-STN's GFLOPS as a share of STN's, and its parameters less STN's; one value a backbone."""
    cost = read_costs(9).pivot(index="row", columns="variant")
    ratio = cost["gflops", "lstn"] / cost["gflops", "stn"]
    return ratio, cost["parameters", "lstn"] - cost["parameters", "stn"]


# --- accuracies: Tables 4, 6 and 8 --------------------------------------------------------------


def runs(dataset, protocol):
    """One row a recorded run: backbone, variant, seed, validation and test accuracy in percent.

    Both accuracies are what the protocol's own selection rule picks; `best_of_five` is the test accuracy
    that the paper's rule would report of the same run.
    """
    rows = []
    for record in results.records(dataset, protocol):
        spec, selected = record["spec"], record["selected"]
        chosen = selected[spec["protocol"]["selection"]]
        rows.append(
            {
                "backbone": spec["backbone"],
                "variant": spec["variant"],
                "seed": spec["seed"],
                "validation": chosen["validation"],
                "test": chosen["test"],
                "best_of_five": selected["best-of-five"]["test"],
                "record": record,
            }
        )
    columns = ["backbone", "variant", "seed", "validation", "test", "best_of_five", "record"]
    return pd.DataFrame(rows, columns=columns)


def interval(values):
    """Half width of the 95 % confidence interval of the mean (Student's t); None below two values."""
    if len(values) < 2:
        return None
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def mean_text(values):
    """Accuracies in percent as text: mean, 95 % interval where there are two seeds, their number."""
    values = list(values)
    if not values:
        return MISSING
    half = interval(values)
    spread = "" if half is None else f" ± {half:.2f}"
    return f"{sum(values) / len(values):.2f}{spread} (n={len(values)})"


def printed_accuracy(number, split="test"):
    """The paper's accuracies of Table 6 or 8 (validation or test, percent) beside ours at its protocol."""
    printed = table(number)
    ours = runs(DATASETS[number], "paper")
    view = {}
    for variant, heading in VARIANTS.items():
        rows = printed[printed["variant"] == variant]
        view[heading, "paper"] = list(rows[split])
        view[heading, "ours"] = [_cell(ours, b, variant, split) for b in rows["backbone"]]
    return pd.DataFrame(view, index=printed["model"].unique())


def accuracy(dataset, protocol, split="test"):
    """Our accuracies (percent) of all backbones with a record at this protocol, one column a variant."""
    ours = runs(dataset, protocol)
    order = [b for b in BACKBONES if b in set(ours["backbone"])]
    order += sorted(set(ours["backbone"]) - set(order))
    view = {h: [_cell(ours, b, v, split) for b in order] for v, h in VARIANTS.items()}
    return pd.DataFrame(view, index=[title(b) for b in order])


def _cell(ours, backbone, variant, split):
    mine = ours[(ours["backbone"] == backbone) & (ours["variant"] == variant)]
    return mean_text(mine[split])


def gains(dataset, protocol):
    """Test accuracy of each variant minus the original's, in points, paired by seed; a row a pair of them.

    Columns: backbone, variant, mean, half (of the 95 % interval, None for one seed), seeds.
    """
    ours = runs(dataset, protocol)
    cells = ours.pivot_table(index=["backbone", "seed"], columns="variant", values="test")
    rows = []
    for backbone in [b for b in BACKBONES if b in set(ours["backbone"])]:
        for variant in [v for v in VARIANTS if v != ORIGINAL and v in cells]:
            if ORIGINAL in cells:
                paired = (cells[variant] - cells[ORIGINAL]).loc[backbone].dropna()
                if len(paired):
                    rows.append([backbone, variant, paired.mean(), interval(paired), len(paired)])
    return pd.DataFrame(rows, columns=["backbone", "variant", "mean", "half", "seeds"])


def accuracy_verdict(dataset, protocol):
    """What our runs say of the transformers, in plain sentences computed from the records."""
    if protocol == "smoke":
        return "Everything runs. Nothing follows from a smoke run's accuracies."
    found = gains(dataset, protocol)
    if found.empty:
        return f"At the protocol `{protocol}`: {MISSING}."
    sentences = []
    for row in found.itertuples():
        text = f"{title(row.backbone)} with {VARIANTS[row.variant]}: {row.mean:+.2f} points"
        if row.half is None or pd.isna(row.half):
            text += " (one seed, so no interval)"
        else:
            low, high = row.mean - row.half, row.mean + row.half
            word = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
            text += f" (95 % interval {low:+.2f} to {high:+.2f}, {row.seeds} seeds: {word})"
        sentences.append(f"- {text}")
    heading = f"Test accuracy against the original network, protocol `{protocol}` ({PROTOCOLS[protocol]}):"
    return "\n".join([heading, "", *sentences])


def tsrd():
    """Table 4's accuracies (percent) under their right headings, beside ours."""
    printed = table(4)
    view = {
        ("Training accuracy", "paper"): list(printed["training"]),
        ("Training accuracy", "ours"): MISSING,
        ("Validation accuracy", "paper"): list(printed["validation"]),
        ("Validation accuracy", "ours"): MISSING,
    }
    return _named(pd.DataFrame(view, index=printed["model"]), 4)


# --- the protocols ------------------------------------------------------------------------------


def best_protocol(dataset, protocols):
    """The first of the protocols that has a record of this dataset, else the first."""
    return next((p for p in protocols if results.records(dataset, p)), protocols[0])


def protocol_heading(dataset, protocol):
    """What stands above a table of runs, as Markdown."""
    heading = f"**{DATASETS_BY_NAME[dataset].title}, protocol `{protocol}`**: {PROTOCOLS[protocol]}."
    return heading if results.records(dataset, protocol) else f"{heading} *{MISSING.capitalize()}.*"


def protocols(dataset):
    """The settings of every named protocol, a column each; epochs are original / STN / V-STN / L-STN."""
    columns = {}
    for name, meaning in PROTOCOLS.items():
        presets = [preset(name, dataset, variant) for variant in VARIANTS]
        first = presets[0]
        columns[name] = {
            "What it is": meaning,
            "Image size": first.image_size or "own",
            "Batch": first.batch_size,
            "Learning rate": first.learning_rate,
            "Epochs at most": _joined(p.max_epochs for p in presets),
            "Early stop not before": _joined(p.min_epochs for p in presets),
            "Training images a class": first.train_per_class or "all",
            "Images a split": first.max_images or "all",
            "Selection": first.selection,
        }
    return pd.DataFrame(columns)


def _joined(values):
    """Each value once if they are all the same, else all of them with strokes between."""
    values = list(values)
    return " / ".join(map(str, values if len(set(values)) > 1 else values[:1]))


def splits():
    """Number of images of each dataset's splits."""
    rows = {d.title: d.splits for d in DATASETS_BY_NAME.values()}
    return pd.DataFrame(rows).T.map("{:,}".format)


def selection_bias(dataset, protocol):
    """Test accuracy by both selection rules and their difference in points, a row a backbone and variant."""
    ours = runs(dataset, protocol)
    rows = []
    for (backbone, variant), mine in ours.groupby(["backbone", "variant"], sort=False):
        at_best = [r["selected"]["best-validation"]["test"] for r in mine["record"]]
        bias = sum(mine["best_of_five"] - at_best) / len(mine)
        names = (title(backbone), VARIANTS[variant])
        rows.append([*names, mean_text(at_best), mean_text(mine["best_of_five"]), f"{bias:+.2f}"])
    columns = ["Backbone", "Variant", "best-validation", "best-of-five", "Difference"]
    order = {heading: i for i, heading in enumerate(VARIANTS.values())}
    rows.sort(key=lambda row: (row[0], order[row[1]]))
    return _numbered(rows, columns)


def selection_verdict(dataset, protocol):
    """How much the paper's selection rule adds, over all runs of the protocol, in one sentence."""
    found = runs(dataset, protocol)
    if found.empty:
        return f"At the protocol `{protocol}`: {MISSING}."
    bias = [
        r["selected"]["best-of-five"]["test"] - r["selected"]["best-validation"]["test"]
        for r in found["record"]
    ]
    return (
        f"In {len(bias)} runs at the protocol `{protocol}`, choosing by the test set adds "
        f"{sum(bias) / len(bias):.2f} points on average and {max(bias):.2f} at most to the same training."
    )


# --- the front page -----------------------------------------------------------------------------


def findings():
    """What this companion found so far: the paper's claim, what we see, and the page that shows it."""
    cells = pd.concat([compare_costs(n) for n in (4, 5, 7, 9)])
    ratio, extra = _lstn_against_stn()
    rows = [
        (
            "Parameters and GFLOPS of Tables 4, 5, 7 and 9",
            f"{cells['exact'].sum()} of {len(cells)} parameter counts agree to the unit, "
            f"{cells['close'].sum()} of {len(cells)} GFLOPS figures within {TOLERANCE}",
            "Tables 4, 5, 7, 9",
        ),
        (
            "L-STN costs “almost one third” of STN's FLOPS with “slightly more parameters”",
            f"{ratio.min():.3f} to {ratio.max():.3f} of STN's GFLOPS; {extra.max()} parameters more",
            "Table 9",
        ),
        *(
            (claim, _reduced_gain(variants), "Table 6")
            for claim, variants in {
                "“No single model performs worse after adding the spatial transformer network”": ["stn"],
                "“L-STN leads in both validation and test accuracy”": ["lstn"],
            }.items()
        ),
    ]
    return _numbered(rows, ["The paper", "Found here", "Page"])


def _reduced_gain(variants):
    found = gains("caltech101", "reduced")
    mine = found[found["variant"].isin(variants)]
    text = "; ".join(
        f"{title(r.backbone)} {r.mean:+.2f}"
        + ("" if pd.isna(r.half) else f" ± {r.half:.2f}")
        + f" (n={r.seeds})"
        for r in mine.itertuples()
    )
    at = "test accuracy against the original, in points, at the reduced protocol only"
    return f"{text}: {at}; at the paper's own, {MISSING}" if text else MISSING


def missing_verdict():
    """Which cells of Tables 4, 6 and 8 have no run at the paper's protocol yet, and what there is instead."""
    sentences = []
    for number, dataset in DATASETS.items():
        total = len(table(number))
        done = {p: len(runs(dataset, p).drop_duplicates(["backbone", "variant"])) for p in COMPARABLE}
        others = ", ".join(f"{n} networks at `{p}`" for p, n in done.items() if n and p != "paper")
        sentences.append(
            f"- Table {number}: {done['paper']} of {total} networks trained at the paper's protocol"
            + (f"; {others}." if others else ".")
        )
    return "\n".join(sentences)


def as_markdown(view):
    """A table of strings as a Markdown table, without its index."""
    rows = [view.columns, ["---"] * len(view.columns), *view.to_numpy()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
