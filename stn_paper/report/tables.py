"""Tables of the paper's and our numbers as text, for the notebooks.

This module measures and trains nothing. A missing number is shown as "not yet run".
"""

from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML

from ..analysis.cost_tables import TOLERANCE, compare_costs, lstn_against_stn, read_costs
from ..analysis.frame import RULE_COLUMNS, SEED_CONTROL, arm_titles, image_notes, order_backbones, runs
from ..analysis.paper import LOCALIZATION_TABLES, corrected, corrections, table
from ..analysis.statistics import MISSING, half_width, range_text
from ..data.datasets import DATASETS
from ..models import HEADINGS, ORIGINAL
from ..models.backbones import title
from ..training.presets import preset
from ..training.protocol import BEST_OF_FIVE, BEST_VALIDATION

# --- costs: Tables 1 to 5, 7 and 9 --------------------------------------------------------------


def layers_table(number):
    """Table 1, 2 or 3, row by row: the paper's type, filter, output and parameters, and ours."""
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
            ("MFLOPS", "by torch"): [
                f"{1000 * g:.2f}" for g in (*ours["torch_gflops"], ours["torch_gflops"].sum())
            ],
        }
    ).set_index(pd.Index([*range(1, len(ours) + 1), ""]))


def architectures_html():
    """The three localization nets side by side, as HTML: a line a layer, with a bar for its MFLOPS at 224 pixels."""
    ours = {number: read_costs(number) for number in LOCALIZATION_TABLES}
    most, columns = max(cost["gflops"].max() for cost in ours.values()), []
    for number, variant in LOCALIZATION_TABLES.items():
        cost, printed, lines = ours[number], table(number), []
        for row, (made, gflops) in enumerate(zip(cost["output"], cost["gflops"])):
            kind = corrected(number, printed["type"][row], row + 1)
            kernel = " × ".join(printed["filter"][row].split(" x ")[:2])
            side, _, channels = made.split(" x ")
            color = "pool" if "pool" in kind else "point" if kernel == "1 × 1" else "wide"
            lines.append(
                f'<li class="{color}" style="--share: {gflops / most:.3f}">{escape(kernel)} {escape(kind.lower())}'
                f"<small>{side} × {side} × {channels}; {1000 * gflops:.2f} MFLOPS</small></li>"
            )
        total = f"{cost['parameters'].sum():,} parameters, {1000 * cost['gflops'].sum():.1f} MFLOPS"
        name = f"<h3>{HEADINGS[variant]}</h3><p>{total}</p>"
        columns.append(f"<section>{name}<ol>{''.join(lines)}</ol></section>")
    return HTML(f'<div class="nets">{"".join(columns)}</div>')


def costs_table(number, quantity):
    """Table 4, 5, 7 or 9 as printed, `quantity` parameters or gflops: each cell beside ours.

    For GFLOPS, a third number: the count of torch's `FlopCounterMode`, about twice the paper's.
    """
    cells = compare_costs(number)
    view = {}
    for variant in cells["variant"].unique():
        mine = cells[cells["variant"] == variant].set_index("model")
        form = "{:,}" if quantity == "parameters" else f"{{:.{mine['decimals'].iloc[0]}f}}"
        view[HEADINGS[variant], "paper"] = mine[quantity].map(form.format)
        view[HEADINGS[variant], "ours"] = mine[f"our_{quantity}"].map(form.format)
        if quantity == "gflops":
            view[HEADINGS[variant], "by torch"] = mine["torch_gflops"].map(form.format)
    return _named(pd.DataFrame(view), number)


def _named(view, number):
    """Name each row as printed, followed by the right name if the paper misprints it."""
    names = {m: corrected(number, m) for m in view.index}
    view.index = [m if m == right else f"{m} (is {right})" for m, right in names.items()]
    return view


def layers_verdict():
    """How well the layers of Tables 1 to 3 agree with ours, in one sentence."""
    rows = shapes = counts = totals = misprinted = 0
    for number in LOCALIZATION_TABLES:
        printed, ours = table(number), read_costs(number)
        total, printed = printed["parameters"].iloc[-1], printed.iloc[:-1]
        right = [
            sum(map(int, corrected(number, p, i).split("+"))) for i, p in enumerate(printed["parameters"], 1)
        ]
        rows += len(printed)
        shapes += sum(printed["output"].to_numpy() == ours["output"].to_numpy())
        counts += sum(a == b for a, b in zip(right, ours["parameters"]))
        totals += int(total) == ours["parameters"].sum()
        misprinted += len(corrections(number))
    return (
        f"{shapes} of {rows} output shapes, {counts} of {rows} parameter counts and {totals} of "
        f"{len(LOCALIZATION_TABLES)} totals agree, after {misprinted} misprints are corrected."
    )


def cost_verdict(*numbers):
    """How well our costs agree with those of the paper's Tables 4, 5, 7 or 9, in one sentence."""
    cells = compare_costs(*numbers)
    worst = (cells["gflops"] - cells["our_gflops"]).abs().max()
    return (
        f"{cells['exact'].sum()} of {len(cells)} parameter counts agree to the unit, and "
        f"{cells['close'].sum()} of {len(cells)} GFLOPS figures within {TOLERANCE}: "
        f"rounded to the paper's decimals, the largest difference is {worst:.4f}."
    )


def misprints_table(number):
    """The corrections of Table `number` as a table to show."""
    return corrections(number).rename(columns=str.capitalize).set_index("Row").rename_axis(None)


def lstn_cost_verdict():
    """Table 9's two claims about L-STN, in one sentence computed from our costs."""
    ratio, extra = lstn_against_stn()
    return (
        f"L-STN costs {ratio.min():.3f} to {ratio.max():.3f} of STN's GFLOPS (the paper: “almost one third”) "
        f"and has {range_text(extra)} parameters more (“slightly more”)."
    )


# --- accuracies: Tables 4, 6 and 8 --------------------------------------------------------------


def mean_accuracies(dataset, protocol):
    """Our accuracies (percent) on a dataset at a protocol: a row a network that has a record, in the paper's order.

    Columns are means over n seeds, each with half of its 95 % interval (NaN for one seed): the validation accuracy, and
    the test accuracy by each selection rule (NaN if the records lack it). The selection bias is the test accuracy by
    `best-of-five` minus that by `best-validation`, in points. The seed control has a row of its own. Raises InputError
    for a damaged record.

    >>> mean_accuracies("caltech101", "small")["Validation"]  # doctest: +SKIP
    """
    ours, rows = runs(dataset, protocol), []
    titles = arm_titles(ours)
    for backbone in order_backbones(ours["backbone"]):
        for heading in (*HEADINGS.values(), SEED_CONTROL):
            mine = ours[(ours["backbone"] == backbone) & (titles == heading)]
            if len(mine):
                row: dict[str, Any] = {"Backbone": title(backbone), "Variant": heading}
                for column in ("validation", *RULE_COLUMNS):
                    name = column_of_rule(column) if column in RULE_COLUMNS else "Validation"
                    row |= {name: mine[column].mean(), f"{name} ±": half_width(mine[column])}
                row |= {"Selection bias": (mine[BEST_OF_FIVE] - mine[BEST_VALIDATION]).mean(), "n": len(mine)}
                rows.append(row)
    if not rows:
        return pd.DataFrame(columns=["Backbone", "Variant"]).set_index(["Backbone", "Variant"])
    return pd.DataFrame(rows).set_index(["Backbone", "Variant"])


def column_of_rule(rule):
    """The column of `mean_accuracies` with the test accuracy by a selection rule."""
    return f"Test, {rule}"


def protocol_heading(dataset, protocol, backbone=None):
    """The line above a table of runs, as Markdown: image size, epochs, number of images, and the protocol's name.

    `backbone` names a smaller system that has its own settings.
    """
    used = preset(protocol, dataset, ORIGINAL, backbone)
    size = f"images of {used.image_size} pixels" if used.image_size else "images of each network's own size"
    least = "" if used.max_epochs == used.min_epochs else "up to "
    limits = {
        "training images a class": used.train_per_class,
        "images each of validation and test": used.max_evaluation,
        "images a split": used.max_images,
    }
    limit_texts = [f"{number:,} {of}" for of, number in limits.items() if number]
    settings = ", ".join([size, f"{least}{used.max_epochs} epochs", *limit_texts])
    heading = f"**Ours on {DATASETS[dataset].title}: {settings}** (protocol `{protocol}`)."
    found = list(runs(dataset, protocol)["record"])
    if not found:
        return f"{heading} *{MISSING.capitalize()}.*"
    return " ".join([heading, *image_notes(found)])
