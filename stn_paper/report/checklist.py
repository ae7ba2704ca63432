"""Three checklists, answered for this companion: for a paper, for its code, and ACM's badges for results.

The parts models, data, code and results are from the ML Reproducibility Checklist (Pineau et al. 2021, JMLR 22);
completeness is the ML Code Completeness Checklist of Papers with Code (2020); ACM is Artifact Review and Badging 1.1
(2020). Numbers in the answers are computed from the cost table and the run records.
"""

from collections import Counter

import pandas as pd
from IPython.display import HTML

from ..analysis import cost_tables, frame
from ..analysis.claims import whole
from ..analysis.claims.verdicts import NOT_REPRODUCED, REPRODUCED
from ..analysis.statistics import FEWEST_RUNS
from ..paths import ROOT
from ..training import kept
from ..training.hardware import CHANGED
from . import run_pages
from .front_page import count_reproduced

YES, PART, NO, OPEN = "yes", "in part", "no", "open"

# Part, question, answer, evidence. An answer in braces is computed by `_answers`, a name in braces by `_facts`.
QUESTIONS = (
    (
        "Models",
        "Is every network described so that it can be built again?",
        YES,
        "Layer by layer in Tables 1 to 3, their assembly in Figures 1 and 2, the code in the package.",
    ),
    (
        "Models",
        "Are parameters and operations stated, and do they agree with the paper?",
        "{costs}",
        "{exact} of {cells} parameter counts to the unit, {close} GFLOPS figures within {tolerance}.",
    ),
    (
        "Data",
        "Are sizes and splits stated?",
        YES,
        "On the page of the protocols; the seed of the split is in each record.",
    ),
    ("Data", "Were the official files used?", "{official}", "{notes}"),
    (
        "Data",
        "Is it said which images were left out?",
        YES,
        "{skipping} of {runs} records left out an image that could not be decoded; a record names such images.",
    ),
    (
        "Data",
        "Is the data available?",
        PART,
        "python -m stn_paper data downloads all datasets but TSRD, which must be downloaded by hand.",
    ),
    ("Code", "Are the dependencies stated?", YES, "{pins} pinned packages in requirements.lock."),
    (
        "Code",
        "Is the code for training and for evaluation there, with the commands?",
        YES,
        "The pages of {commands} of {runs} records have the command that trains the run again; the other runs can be "
        "repeated in Python with RunSpec.",
    ),
    (
        "Code",
        "Are trained weights there?",
        "{weights}",
        "Weights of {kept} digit networks are in weights/. Of other runs only the record is kept.",
    ),
    (
        "Results",
        "Are the paper's networks trained at the paper's scale?",
        "{scale}",
        "{trained} of the {networks} cells of Tables 4, 6 and 8.",
    ),
    (
        "Results",
        "Are all settings stated, and how they were chosen?",
        YES,
        "They are the paper's section 4.2 or those of the protocol named; pilot runs chose those of `small`.",
    ),
    (
        "Results",
        "Is every network trained with {enough_seeds} seeds or more?",
        "{seeds}",
        "{repeated} of {trained_networks} combinations of dataset, backbone, variant and protocol; {runs} runs in all.",
    ),
    (
        "Results",
        "Is there a measure of spread?",
        "{seeds}",
        "Mean and 95 % interval wherever there are two seeds; differences by seed where seeds pair, else Welch's.",
    ),
    (
        "Results",
        "Is the choice of the reported epoch stated?",
        YES,
        "One of three rules. Where a record holds two, a column shows how much best-of-five adds.",
    ),
    (
        "Results",
        "Are computing time and machines stated?",
        YES,
        "{hours:.1f} hours of training and evaluation: {devices}.",
    ),
    (
        "Results",
        "Does each record name the commit that made it, without uncommitted changes?",
        "{commits}",
        "{committed} of {runs} records.",
    ),
    (
        "Results",
        "Does a run repeat exactly?",
        PART,
        "On a CPU of the same kind with as many threads, the same code and packages, bit for bit, killed and resumed "
        "or not; results/README.md names commits that changed digits. On a GPU not promised.",
    ),
    (
        "Completeness",
        "Dependencies?",
        "{pinned}",
        "requirements.lock: {pins} packages at one version each, with hashes.",
    ),
    ("Completeness", "Training code?", YES, "python -m stn_paper run DATASET NETWORK VARIANT PROTOCOL"),
    (
        "Completeness",
        "Evaluation code?",
        YES,
        "python -m stn_paper evaluate tests the weights in weights/ again.",
    ),
    (
        "Completeness",
        "Trained weights?",
        "{weights}",
        "{kept} digit networks ({kept_names}) in weights/; none of the paper's tables.",
    ),
    (
        "Completeness",
        "A table of results in the README, and the commands that give them?",
        "{any_command}",
        "The README's table is computed from the records, and their pages have the commands.",
    ),
    (
        "ACM",
        "Reproduced (by others, partly with the author's artifacts): the costs?",
        "{costs}",
        "{same} of {cells} cells of Tables 4, 5, 7 and 9, with our code; the layers of the EfficientNet are those of "
        "the author's release.",
    ),
    ("ACM", "Reproduced: that L-STN is more accurate than STN?", "{boost}", "{boost_evidence}"),
    (
        "ACM",
        "Replicated (by others, without the author's artifacts)?",
        NO,
        "The code is our own, but the layers of the paper's EfficientNet and the epochs of the protocol `paper` are "
        "taken from the author's release.",
    ),
)


def checklist_table():
    """The three checklists: part, question, answer and evidence; a row a question."""
    facts = _facts()
    filled = [[text.format(**facts | _answers(facts)) for text in row] for row in QUESTIONS]
    columns = ["Part", "Question", "Answer", "What it rests on"]
    return pd.DataFrame(filled, columns=columns, index=range(1, len(filled) + 1))


def _facts():
    """{name: number or text} of the evidence, from the cost table, the records and the repository."""
    stored, boost = list(frame.records_by_name().values()), whole.boost()
    notes, seeds = frame.image_notes(stored), _seeds()
    devices = Counter(frame.device_title(record["environment"]["device"]) for record in stored)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return count_reproduced() | {
        "tolerance": cost_tables.TOLERANCE,
        "altered": len(notes),
        "notes": " ".join(notes) or "No record's fingerprint is that of an altered copy.",
        "runs": len(stored),
        "skipping": sum(bool(record["data"].get("skipped")) for record in stored),
        "pins": sum("==" in line for line in lock),
        "commands": sum(bool(run_pages.training_command(record)) for record in stored),
        "kept": len(kept.kept_names()),
        "kept_names": ", ".join(kept.kept_names()),
        "enough_seeds": FEWEST_RUNS,
        "repeated": sum(number >= FEWEST_RUNS for number in seeds.values()),
        "trained_networks": len(seeds),
        "hours": sum(record["measured"]["seconds"] for record in stored) / 3600,
        "devices": "; ".join(f"{number} runs on {device}" for device, number in sorted(devices.items())),
        "committed": sum(map(_committed, stored)),
        "boost_verdict": boost.verdict,
        "boost_evidence": boost.evidence,
    }


def _answers(facts):
    """{name: answer} of the computed answers."""
    same = min(facts["exact"], facts["close"])
    return {
        "same": same,
        "costs": _yes_in_part_no(same, facts["cells"]),
        "official": NO if facts["altered"] else YES,
        "weights": PART if facts["kept"] else NO,
        "scale": _yes_in_part_no(facts["trained"], facts["networks"]),
        "seeds": _yes_in_part_no(facts["repeated"], facts["trained_networks"]),
        "commits": _yes_in_part_no(facts["committed"], facts["runs"]),
        "pinned": YES if facts["pins"] else NO,
        "any_command": YES if facts["commands"] else NO,
        "boost": {REPRODUCED: YES, NOT_REPRODUCED: NO}.get(facts["boost_verdict"], OPEN),
    }


def show_part(answers, part):
    """The rows of one part of a `checklist_table`, as HTML that wraps long sentences."""
    rows = answers.query("Part == @part").drop(columns="Part").replace("`", "", regex=True)
    return HTML(rows.to_html(classes="claims", border=0))


def _seeds():
    """How many seeds each network has at a named protocol: {(dataset, backbone, variant, protocol): number}."""
    every = frame.runs()
    every = every[every["preset"] != ""]
    return Counter(every[["dataset", "backbone", "variant", "preset"]].itertuples(index=False, name=None))


def _committed(record):
    """Whether the record names a commit, and its code had no uncommitted changes."""
    commit = record["environment"].get("commit") or ""
    return bool(commit) and not commit.endswith(CHANGED)


def _yes_in_part_no(done, total):
    return YES if done == total else PART if done else NO


def count_answers(answers):
    """The number of questions of a `checklist_table` with each answer, in one sentence."""
    counts = Counter(answers["Answer"])
    counted = ", ".join(f"{counts[a]} “{a}”" for a in (YES, PART, NO, OPEN) if counts[a])
    return f"Of {counts.total()} questions: {counted}."
