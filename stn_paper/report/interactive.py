"""Tables of accuracies as HTML for the book: links to the runs, the best marked, sorted and filtered there.

Strings come from `tables`; what is added here shows only in HTML. Without JavaScript a table is whole and
plain; `book/_extensions/interactive.js` makes those of the class `interactive` sort, filter and download.
"""

from collections import Counter
from html import escape

import pandas as pd
from IPython.display import HTML

from ..analysis import claims, effects, frame, statistics
from ..data.datasets import DATASETS
from ..models import HEADINGS, ORIGINAL
from ..models.backbones import title
from ..training import records
from . import run_pages, small_systems, tables

MARK = "★"


def shown(view, name, filters=(), note=""):
    """The frame `view`, whose cells are HTML, as a table to sort; its index is the first column.

    `name` is what it is called, for readers who cannot see it and as the name of its CSV. `filters` are the
    columns with few values, by which rows are chosen. `note` stands below.
    """
    if view.columns.names[-1] is None:
        view = view.rename_axis(columns=[*view.columns.names[:-1], view.index.name or ""])
    html = view.rename_axis(index=None).to_html(escape=False, border=0, classes="interactive")
    attributes = {"aria-label": name, "data-filters": "|".join(filters)}
    written = " ".join(f'{key}="{escape(value)}"' for key, value in attributes.items() if value)
    note = f'\n<p class="table-note">{note}</p>' if note else ""
    return HTML(html.replace("<table ", f"<table {written} ", 1) + note)


def run_link(record, text):
    """`text`, linked to the page of the record's run from a page under notebooks/; smoke runs have none."""
    if record["spec"]["protocol"]["name"] == records.SMOKE:
        return escape(str(text))
    return f'<a href="../runs/{escape(records.spec_of(record).name)}.html">{escape(str(text))}</a>'


def seed_links(ours):
    """The seeds of these `frame.runs`, each linked to its run."""
    return ", ".join(run_link(run.record, run.seed) for run in ours.itertuples())


def best(texts):
    """Which of these cells begin with the largest number, all of equals; none where fewer than two do."""
    numbers = [_leading(text) for text in texts]
    known = [number for number in numbers if number is not None]
    return [len(known) > 1 and number is not None and number == max(known) for number in numbers]


def _leading(text):
    """The number that a cell begins with, None where it has none."""
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return None


def _marked(text, is_best):
    """The number that begins a cell, bold and starred where it is the best; what follows stays."""
    if not is_best:
        return escape(text)
    number, *rest = text.split(" ", 1)
    mark = f'<span class="best" role="img" aria-label="best">{MARK}</span>'
    return " ".join([f"<strong>{escape(number)}</strong>{mark}", *map(escape, rest)])


# --- our runs -----------------------------------------------------------------------------------


def accuracies(dataset, protocols):
    """`tables.accuracy` of all these protocols below each other, with links; None where there is no run.

    Of a backbone's arms at one protocol the best is marked, column by column: the original and the variants
    that are applied, which had the same seeds.
    """
    parts = []
    for protocol in protocols:
        found, ours = tables.accuracy(dataset, protocol).reset_index(), frame.runs(dataset, protocol)
        found.insert(2, "Protocol", protocol)
        kinds = ours["backbone"].map(title), frame.arms(ours)
        cells = zip(found["Backbone"], found["Variant"])
        found["Runs"] = [seed_links(ours[(kinds[0] == b) & (kinds[1] == v)]) for b, v in cells]
        parts.append(found)
    view = pd.concat(parts, ignore_index=True)
    if view.empty:
        return None
    ranked = view[view["Variant"].isin(HEADINGS[arm] for arm in (ORIGINAL, *effects.APPLIED))]
    for column in tables.ACCURACIES:
        marks = ranked.groupby(["Backbone", "Protocol"])[column].transform(lambda texts: best(list(texts)))
        marks = marks.reindex(view.index, fill_value=False)
        view[column] = [_marked(text, is_best) for text, is_best in zip(view[column], marks)]
    view["Backbone"] = view["Backbone"].map(escape)
    note = (
        f"{MARK} marks the best of the original and the applied variants at the same protocol, and all of "
        "equals; whether it is more than chance, the verdict says. Runs are seeds, which lead to their pages."
    )
    name = f"Accuracies on {DATASETS[dataset].title}"
    return shown(view.set_index("Backbone"), name, ["Backbone", "Variant", "Protocol"], note)


def system_runs(dataset, system):
    """`small_systems.all_runs` with links to the runs."""
    view, ours = small_systems.all_runs(dataset, system), small_systems.runs(dataset, system)
    if len(ours):
        view["Runs"] = [seed_links(ours[ours["variant"].map(HEADINGS) == v]) for v in view.index]
    return shown(view.rename_axis("Variant"), f"Our runs on {DATASETS[dataset].title}")


# --- every run ----------------------------------------------------------------------------------


def every_run():
    """All records, a row each, with links to their pages."""
    rows = []
    for record in frame.records().values():
        spec, environment = record["spec"], record["environment"]
        rows.append(
            {
                "Dataset": DATASETS[spec["dataset"]].title,
                "Network": escape(title(spec["backbone"])),
                "Variant": HEADINGS[spec["variant"]],
                "Protocol": escape(run_pages.protocol(spec)),
                "Seed": spec["seed"],
                "Test": run_link(record, f"{records.chosen(record)['test']:.2f}"),
                "Minutes": f"{_seconds(record) / 60:.1f}" if _seconds(record) else "",
                "Device": escape(environment.get("device", "")),
                "Commit": escape(environment.get("commit", "")),
            }
        )
    if not rows:
        return pd.DataFrame({"Our runs": [statistics.MISSING]}, index=[""])
    filters = ["Dataset", "Network", "Variant", "Protocol", "Device"]
    note = "Test accuracy in percent, by the protocol's own rule. Minutes of training and evaluation. "
    note += "An accuracy leads to the page of its run."
    return shown(pd.DataFrame(rows).set_index("Dataset"), "Every run", filters, note)


def _seconds(record):
    return record["measured"].get("seconds", 0)


def every_run_verdict():
    """How many runs there are, of what, how long they took, and whether their code is known, in words."""
    found = frame.records().values()
    if not found:
        return f"{statistics.MISSING.capitalize()}."
    counts = Counter(DATASETS[record["spec"]["dataset"]].title for record in found)
    of = ", ".join(f"{count} on {name}" for name, count in counts.most_common())
    hours = sum(map(_seconds, found)) / 3600
    commits = [record["environment"].get("commit", "") for record in found]
    unknown, changed = commits.count(""), sum(commit.endswith(records.CHANGED) for commit in commits)
    code = "Each names the commit of the code that made it, and none had changes that no commit holds."
    if unknown or changed:
        code = f"Without a commit of their code: {unknown}; with changes that no commit holds: {changed}."
    return f"{len(found)} runs: {of}; {hours:.1f} hours of training in all. {code}"


# --- the paper's claims -------------------------------------------------------------------------


def claims_of(section):
    """`claims.as_table` of a section as HTML; the class `claims` lets its long sentences wrap."""
    return HTML(claims.as_table(section).to_html(classes="claims", border=0))
