"""The reproducibility checklist: its computed answers change with the records."""

import re

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
    seeds, machines, commits, scale = (
        found.filter(like=word, axis=0).iloc[0] for word in ("seeds", "machines", "commit", "scale")
    )
    assert (seeds["Answer"], commits["Answer"], scale["Answer"]) == ("in part", "in part", "no")
    hours, *_, runs = re.findall(r"[\d.]*\d", machines["What it rests on"])
    assert (hours, runs) == ("2.0", "4") and "a CPU" in machines["What it rests on"]
    assert "3 of 4" in commits["What it rests on"]


def test_the_verdict_counts_every_question():
    view = checklist.checklist_table()
    counted = checklist.count_answers(view)
    every, *answers = map(int, re.findall(r"\d+", counted))
    assert every == sum(answers) == len(view)
