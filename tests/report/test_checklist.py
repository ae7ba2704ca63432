"""The reproducibility checklist: its computed answers change with the records."""

import pytest
from helpers import edit, write_run

from stn_paper.report import checklist

pytestmark = pytest.mark.usefixtures("costs")


def answers():
    return checklist.checklist_table().set_index("Question").drop(columns="Part")


def train(variant, seed, commit="0123456789ab"):
    environment = {"device": "a CPU", "commit": commit}
    edit(write_run(variant, seed, 40.0), environment=environment, measured={"seconds": 1800.0})


def test_seeds_and_hours_are_counted():
    for seed in range(3):
        train("original", seed)
    train("lstn", 0, commit="0123456789ab+changes")
    found = answers()
    assert found.loc["Is every network trained with 3 seeds or more?", "Answer"] == "in part"
    rests_on = found.loc["Are computing time and machines stated?", "What it rests on"]
    assert rests_on.startswith("2.0 hours") and rests_on.endswith(": 4 runs on a CPU.")
    commits = found.filter(like="commit", axis=0).iloc[0]
    assert list(commits) == ["in part", "3 of 4 records."]
    assert found.loc["Are the paper's networks trained at the paper's scale?", "Answer"] == "no"


def test_the_verdict_counts_every_question():
    view = checklist.checklist_table()
    counted = checklist.count_answers(view)
    assert counted.startswith(f"Of {len(view)} questions: ")
    assert sum(int(part.split()[0]) for part in counted.split(": ")[1].split(", ")) == len(view)
