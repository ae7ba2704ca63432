"""Tables, figures and sentences of the pages of Tables 4, 6 and 8; the numbers are those of `accuracy`."""

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from ..analysis import accuracy, effects, frame, statistics
from ..analysis.accuracy import SCALE, TSRD_COLUMNS, WELL_ABOVE_98
from ..analysis.estimates import is_gpu
from ..analysis.paper import corrected, networks
from ..data.datasets import DATASETS
from ..models import HEADINGS, ORIGINAL
from ..models.backbones import title
from ..training import records
from ..training.spec import BEST_VALIDATION, LAST_EPOCH
from . import charts, interactive
from .figures import COLORS, closed
from .sentences import listed

NONE = "–"  # a cell without a run
RULES = {LAST_EPOCH: "the last epoch", BEST_VALIDATION: "the epoch of the best validation accuracy"}
COLUMNS = {  # of Table 4: what each is of
    "test": "TSRD, all test images",
    "without_copy": "TSRD, images without a copy",
    "distinct": "TSRD, distinct pictures",
}
SHORT = {"test": "all", "without_copy": "no copy", "distinct": "distinct"}  # the same, as headings of columns
SHADES = dict(zip(TSRD_COLUMNS, (COLORS["stn"], COLORS["lstn"], COLORS["vstn"])))
PANELS = (("lstn", "stn"), ("stn", ORIGINAL))  # of the figure on the pattern
PAPER = (0.35, 0.35, 0.35)
WIDTH = 5.4  # inches of a figure that is read on a telephone too


# --- in words: what our numbers are ---------------------------------------------------------------


def protocols(number):
    """What our numbers are, as Markdown: image size, epochs, training images and rule of selection."""
    found = accuracy.cells(number)
    found = found[found["n"] > 0]
    if found.empty:
        return f"Ours: no network has a run yet ({NONE})."
    kinds = []
    for _, part in found.groupby("protocol", sort=False):
        backbones = list(dict.fromkeys(part["backbone"]))
        low, high = int(part["image_size"].min()), int(part["image_size"].max())
        pixels = f"{low}-pixel images" if low == high else f"images of {low} to {high} pixels"
        images = (
            f" of {part['train_images'].iloc[0]:,.0f} training images" if part["train_images"].iloc[0] else ""
        )
        rule = RULES.get(part["selection"].iloc[0], "the best of five epochs")
        told = f"{pixels}, {part['epochs'].iloc[0]:.0f} epochs{images}, test accuracy at {rule}"
        kinds.append((backbones, told))
    kinds.sort(key=lambda kind: -len(kind[0]))
    whole = len(kinds) == 1 and len(kinds[0][0]) == len(networks(number)["backbone"].unique())
    texts = [
        told if whole or (i == 0 and len(kinds) > 1) else f"{listed(list(map(title, backbones)))}: {told}"
        for i, (backbones, told) in enumerate(kinds)
    ]
    return f"**Ours: {'; '.join(texts)}.**"


def missing(number):
    """Which cells have a run, what the paper's image size lacks and what it would cost, in one sentence."""
    found = accuracy.missing(number)
    told = f"{found['with_run']} of {found['cells']} cells have a run of ours."
    if not found["lacking"]:
        return f"{told} All cells have a run at the paper's image size."
    hours, device = found["hours"], found["device"]
    price = "what they would cost is not known, as no run has been measured"
    if hours is not None:
        unit = "GPU hours" if is_gpu(device) else "hours"
        digits = f"{hours:,.0f}" if hours >= 2 else f"{hours:.1f}"
        price = (
            f"one seed of each would take about {digits} {unit} on one {device}, by the speed of our records"
        )
    lacking = f"all {found['cells']}" if found["lacking"] == found["cells"] else f"{found['lacking']}"
    return f"{told} At the paper's image size (protocol `{SCALE}`) {lacking} are missing; {price}."


# --- the tables -----------------------------------------------------------------------------------


def table(number, backbone="", split="test"):
    """Table 6 or 8: the paper's accuracy and ours of each variant; the row of `backbone` comes first.

    `split` is test or validation. A star marks a variant of ours that is shown to be better than each other one.
    """
    found = _first(accuracy.cells(number), backbone)
    runs, rows, links, marks = accuracy.runs_by_cell(number), {}, {}, {}
    several = (found["n"] > 1).any()
    for model, part in found.groupby("model", sort=False):
        name, row = corrected(number, model), {}
        cells = list(part.itertuples())
        ours = pd.concat([runs[cell.backbone, cell.variant] for cell in cells])
        star = interactive.clearly_best(ours, split) if (part["n"] > 0).all() else None
        for cell in cells:
            heading = HEADINGS[cell.variant]
            row[heading, "paper"], row[heading, "ours"] = (
                getattr(cell, f"paper_{split}"),
                getattr(cell, split),
            )
            if several:
                row[heading, "±"] = accuracy.student(runs[cell.backbone, cell.variant][split])
            marks[name, (heading, "paper")], marks[name, (heading, "ours")] = "paper", _classes(cell, star)
            links |= _link(name, (heading, "ours"), runs[cell.backbone, cell.variant], cell)
        rows[name] = row
    view = _headed(pd.DataFrame.from_dict(rows, orient="index"))
    return interactive.shown(view, f"Table {number}, {split} accuracy", (), _note(found), links, marks)


def _first(found, backbone):
    """The cells with those of a backbone before the others."""
    return pd.concat([found[found["backbone"] == backbone], found[found["backbone"] != backbone]])


def _headed(view):
    """The frame with MultiIndex columns, the name of the index's column in the lower row of headings."""
    view.columns = pd.MultiIndex.from_tuples(view.columns, names=["", "Network"])
    return view


def _classes(cell, star):
    """The classes of a cell of ours, see `interactive`."""
    found = {interactive.BEST: cell.variant == star, "collapsed": cell.collapsed, "failed": cell.failed}
    return " ".join(["ours", *(name for name, true in found.items() if true)])


def _link(row, column, runs, cell):
    """{place: address} of the cell's run, or of the list of its runs; {} without a run or for a smoke run."""
    if not cell.n:
        return {}
    if cell.n == 1:
        address = interactive.run_address(runs["record"].iloc[0])
        return {(row, column): address} if address else {}
    dataset = DATASETS[runs["record"].iloc[0]["spec"]["dataset"]].title
    return {
        (row, column): interactive.runs_address(
            title(cell.backbone), HEADINGS[cell.variant], dataset, cell.protocol
        )
    }


def _fate(cell):
    """How many runs of a cell collapsed or failed to train, as text; empty if none did."""
    fates = {"collapsed": cell.collapsed, "failed to train": cell.failed}
    of = "" if cell.n == 1 else f" of {cell.n}"
    return ", ".join(f"{number}{of} {fate}" if of else fate for fate, number in fates.items() if number)


def _note(found):
    note = "The paper's numbers are in italics, ours on a tint; an empty cell has no run."
    if (found["n"] > 0).any():
        note += " Our numbers lead to their runs."
    if (found["n"] > 1).any():
        note += (
            " ±: half of the 95 % interval of the mean over seeds. ★: better than each other variant, by the "
            "tests of the experiment."
        )
    if found["collapsed"].any():
        note += " †: in a run the sampling grid left the image, and the classifier saw nothing."
    if found["failed"].any():
        note += " ‡: the training loss of a run ended near that of guessing."
    return note


def theta(number, backbone=""):
    """How far each transformer's theta moves from image to image (pixels), a row a backbone."""
    found = _first(accuracy.cells(number), backbone)
    found = found[(found["variant"] != ORIGINAL) & (found["n"] > 0)]
    if found.empty:
        return Markdown("*No transformer has a run yet.*")
    rows = {}
    for cell in found.itertuples():
        empty = {"Image size": f"{cell.image_size:.0f}"} | {HEADINGS[v]: NONE for v in effects.APPLIED}
        moved, fate = "" if pd.isna(cell.spread) else f"{cell.spread:.2f}", _fate(cell)
        text = f"{moved} ({fate})" if moved and fate else moved or fate or NONE
        rows.setdefault(title(cell.backbone), empty)[HEADINGS[cell.variant]] = text
    return pd.DataFrame(rows).T


def requested(specs):
    """The runs that the parameters asked for, a row a run; None if they asked for none."""
    rows = []
    for spec in specs:
        record = records.read(records.record_path(spec))
        chosen, of = records.chosen(record), frame.fate(record)
        rows.append(
            {
                "Network": title(spec.backbone),
                "Variant": HEADINGS[spec.variant],
                "Protocol": spec.protocol.name,
                "Seed": spec.seed,
                "Validation": f"{chosen['validation']:.2f}",
                "Test": f"{chosen['test']:.2f}",
                "Theta moves (pixels)": "collapsed" if of["collapsed"] else _number(of["spread"]),
            }
        )
    return pd.DataFrame(rows).set_index("Network") if rows else None


def _number(value, form=".2f"):
    return NONE if pd.isna(value) else f"{value:{form}}"


# --- does the pattern replicate? ------------------------------------------------------------------


def _compared(variant, against):
    return f"{HEADINGS[variant]} − {HEADINGS[against]}"


def pattern(number):
    """Differences of test accuracy, a panel for each of PANELS and a row a backbone: the paper's and ours.

    Where a run collapsed, or the network failed to train, the row has a text in place of our difference.
    """
    found = accuracy.differences(number)
    found["apart"] = (found["collapsed"] + found["collapsed_against"] > 0) | found["left_out"]
    size = 1.15 + 0.36 * found["backbone"].nunique()
    figure, axes = plt.subplots(len(PANELS), figsize=(WIDTH, len(PANELS) * size))
    shown = found[[pair in PANELS for pair in zip(found["variant"], found["against"])]]
    limits = _limits(shown)
    for axis, (variant, against) in zip(axes, PANELS):
        part = shown[(shown["variant"] == variant) & (shown["against"] == against)].reset_index(drop=True)
        axis.set(xlim=limits, ylim=(len(part) - 0.4, -0.9))
        _panel(axis, part, COLORS[variant])
        axis.set_title(_compared(variant, against), loc="left", fontsize=12, fontweight="bold")
        axis.set_yticks(range(len(part)), [title(b) for b in part["backbone"]])
    axes[-1].set_xlabel("difference of test accuracy (points)")
    return closed(figure)


def _limits(shown):
    """The range of an axis that holds the paper's differences and those of ours that are drawn."""
    drawn = shown[shown["ours"].notna() & ~shown["apart"]]
    half = drawn["half"].fillna(0)
    ends = [0, *shown["paper"], *(drawn["ours"] - half), *(drawn["ours"] + half)]
    room = 0.08 * (max(ends) - min(ends))
    return min(ends) - room, max(ends) + room


def _panel(axis, part, color):
    drawn = part[part["ours"].notna() & ~part["apart"]]
    axis.axvline(0, color="black", linewidth=1, zorder=1)
    axis.plot(
        part["paper"], part.index, "o", color=PAPER, fillstyle="none", markersize=7, markeredgewidth=1.5
    )
    axis.errorbar(
        drawn["ours"], drawn.index, xerr=drawn["half"].fillna(0), fmt="none", color=color, capsize=3
    )
    axis.plot(drawn["ours"], drawn.index, "D", color=color, markersize=7)
    _label(axis, "paper", part["paper"][0], 0, 7, color=PAPER)
    if len(drawn):
        low, high = axis.get_xlim()
        first, row = drawn["ours"].iloc[0], drawn.index[0]
        beside = row == 0 and abs(first - part["paper"][0]) < 0.15 * (high - low)
        _label(axis, "ours", first, row, -15 if beside else 7, color=color, fontweight="bold")
    for row in part[part["apart"] & part["ours"].notna()].itertuples():
        right = row.ours > 0
        axis.text(
            0.99 if right else 0.01,
            row.Index + 0.36,
            f"{_why_apart(row)} →" if right else f"← {_why_apart(row)}",
            transform=axis.get_yaxis_transform(),
            ha="right" if right else "left",
            va="center",
            fontsize=11,
            color=color,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85},
        )
    axis.tick_params(labelsize=10.5)
    axis.grid(axis="y", visible=False)


def _label(axis, text, x, y, shift, **look):
    axis.annotate(text, (x, y), xytext=(0, shift), textcoords="offset points", ha="center", **look)


def _why_apart(row):
    """Why our difference of a row of `accuracy.differences` is drawn apart, and how large it is."""
    sides = ((row.variant, row.collapsed), (row.against, row.collapsed_against))
    collapsed = " and ".join(HEADINGS[variant] for variant, number in sides if number)
    why = f"{collapsed} collapsed" if collapsed else "left out, failed to train"
    return f"ours: {row.ours:+.1f} ({why})"


def replication(number):
    """`accuracy.replication` as a table to read, a row a comparison."""
    rows = {}
    for row in accuracy.replication(number).itertuples():
        half = "" if pd.isna(row.half) else f" ± {row.half:.2f}"
        kept = NONE if not row.collapsed else _number(row.mean_kept, "+.2f")
        if row.collapsed and not pd.isna(row.half_kept):
            kept += f" ± {row.half_kept:.2f}"
        rows[_compared(row.variant, row.against)] = {
            ("Paper", "ahead in"): f"{row.paper_ahead} of {row.paper_backbones}",
            ("Paper", "mean"): f"{row.paper_mean:+.2f}",
            ("Ours", "ahead in"): f"{row.ahead} of {row.backbones}" if row.backbones else NONE,
            ("Ours", "mean"): f"{row.mean:+.2f}{half}" if row.backbones else NONE,
            ("Ours", "p, sign test (Holm)"): f"{_number(row.p, '.2g')} ({_number(row.p_holm, '.2g')})",
            ("Ours", "mean without collapsed"): kept,
        }
    return pd.DataFrame(rows).T


def smallest_p(number):
    """The smallest p that a sign test over the backbones of a table can give, in a sentence."""
    backbones, tests = networks(number)["backbone"].nunique(), len(accuracy.COMPARISONS)
    smallest = statistics.sign_test(backbones, 0)
    adjusted = min(1.0, tests * smallest)
    means = (
        "the interval of the mean has to show a gain"
        if adjusted >= 0.05
        else "one backbone less would not do"
    )
    return (
        f"Ahead in {backbones} of {backbones} backbones gives p = {smallest:.2g} in a sign test, and "
        f"p = {adjusted:.2g} after Holm's correction for {tests} comparisons: {means}."
    )


def verdict(number):
    """Two sentences on whether the paper's pattern over backbones is in our runs, as Markdown.

    The mean without collapsed runs decides: see `accuracy.judged`.
    """
    found = accuracy.replication(number).set_index(["variant", "against"])
    words = {
        accuracy.REPLICATES: "The pattern replicates",
        accuracy.NOT: "The pattern does not replicate",
        accuracy.OPEN: "Open",
    }
    main, other = found.loc[("lstn", "stn")], found.loc[("lstn", ORIGINAL)]
    if found["backbones"].max() < accuracy.FEWEST:
        return _open(number, int(found["backbones"].max()))
    return (
        f"**{words[accuracy.judged(main)]}.** L-STN is ahead of STN in {_told(main)}. Against no transformer "
        f"it is ahead in {_told(other)}."
    )


def _told(row):
    """Counts and means of a row of `accuracy.replication` in words, the paper's in parentheses."""
    kept = f"{row['mean_kept']:+.2f}" + ("" if pd.isna(row["half_kept"]) else f" ± {row['half_kept']:.2f}")
    text = f"{row['mean']:+.2f} points" if row["collapsed"] else f"{kept} points"
    if row["collapsed"] and row["kept"]:
        few = "1 backbone" if row["collapsed"] == 1 else f"{row['collapsed']:.0f} backbones"
        text += f", without the {few} with a collapsed run {kept}"
    return (
        f"{row['ahead']:.0f} of {row['backbones']:.0f} backbones (the paper: {row['paper_ahead']:.0f} of "
        f"{row['paper_backbones']:.0f}); the mean difference is {text} (the paper: {row['paper_mean']:+.2f})"
    )


def _open(number, compared):
    """The verdict while too few backbones have runs of the variants."""
    found = accuracy.cells(number)
    total = found["backbone"].nunique()
    if not compared:
        return f"**Open.** None of the {total} backbones has runs of two variants yet."
    whole = found.groupby("backbone", sort=False).filter(lambda part: (part["n"] > 0).sum() > 1)
    texts = []
    for backbone, part in whole.groupby("backbone", sort=False):
        cells = [
            f"{'no transformer' if c.variant == ORIGINAL else HEADINGS[c.variant]} {c.test:.2f} %"
            + (f" ({fate})" if (fate := _fate(c)) else "")
            for c in part[part["n"] > 0].itertuples()
        ]
        texts.append(f"{title(backbone)}: {', '.join(cells)}")
    few = f"{compared} of {total} backbones {'has' if compared == 1 else 'have'} runs to compare"
    return f"**Open.** {few}, and a pattern needs {accuracy.FEWEST}. {'. '.join(texts)}."


# --- learning curves ------------------------------------------------------------------------------


def learning_curves(number, asked):
    """`charts.learning_curves` of the runs that were asked for; by default, of the protocol of most rows."""
    if asked.specs:
        return charts.learning_curves(asked.dataset, asked.protocols[0])
    used = [protocol for protocol in accuracy.chosen(number).values() if protocol]
    protocol = max(dict.fromkeys(used), key=used.count) if used else SCALE
    return charts.learning_curves(asked.dataset, protocol)


# --- Table 4 --------------------------------------------------------------------------------------


def table4(backbone=""):
    """Table 4: the paper's test accuracy beside ours, and the baselines that learn nothing."""
    found, learned = _first(accuracy.cells(4), backbone), accuracy.baselines()
    known, rows, links, marks = accuracy.found_runs(4), {}, {}, {}
    several = (found[["n", "distinct_n"]] > 1).any(axis=None)
    for cell in found.itertuples():
        name = corrected(4, cell.model)
        row, marks[name, ("Paper", "test")] = {("Paper", "test"): cell.paper_test}, "paper"
        for column, half in TSRD_COLUMNS.items():
            place, dataset = ("Ours", SHORT[column]), accuracy.datasets_of(4)[column == "distinct"]
            row[place], marks[name, place] = getattr(cell, column), "ours"
            if several:
                row["Ours", f"± {SHORT[column]}"] = getattr(cell, half)
            if column == "without_copy":
                continue
            mine = known[cell.protocol or accuracy.PROTOCOLS[0]][dataset]
            mine = mine[mine["backbone"] == cell.backbone]
            links |= _link(name, place, mine, cell._replace(n=len(mine)))
            marks[name, place] = _classes(cell, None) if column == "test" else "ours"
        rows[name] = row
    for name, values in learned.iterrows():
        rows[name.capitalize()] = {("Ours", SHORT[column]): values[column] for column in TSRD_COLUMNS}
        marks |= {(name.capitalize(), ("Ours", SHORT[column])): "ours" for column in TSRD_COLUMNS}
    note = (
        "Test accuracy in percent; the paper's, in italics, is its column “Validation Error”. All: TSRD's test "
        "images. No copy: those without an identical training image. Distinct: TSRD with one file of each "
        "picture, trained anew. The last two rows learn nothing. "
    )
    view = _headed(pd.DataFrame.from_dict(rows, orient="index"))
    return interactive.shown(view, "Table 4, test accuracy", (), note + _note(found), links, marks)


def dots4():
    """Test accuracies of Table 4's networks, a row each: the paper's and our three; lines are baselines."""
    found, learned = accuracy.cells(4), accuracy.baselines()
    figure, axis = plt.subplots(figsize=(WIDTH, 1.9 + 0.36 * len(found)))
    rows = range(len(found))
    for column, half in TSRD_COLUMNS.items():
        axis.errorbar(
            found[column], rows, xerr=found[half].fillna(0), fmt="none", color=SHADES[column], capsize=3
        )
        axis.plot(found[column], rows, "D", color=SHADES[column], markersize=6)
    axis.plot(
        found["paper_test"], rows, "o", color=PAPER, fillstyle="none", markersize=8, markeredgewidth=1.5
    )
    lines = []
    if "nearest neighbour" in learned.index:
        near = learned.loc["nearest neighbour"]
        lines = [(near[column], "nearest neighbour", "--", column) for column in TSRD_COLUMNS]
        lines.append((learned.loc["look-up", "test"], "look-up", ":", "test"))
    for value, name, style, column in lines:
        axis.axvline(value, color=SHADES[column], linestyle=style, linewidth=1.4, zorder=0)
        axis.annotate(
            name,
            (value, 1.01),
            xycoords=axis.get_xaxis_transform(),
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=11,
            color=SHADES[column],
        )
    handles = [plt.Line2D([], [], marker="o", fillstyle="none", color=PAPER, linestyle="", label="paper")]
    handles += [
        plt.Line2D([], [], marker="D", color=SHADES[c], linestyle="", label=f"ours: {COLUMNS[c]}")
        for c in TSRD_COLUMNS
    ]
    axis.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.3, -0.09), ncol=1, fontsize=11, frameon=False
    )
    axis.set_yticks(rows, [title(b) for b in found["backbone"]])
    axis.set(ylim=(len(found) - 0.5, -0.5), xlabel="test accuracy (%)")
    axis.set_xlim(right=101)
    axis.tick_params(labelsize=10.5)
    axis.grid(axis="y", visible=False)
    return closed(figure)


def verdict4():
    """Is “well above 98 %” reached with copies, and without? Do larger networks win? As Markdown."""
    found = accuracy.cells(4)
    known, total = found[found["without_copy"].notna()], len(found)
    if known.empty:
        return "**Open.** No network of Table 4 has a run of ours yet."
    with_copies, without = (known[c] >= WELL_ABOVE_98 for c in ("test", "without_copy"))
    part = "" if len(known) == total else f" ({len(known)} of {total} have a run)"
    gap = (known["test"] - known["without_copy"]).mean()
    head = (
        f"**“Well above 98 %” (read as {WELL_ABOVE_98:.0f} % or more) is reached by {with_copies.sum()} of "
        f"{len(known)} networks on all test images and by {without.sum()} on those without a copy**{part}: copies in "
        f"training are worth {gap:.1f} points on average."
    )
    if not with_copies.any() and (known["protocol"] == "small").all():
        head += " Our short trainings of small images cannot refute the paper's numbers."
    return f"{head} {ranked4(found)}"


def ranked4(found=None):
    """Whether larger networks win on TSRD, in one sentence."""
    ranks = accuracy.size_ranking(found)
    ours = ranks.drop("paper_test")
    if ours["rho"].isna().all():
        return f"Whether larger networks win is open: {statistics.RANKED} networks are needed."
    shown = ours.dropna()
    low, high = sorted(shown["rho"])[0], sorted(shown["rho"])[-1]
    sure = shown["p"] < 0.05
    wins, loses = (sure & (shown["rho"] > 0)).sum(), (sure & (shown["rho"] < 0)).sum()
    word = "No relation of size and accuracy is shown"
    if wins or loses:
        which, number = ("Larger", wins) if wins >= loses else ("Smaller", loses)
        word = f"{which} networks win" + (
            "" if number == len(shown) else f" in {number} of {len(shown)} columns"
        )
    ours, paper = f"{low:+.2f} to {high:+.2f}", f"{ranks.loc['paper_test', 'rho']:+.2f}"
    return f"{word}: the ranks of parameters and accuracy correlate at {ours} (the paper: {paper})."


def in_words(number):
    """The rows of Table 6 or 8 that have runs of ours, in words, and how many cells have none."""
    found = accuracy.cells(number)
    run = found[found["n"] > 0]
    told = []
    for backbone, row in run.groupby("backbone", sort=False):
        first = row.iloc[0]
        parts = [
            f"{HEADINGS[cell.variant]} {cell.test:.2f} %{' (collapsed)' if cell.collapsed else ''}"
            for cell in row.itertuples()
        ]
        size = f"{first['image_size']:.0f} pixels, {first['epochs']:.0f} epochs, n={first['n']:.0f}"
        told.append(f"{title(backbone)} ({size}): {', '.join(parts)}")
    return f"{'; '.join(told) or 'no run yet'}. {len(run)} of {len(found)} cells have a run"


def above_98_in_words():
    """In how many networks the accuracy on TSRD reaches "well above 98%" with and without copies, in words."""
    found = accuracy.cells(4)
    known = found[found["n"] > 0]
    with_copies, without = (int((known[c] >= WELL_ABOVE_98).sum()) for c in ("test", "without_copy"))
    return (
        f"{WELL_ABOVE_98:.0f} % is reached by {with_copies} of {len(known)} networks on all test images, by "
        f"{without} on those without a copy ({len(known)} of {len(found)} networks have a run)"
    )
