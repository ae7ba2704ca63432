"""Three checklists, answered for this companion: a conference's, a code's, and ACM's words for a result.

The parts models, data, code and results are those of the ML Reproducibility Checklist (Pineau et al. 2021, JMLR 22);
completeness is the ML Code Completeness Checklist of Papers with Code (2020); ACM is Artifact Review and Badging 1.1
(2020). Answers with a number in them are computed from the cost table and the run records.
"""

from collections import Counter

import pandas as pd
from IPython.display import HTML

from ..analysis import cost_tables, frame
from ..analysis.claims import whole
from ..analysis.claims.verdicts import NOT, REPRODUCED
from ..paths import ROOT
from ..training import kept, records
from . import run_pages
from .overview import facts

YES, PART, NO, OPEN = "yes", "in part", "no", "open"
SEEDS = 3  # of a network, for its interval to mean much


def view():
    """The checklist: part, question, answer, and what it rests on; a row a question."""
    found, numbers = list(frame.records().values()), facts()
    seeds = _seeds(found)
    enough = sum(n >= SEEDS for n in seeds.values())
    hours = sum(record["measured"]["seconds"] for record in found) / 3600
    devices = Counter(record["environment"]["device"] for record in found)
    commands = sum(bool(run_pages.command(record)) for record in found)
    clean = sum(_committed(record) for record in found)
    notes = frame.copies(found)
    pins = sum("==" in line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines())
    rows = [
        (
            "Models",
            "Is every network described so that it can be built again?",
            YES,
            "Layer by layer in Tables 1 to 3, their assembly in Figures 1 and 2, the code in the package.",
        ),
        (
            "Models",
            "Are parameters and operations stated, and do they agree with the paper?",
            _share(numbers["exact"], numbers["cells"]),
            f"{numbers['exact']} of {numbers['cells']} parameter counts to the unit, "
            f"{numbers['close']} GFLOPS figures within {cost_tables.TOLERANCE}.",
        ),
        (
            "Data",
            "Are sizes and splits stated?",
            YES,
            "The protocol's page; the split seed is in each record.",
        ),
        (
            "Data",
            "Were the official files used?",
            NO if notes else YES,
            " ".join(notes) or "No record's fingerprint is that of an altered copy.",
        ),
        (
            "Data",
            "Is it said which images were left out?",
            YES,
            f"{sum(bool(r['data'].get('skipped')) for r in found)} of {len(found)} records left out "
            "an image that could not be decoded; a record names such images.",
        ),
        (
            "Data",
            "Can the data be had?",
            PART,
            "python -m stn_paper data gets what has an address; TSRD must be asked for by hand.",
        ),
        ("Code", "Are the dependencies stated?", YES, f"{pins} pinned packages in requirements.lock."),
        (
            "Code",
            "Is the code for training and for evaluation there, with the commands?",
            YES,
            f"The pages of {commands} of {len(found)} records have the command that trains the run again; "
            "the settings of the others are for RunSpec in Python.",
        ),
        (
            "Code",
            "Are trained weights there?",
            PART if kept.trained() else NO,
            f"Those of {len(kept.trained())} digit networks, in weights/. Other runs drop theirs and keep a record.",
        ),
        (
            "Results",
            "Are the paper's networks trained at the paper's scale?",
            _share(numbers["trained"], numbers["networks"]),
            f"{numbers['trained']} of the {numbers['networks']} of Tables 4, 6 and 8.",
        ),
        (
            "Results",
            "Are all settings stated, and how they were chosen?",
            YES,
            "They are the paper's section 4.2 or those of the protocol named; pilot runs chose those of `small`.",
        ),
        (
            "Results",
            f"Is every network trained with {SEEDS} seeds or more?",
            _share(enough, len(seeds)),
            f"{enough} of {len(seeds)} networks, {len(found)} runs in all.",
        ),
        (
            "Results",
            "Is there a measure of spread?",
            YES,
            "Mean and 95 % interval wherever there are two seeds; differences by seed where seeds pair, else Welch's.",
        ),
        (
            "Results",
            "Is the choice of the reported epoch stated?",
            YES,
            "Two rules from the same record, and what the paper's adds as a column of its own.",
        ),
        (
            "Results",
            "Are computing time and machines stated?",
            YES,
            f"{hours:.1f} hours of training: "
            + "; ".join(f"{n} runs on {device}" for device, n in sorted(devices.items()))
            + ".",
        ),
        (
            "Results",
            "Does each record name the commit that made it, without uncommitted changes?",
            _share(clean, len(found)),
            f"{clean} of {len(found)} records.",
        ),
        (
            "Results",
            "Does a run repeat exactly?",
            PART,
            "On a CPU of the same kind with as many threads, the same code and packages, bit for bit, killed "
            "and resumed or not; results/README.md names commits that changed digits. On a GPU not promised.",
        ),
        *(("Completeness", *row) for row in _completeness(pins, commands)),
        *(("ACM", *row) for row in _acm(numbers)),
    ]
    columns = ["Part", "Question", "Answer", "What it rests on"]
    return pd.DataFrame(rows, columns=columns, index=range(1, len(rows) + 1))


def _completeness(pins, commands):
    """The five items of the ML Code Completeness Checklist: question, answer, what it rests on."""
    weights = kept.trained()
    return [
        (
            "Dependencies?",
            _tick(pins),
            f"requirements.lock: {pins} packages at one version each, with hashes.",
        ),
        ("Training code?", YES, "python -m stn_paper run DATASET NETWORK VARIANT PROTOCOL"),
        ("Evaluation code?", YES, "python -m stn_paper evaluate tests the weights in weights/ again."),
        (
            "Trained weights?",
            _tick(weights),
            f"{len(weights)} digit networks ({', '.join(weights)}) in weights/; none of the paper's tables.",
        ),
        (
            "A table of results in the README, and the commands that give them?",
            _tick(commands),
            "The README's table is computed from the records, and their pages have the commands.",
        ),
    ]


def _acm(numbers):
    """ACM's two words for results that others obtain: question, answer, what it rests on."""
    same, boost = min(numbers["exact"], numbers["close"]), whole.boost()
    return [
        (
            "Reproduced (by others, partly with the authors' artifacts): the costs?",
            _share(same, numbers["cells"]),
            f"{same} of {numbers['cells']} cells of Tables 4, 5, 7 and 9, with code of our own.",
        ),
        (
            "Reproduced: that L-STN is more accurate than STN?",
            {REPRODUCED: YES, NOT: NO}.get(boost.verdict, OPEN),
            boost.evidence,
        ),
        (
            "Replicated (by others, without the authors' artifacts)?",
            NO,
            "The code is our own, but the layers of the paper's EfficientNet and the epochs of the "
            "protocol `paper` are read off the authors' release.",
        ),
    ]


def shown(answers, part):
    """The rows of one part of a `view`, for the book; their sentences wrap."""
    rows = answers.query("Part == @part").drop(columns="Part").replace("`", "", regex=True)
    return HTML(rows.to_html(classes="claims", border=0))


def _seeds(records):
    """How many seeds each network has: {(dataset, backbone, variant, protocol as on its page): number}."""
    return Counter(
        (r["spec"]["dataset"], r["spec"]["backbone"], r["spec"]["variant"], run_pages.protocol(r["spec"]))
        for r in records
    )


def _committed(record):
    commit = record["environment"].get("commit") or ""
    return bool(commit) and not commit.endswith(records.CHANGED)


def _share(done, wanted):
    return YES if done == wanted else PART if done else NO


def _tick(found):
    return YES if found else NO


def verdict(answers):
    """How many questions of a `view` have which answer, in one sentence."""
    counts = Counter(answers["Answer"])
    counted = ", ".join(f"{counts[a]} “{a}”" for a in (YES, PART, NO, OPEN) if counts[a])
    return f"Of {counts.total()} questions: {counted}."
