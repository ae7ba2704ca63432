"""The reproducibility checklist: its computed answers change with the records."""

import json

import pytest
from helpers import without_digest, write_run

from stn_paper.paths import ROOT
from stn_paper.report import checklist


@pytest.fixture
def costs(monkeypatch, tmp_path):
    """The committed cost table beside made-up records."""
    (tmp_path / "results").mkdir(exist_ok=True)
    (tmp_path / "results" / "costs.csv").write_bytes((ROOT / "results" / "costs.csv").read_bytes())


def answers():
    return checklist.checklist_table().set_index("Question").drop(columns="Part")


def train(variant, seed, commit="0123456789ab"):
    path = write_run(variant, seed, 40.0)
    record = without_digest(path)
    record["environment"] |= {"device": "a CPU", "commit": commit}
    record["measured"] |= {"seconds": 1800.0}
    path.write_text(json.dumps(record))


def test_seeds_and_hours_are_counted(costs):
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


def test_the_verdict_counts_every_question(costs):
    view = checklist.checklist_table()
    counted = checklist.count_answers(view)
    assert counted.startswith(f"Of {len(view)} questions: ")
    assert sum(int(part.split()[0]) for part in counted.split(": ")[1].split(", ")) == len(view)
