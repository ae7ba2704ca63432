"""Tables and the verdict of the page "Which faults do runs and pages survive?": the counts of tests/reliability.json.

`python tests/reliability.py faults` and `… fuzz` try the faults and write that file.
"""

import json

import pandas as pd

from ..paths import RELIABILITY
from .sentences import table_or_missing

NOT_TRIED = "Not yet tried."
DEFECTS = RELIABILITY.with_name("defects.csv")
SHOWN_BY = {  # column `shown by` of tests/defects.csv -> how it is known that the earlier commit had the fault
    "tried": "tried at that commit",
    "page": "stands on an executed page of that commit",
    "code": "read in that commit's code",
    "not seen": "not seen at that commit",
}
KINDS_OF_INPUT = {  # kind, as in tests/hostile.py -> how its cases are made
    "records": "a record with one or two parts replaced, taken away or nested without end; other bytes; a copy",
    "folders of images": "broken links, links in circles, pipes, damaged and huge images, odd names",
    "tables of labels": "lines, separators and bytes of the files that hold the labels",
    "files in the cache": "other bytes in the decoded images, other values in their note",
    "archives": "names that lead out of the folder, links, devices, damaged ZIP, tar and gzip files",
    "parameters of the tables' pages": "each parameter of Tables 4, 6 and 8 and of the smaller systems",
    "parameters of the experiment's page": "each parameter of the experiment",
    "settings of a run": "each setting of a protocol, and the names of a run",
    "commands": "words and options of each command; nothing is trained",
    "checkpoints": "other bytes; other values under the right checksums",
}


def _part_of_file(name):
    """{"device", "found": {name: row}} of a part of the file; nothing is found if it has not been tried."""
    parts = json.loads(RELIABILITY.read_text(encoding="utf-8")) if RELIABILITY.exists() else {}
    return parts.get(name, {"found": {}})


def faults_table():
    """The faults, a row each: how a fault is tried, how often, and how the tries ended."""
    rows = {
        name.replace("`", ""): {
            "How it is tried": row["how"],
            "Tries": f"{row['tries']:,}",
            "How they ended": _ends_in_words(row["ends"]),
        }
        for name, row in _part_of_file("faults")["found"].items()
    }
    return table_or_missing(rows)


def _ends_in_words(ends):
    """How the tries of a fault ended, {end: tries}; with their numbers if there are several ends."""
    return next(iter(ends)) if len(ends) == 1 else ", ".join(f"{end}: {ends[end]:,}" for end in sorted(ends))


def hostile_input_table():
    """The kinds of hostile input, a row each: the cases, and how many ended in a result or in one sentence."""
    rows = {
        name.capitalize(): {
            "What is drawn": KINDS_OF_INPUT.get(name, ""),
            "Cases": f"{row['cases']:,}",
            "A result": f"{row.get('result', 0):,}",
            "One sentence": f"{row.get('sentence', 0):,}",
        }
        for name, row in _part_of_file("fuzz")["found"].items()
    }
    return table_or_missing(rows)


def defects_table():
    """The faults of an earlier commit, a row each: its effect there, how it is known, and the tests of it."""
    if not DEFECTS.exists():
        return table_or_missing({})
    rows = pd.read_csv(DEFECTS, keep_default_na=False)
    rows["shown by"] = rows["shown by"].map(SHOWN_BY)
    rows["tests"] = rows["tests"].str.replace(" ", ", ")
    rows["fault"] = rows["fault"].str.replace("`", "")
    return (
        rows.set_index("fault")
        .rename_axis(None)
        .rename(columns={"at ac5d3d1": "At that commit"})
        .rename(columns=str.capitalize)
    )


def count_defects_in_words():
    """How many faults of an earlier commit there are, and how many of them were tried there: a sentence."""
    if not DEFECTS.exists():
        return NOT_TRIED
    counts = pd.read_csv(DEFECTS)["shown by"].value_counts()
    listed = ", ".join(f"{counts[how]} {text}" for how, text in SHOWN_BY.items() if how in counts)
    return (
        f"{counts.sum()} faults of commit ac5d3d1 are mended, and each has at least one test. How we know the faults: "
        f"{listed}."
    )


def count_tries_in_words():
    """The numbers of tries and cases, the commits and the machine, as three sentences."""
    faults, fuzz = _part_of_file("faults"), _part_of_file("fuzz")
    if not faults["found"] or not fuzz["found"]:
        return NOT_TRIED
    tries = sum(row["tries"] for row in faults["found"].values())
    cases = sum(row["cases"] for row in fuzz["found"].values())
    rows = [*faults["found"].values(), *fuzz["found"].values()]
    commits = {commit for row in rows for commit in row["commit"].split(", ")}
    return (
        f"{tries:,} tries of {len(faults['found'])} faults and {cases:,} cases of hostile input are counted "
        f"below, on {faults['device']}, at {len(commits)} commits that `tests/reliability.json` names."
    )
