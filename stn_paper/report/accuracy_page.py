"""The tables of the pages of Tables 4, 6 and 8; the numbers are those of `analysis.accuracy`.

Figures are in `accuracy_figures`, sentences in `accuracy_verdicts`.
"""

import pandas as pd
from IPython.display import Markdown

from ..analysis import accuracy, copies, effects, frame, statistics
from ..analysis.accuracy import ESTIMATED_PROTOCOL, TSRD_COLUMNS
from ..analysis.paper import corrected, is_misprint
from ..analysis.statistics import NO_NUMBER
from ..models import HEADINGS, ORIGINAL
from ..models.backbones import title
from ..training import records
from . import charts, interactive
from .accuracy_figures import TSRD_HEADINGS
from .accuracy_verdicts import mean_without_collapsed
from .sentences import count_text, pair_title


def accuracy_table(number, backbone="", split="test"):
    """Table 6 or 8: the paper's and our accuracy of each variant; the row of `backbone` comes first.

    `split` is test or validation. A star marks a variant that, in our runs, is better than each other variant.
    """
    all_cells = _first(accuracy.cells(number), backbone)
    runs, rows, links, marks = accuracy.runs_by_cell(number), {}, {}, {}
    several = (all_cells["n"] > 1).any()
    for model, part in all_cells.groupby("model", sort=False):
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
                row[heading, "±"] = statistics.half_width(runs[cell.backbone, cell.variant][split])
            misprint = " misprint" * is_misprint(number, model, cell.variant, split)
            marks[name, (heading, "paper")] = f"paper{misprint}"
            marks[name, (heading, "ours")] = _classes(cell, star)
            links |= _link(name, (heading, "ours"), runs[cell.backbone, cell.variant], cell)
        rows[name] = row
    view = _headed(pd.DataFrame.from_dict(rows, orient="index"))
    return interactive.show_table(
        view, f"Table {number}, {split} accuracy", (), _table_note(all_cells, marks.values()), links, marks
    )


def _first(found, backbone):
    """The cells, those of `backbone` first."""
    return pd.concat([found[found["backbone"] == backbone], found[found["backbone"] != backbone]])


def _headed(view):
    """Return the frame with two rows of column headings; the lower row names the column of the index."""
    view.columns = pd.MultiIndex.from_tuples(view.columns, names=["", "Network"])
    return view


def _classes(cell, star):
    """The HTML classes of a cell with our number; book/_static/tables.css draws them."""
    found = {
        interactive.BEST: cell.variant == star,
        interactive.COLLAPSED: cell.collapsed,
        "failed": cell.failed,
    }
    return " ".join(["ours", *(name for name, true in found.items() if true)])


def _link(row, column, runs, cell):
    """{(row, column): address} of the cell's run, or of the list of its runs; {} without a run or for a smoke run."""
    if not cell.n:
        return {}
    if cell.n == 1:
        address = interactive.run_address(runs["record"].iloc[0])
        return {(row, column): address} if address else {}
    return {(row, column): interactive.runs_address(runs["record"].iloc[0])}


def _table_note(found, classes=()):
    note = "The paper's numbers are in italics, ours on a tint; –: no run yet."
    if (found["n"] > 0).any():
        note += " Our numbers lead to their runs."
    if (found["n"] > 1).any():
        note += " ±: half of the 95 % interval of the mean over seeds."
        if found["variant"].nunique() > 1:
            note += " ★: better than each other variant, by the tests of the experiment."
    if found["collapsed"].any():
        note += " †: a run collapsed (its sampling grid left the image)."
    if found["failed"].any():
        note += " ‡: the training loss of a run ended near that of guessing."
    if any("misprint" in names for names in classes):
        note += " §: a misprint of the paper, explained at the end of this page."
    return note


def theta_motion(number, backbone=""):
    """How far each transformer's theta moves from image to image (pixels), a row a backbone."""
    cells = _first(accuracy.cells(number), backbone)
    cells = cells[(cells["variant"] != ORIGINAL) & (cells["n"] > 0)]
    if cells.empty:
        return Markdown("*No transformer has a run yet.*")
    rows = {}
    for cell in cells.itertuples():
        empty = {"Image size": f"{cell.image_size:.0f}"} | {HEADINGS[v]: NO_NUMBER for v in effects.APPLIED}
        moved, outcome = "" if pd.isna(cell.spread) else f"{cell.spread:.2f}", _outcome_text(cell)
        text = f"{moved} ({outcome})" if moved and outcome else moved or outcome or NO_NUMBER
        rows.setdefault(title(cell.backbone), empty)[HEADINGS[cell.variant]] = text
    return pd.DataFrame(rows).T


def _outcome_text(cell):
    """How many runs of a cell collapsed or failed to train, as text; "" if none did."""
    counts = {"collapsed": cell.collapsed, "failed to train": cell.failed}
    of = "" if cell.n == 1 else f" of {cell.n}"
    return ", ".join(
        f"{number}{of} {outcome}" if of else outcome for outcome, number in counts.items() if number
    )


def requested_runs(specs):
    """The runs that the notebook's parameters select, a row a run; None without a run."""
    rows = []
    for spec in specs:
        record = records.read_record(records.record_path(spec))
        chosen, outcome = records.selected_result(record), frame.training_outcome(record)
        moved = "collapsed" if outcome["collapsed"] else _number_or_dash(outcome["spread"])
        rows.append(
            {
                "Network": title(spec.backbone),
                "Variant": HEADINGS[spec.variant],
                "Protocol": spec.protocol.name,
                "Seed": spec.seed,
                "Validation": f"{chosen['validation']:.2f}",
                "Test": f"{chosen['test']:.2f}",
                "Theta moves (pixels)": moved,
            }
        )
    return pd.DataFrame(rows).set_index("Network") if rows else None


def _number_or_dash(value, form=".2f"):
    return NO_NUMBER if pd.isna(value) else f"{value:{form}}"


def replication_table(number):
    """`accuracy.replication` as a table to read, a row a comparison."""
    rows = {}
    for row in accuracy.replication(number).itertuples():
        mean, kept = _mean_or_dash(row.mean, row.half, row.backbones), NO_NUMBER
        if row.collapsed and row.kept:
            kept = f"{mean_without_collapsed(row)} ({count_text(row.kept, 'backbone')})"
        ties = row.backbones - row.ahead - row.behind
        ahead = f"{row.ahead} of {row.backbones}" + (f" ({count_text(ties, 'tie')})" if ties else "")
        rows[pair_title(row.variant, row.against)] = {
            ("Paper", "ahead in"): f"{row.paper_ahead} of {row.paper_backbones}",
            ("Paper", "mean (points)"): f"{row.paper_mean:+.2f}",
            ("Ours", "ahead in"): ahead if row.backbones else NO_NUMBER,
            ("Ours", "mean (points)"): mean,
            ("Ours", "p, sign test"): _number_or_dash(row.p, ".2g"),
            ("Ours", "p, Holm"): _number_or_dash(row.p_holm, ".2g"),
            ("Ours", "mean without collapsed"): kept,
        }
    return pd.DataFrame(rows).T


def _mean_or_dash(mean, half, backbones):
    """A mean with half of its interval; a dash below FEWEST_BACKBONES backbones, whose interval says nothing."""
    return NO_NUMBER if backbones < accuracy.FEWEST_BACKBONES else f"{mean:+.2f} ± {half:.2f}"


# --- learning curves ------------------------------------------------------------------------------


def table_learning_curves(number, request):
    """Return the learning curves of the requested runs; without a request, those of the runs in the table."""
    if request.specs:
        return charts.learning_curves(frame.runs(request.dataset, request.protocols[0]))
    shown = [
        frame.runs(request.dataset, protocol, backbone)
        for backbone, protocol in accuracy.protocol_by_backbone(number).items()
        if protocol
    ]
    return charts.learning_curves(
        pd.concat(shown) if shown else frame.runs(request.dataset, ESTIMATED_PROTOCOL)
    )


# --- Table 4 --------------------------------------------------------------------------------------


def tsrd_table(backbone=""):
    """Table 4: the paper's test accuracy beside ours, and the baselines that learn nothing."""
    cells, baselines = _first(accuracy.cells(4), backbone), accuracy.baseline_accuracies()
    runs, rows, links, marks = accuracy.runs_by_protocol(4), {}, {}, {}
    several = (cells[["n", "distinct_n"]] > 1).any(axis=None)
    for cell in cells.itertuples():
        name = corrected(4, cell.model)
        row, marks[name, ("Paper", "test")] = {("Paper", "test"): cell.paper_test}, "paper"
        for column, half in TSRD_COLUMNS.items():
            place, dataset = ("Ours", TSRD_HEADINGS[column]), accuracy.datasets_of(4)[column == "distinct"]
            row[place], marks[name, place] = getattr(cell, column), "ours"
            if several:
                row["Ours", f"± {TSRD_HEADINGS[column]}"] = getattr(cell, half)
            if column == "without_copy":
                continue
            mine = runs[cell.protocol or accuracy.TABLE_PROTOCOLS[0]][dataset]
            mine = mine[mine["backbone"] == cell.backbone]
            links |= _link(name, place, mine, cell._replace(n=len(mine)))
            marks[name, place] = _classes(cell, None) if column == "test" else "ours"
        rows[name] = row
    for name, values in baselines.iterrows():
        rows[name.capitalize()] = {("Ours", TSRD_HEADINGS[column]): values[column] for column in TSRD_COLUMNS}
        marks |= {(name.capitalize(), ("Ours", TSRD_HEADINGS[column])): "ours" for column in TSRD_COLUMNS}
    near, searched = copies.test_images_with_copy("tsrd", "near")
    near_text = f"; {near} of them have a near copy" if searched else ""
    note = (
        "Test accuracy in percent; the paper's column is headed “Validation Error”. All: TSRD's test "
        f"images. No identical copy: those without an identical training image{near_text}. Distinct: TSRD with one "
        "file of each picture, trained anew. "
    )
    view = _headed(pd.DataFrame.from_dict(rows, orient="index"))
    return interactive.show_table(view, "Table 4, test accuracy", (), note + _table_note(cells), links, marks)
