"""Render tables of our runs as HTML that readers can sort, with links to the runs and the best numbers marked.

`show_table` writes a table with pandas' Styler. Marks are classes of cells, which `book/_static/tables.css` draws, so
that a cell with a number contains only the number. A table is complete without JavaScript; with JavaScript,
`book/_extensions/interactive.js` adds sorting, filters and a download to tables of the class `interactive`.
"""

import re
from html import escape
from urllib.parse import urlencode

import pandas as pd
from IPython.display import HTML

from ..analysis import effects, frame, statistics
from ..analysis.statistics import BETTER, WORSE
from ..data.datasets import DATASETS
from ..models import HEADINGS, ORIGINAL
from ..models.backbones import title
from ..training import records
from ..training.hardware import CHANGED
from . import run_pages, small_systems, tables
from .sentences import count_text

BEST, COLLAPSED = "best", "collapsed"  # classes of a cell


def show_table(view, name, filters=(), note="", links=None, marks=None):
    """Return the frame `view` as HTML, a table that readers can sort; a named index is the first column.

    Floats are shown with two decimals, NaN as an empty cell. Text is escaped, except text of the type `Html`. `name` is
    the table's name for screen readers and for its CSV file. `filters` are columns with few values, by which readers
    select rows. `links` and `marks` are {(row, column): address or class of the cell}. `note` is a text below the
    table.
    """
    attributes = {"aria-label": name, "data-filters": "|".join(filters)}
    written = " ".join(f'{key}="{escape(value)}"' for key, value in attributes.items() if value)
    styler = view.style.format(_cell).format_index(escape="html", axis=0).format_index(escape="html", axis=1)
    for (row, column), address in (links or {}).items():
        inside = pd.IndexSlice[[row], [column]]
        styler.format(
            lambda value, address=address: f'<a href="{escape(address)}">{_cell(value)}</a>', subset=inside
        )
    if isinstance(view.index, pd.RangeIndex):
        styler.hide(axis="index")
    if marks:
        classes = pd.DataFrame("", view.index, view.columns)
        for place, mark in marks.items():
            classes.loc[place] = f"{classes.loc[place]} {mark}".strip()
        styler.set_td_classes(classes)
    styler.set_uuid(re.sub(r"\W+", "-", name.lower())).set_table_attributes(
        f'class="dataframe interactive" {written}'
    )
    styler.cell_ids = False
    html = re.sub(r"<style.*?</style>\n?", "", styler.to_html(), flags=re.DOTALL)
    note = f'\n<p class="table-note">{note}</p>' if note else ""
    return HTML(html + note)


class Html(str):
    """Text of a cell that is HTML already."""


def _cell(value):
    """A cell's HTML."""
    if isinstance(value, Html):
        return str(value)
    if pd.isna(value):
        return ""
    return f"{value:.2f}" if isinstance(value, float) else escape(str(value))


def run_address(record):
    """The address of the page of the record's run from a page under notebooks/; None for a smoke run."""
    if record["spec"]["protocol"]["name"] == records.SMOKE:
        return None
    return f"../runs/{records.spec_of(record).name}.html"


def runs_address(record):
    """The address of the list of all runs, where only the seeds of the record's network and protocol are shown."""
    return f"runs.html?{urlencode(_kind_of_run(record['spec']))}"


def _kind_of_run(spec):
    """The cells that a run and its other seeds have in common in the list of all runs: {column: text}."""
    return {
        "Dataset": DATASETS[spec["dataset"]].title,
        "Network": title(spec["backbone"]),
        "Variant": HEADINGS[spec["variant"]],
        "Protocol": run_pages.protocol_in_words(spec),
    }


def run_link(record, text):
    """`text`, linked to the page of the record's run from a page under notebooks/; smoke runs have none."""
    address = run_address(record)
    return Html(f'<a href="{escape(address)}">{escape(str(text))}</a>' if address else escape(str(text)))


def seed_links(ours):
    """The seeds of these `frame.runs`, each linked to its run."""
    return Html(", ".join(run_link(run.record, run.seed) for run in ours.itertuples()))


def clearly_best(ours, column="test"):
    """The variant of a network that, in these runs, is better than each other variant; None if there is none.

    The original and the applied variants are compared, by `effects.compare_arms`.
    """
    found = effects.compare_arms(ours, column)
    found = found[found["shown"].str.startswith((BETTER, WORSE))]
    ahead = found["shown"].str.startswith(BETTER)
    beaten = {variant: set() for variant in (ORIGINAL, *effects.APPLIED)}
    for variant, against, first in zip(found["variant"], found["against"], ahead):
        winner, loser = (variant, against) if first else (against, variant)
        beaten.get(winner, set()).add(loser)
    present = {*beaten} & {*ours["variant"]}
    best = [variant for variant in present if len(present) > 1 and beaten[variant] >= present - {variant}]
    return best[0] if best else None


# --- our runs -----------------------------------------------------------------------------------


def show_accuracies(dataset, protocols):
    """`tables.mean_accuracies` of all these protocols in one table, with links; None without a run."""
    views, marks = [], {}
    for protocol in protocols:
        view, ours = tables.mean_accuracies(dataset, protocol).reset_index(), frame.runs(dataset, protocol)
        if ours.empty:
            continue
        best = {title(b): HEADINGS.get(clearly_best(mine)) for b, mine in ours.groupby("backbone")}
        runs_of = dict(iter(ours.groupby([ours["backbone"].map(title), frame.arm_titles(ours)])))
        networks = [*zip(view["Backbone"], view["Variant"])]
        column = tables.column_of_rule(ours["selection"].iloc[0])
        for row, network in enumerate(networks, sum(map(len, views))):
            if best[network[0]] == network[1]:
                marks[row, column] = BEST
            elif runs_of[network]["collapsed"].any():
                marks[row, column] = COLLAPSED
        view.insert(2, "Protocol", protocol)
        views.append(view.assign(Runs=[seed_links(runs_of[network]) for network in networks]))
    if not views:
        return None
    view = pd.concat(views, ignore_index=True).dropna(axis=1, how="all")
    note = ""
    if BEST in marks.values():
        note += "★: better than each other variant, by the tests of the experiment. "
    if COLLAPSED in marks.values():
        note += "†: a run collapsed; the mean includes it. "
    if any(column.endswith("±") for column in view):
        note += "±: half of the 95 % interval of the mean over n seeds. "
    note += "Each seed under Runs leads to the page of its run."
    name = f"Accuracies on {DATASETS[dataset].title}"
    return show_table(view, name, ["Backbone", "Variant", "Protocol"], note, marks=marks)


def show_system_runs(dataset, system):
    """`small_systems.system_runs_table` with links to the runs; None without a run."""
    view, ours = small_systems.system_runs_table(dataset, system), small_systems.system_runs(dataset, system)
    if ours.empty:
        return None
    view["Runs"] = [seed_links(ours[ours["variant"].map(HEADINGS) == v]) for v in view.index]
    view = view.rename_axis("Variant").reset_index()
    return show_table(view, f"Our runs on {DATASETS[dataset].title}")


# --- every run ----------------------------------------------------------------------------------


def show_all_runs():
    """All records, a row each, with links to their pages."""
    rows = []
    for record in frame.records_by_name().values():
        spec, environment = record["spec"], record["environment"]
        rows.append(
            {
                **_kind_of_run(spec),
                "Seed": spec["seed"],
                "Test (%)": run_link(record, f"{records.selected_result(record)['test']:.2f}"),
                "Minutes": f"{_seconds(record) / 60:.1f}" if _seconds(record) else None,
                "Device": frame.device_title(environment.get("device", "")),
                "Commit": environment.get("commit", ""),
            }
        )
    if not rows:
        return pd.DataFrame({"Our runs": [statistics.MISSING]}, index=[""])
    filters = ["Dataset", "Network", "Variant", "Protocol", "Device"]
    note = "Test accuracy by the protocol's own rule, linked to the page of its run. Minutes of all epochs. "
    note += 'The same and more as a file: <a href="../results.csv" download>results.csv</a>.'
    return show_table(pd.DataFrame(rows), "Every run", filters, note)


def _seconds(record):
    return record["measured"].get("seconds", 0)


def all_runs_in_words():
    """The numbers of runs by dataset, their hours, and whether the commits of their code are known, in words."""
    found = frame.records_by_name().values()
    if not found:
        return f"{statistics.MISSING.capitalize()}."
    datasets = len({record["spec"]["dataset"] for record in found})
    hours = sum(map(_seconds, found)) / 3600
    commits = [record["environment"].get("commit", "") for record in found]
    unknown, changed = commits.count(""), sum(commit.endswith(CHANGED) for commit in commits)
    code = "Each names the commit of the code that made it, and that code had no uncommitted changes."
    if unknown or changed:
        code = f"Without a commit of their code: {unknown}; with uncommitted changes: {changed}."
    runs = f"{len(found)} runs on {count_text(datasets, 'dataset')}"
    return f"{runs} took {hours:.1f} hours of training and evaluation. {code}"
