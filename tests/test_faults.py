"""Faults of machines, files and users: each is tried once here, and often by `reliability`."""

import json

import pytest

pytest.importorskip("hypothesis")
from faults import FAULTS, attempt
from hostile import KINDS

from stn_paper.paths import RELIABILITY


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_as_it_should(fault):
    assert attempt(fault, 1).total() == 1


def test_the_committed_counts_are_of_every_fault_and_kind_of_input():
    kept = json.loads(RELIABILITY.read_text(encoding="utf-8"))
    faults, kinds = kept["faults"]["found"], kept["fuzz"]["found"]
    assert set(faults) == set(FAULTS) and set(kinds) == set(KINDS)
    for name, row in faults.items():
        assert row["tries"] == FAULTS[name].tries == sum(row["ends"].values())
    assert all(row["cases"] == row.get("result", 0) + row.get("sentence", 0) for row in kinds.values())
    assert sum(row["cases"] for row in kinds.values()) >= 45_000
