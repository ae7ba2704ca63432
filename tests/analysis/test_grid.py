"""The lists of runs of the workflow's targets: every cell of the paper's tables, smoke runs, systems, experiment."""

import pytest

from stn_paper.analysis import grid
from stn_paper.errors import InputError
from stn_paper.paths import ROOT

CELLS = {"table6": 28, "table8": 32, "table4": 14}


def test_the_papers_tables_have_74_cells():
    assert {target: len(grid.target_networks(target)) for target in grid.TABLE_NUMBERS} == CELLS
    assert sum(CELLS.values()) == 74


@pytest.mark.parametrize("target", grid.TARGETS)
def test_no_run_is_listed_twice(target):
    names = [spec.name for spec in grid.target_specs(target, 2)]
    assert names and len(names) == len(set(names))


def test_seeds_and_protocol_are_those_asked_for():
    specs = grid.target_specs("table4", 2, "reduced")
    assert [spec.seed for spec in specs] == [0] * 14 + [1] * 14
    assert {spec.protocol.name for spec in specs} == {"reduced"}
    assert {spec.dataset for spec in specs} == {"tsrd"}


@pytest.mark.parametrize(("target", "own"), [("smoke", {"smoke"}), ("systems", {"system"})])
def test_smoke_runs_and_systems_have_their_own_protocol(target, own):
    assert {spec.protocol.name for spec in grid.target_specs(target, 1, "paper")} == own


def test_the_systems_include_the_comparison_of_paddings():
    compared = [s for s in grid.target_specs("systems", 2) if s.changes]
    assert compared == grid.padding_specs(2)
    assert {(s.protocol.padding, s.protocol.optimizer, s.seed) for s in compared} == {
        (padding, optimizer, seed)
        for padding in ("zeros", "border", -1.0)
        for optimizer in ("adam", "sgd")
        for seed in (0, 1)
    }


def test_the_arms_have_at_most_five_seeds_each():
    assert (
        len(grid.target_specs("claims", 5))
        == len(grid.target_specs("claims", 9))
        == 5 * len(grid.target_specs("claims", 1))
    )


def test_a_run_of_two_targets_is_listed_once():
    both = grid.unique_specs(["table6", "claims"], 1)
    shared = {s.name for s in grid.target_specs("table6", 1)} & {
        s.name for s in grid.target_specs("claims", 1)
    }
    assert shared and len(both) == len(grid.target_specs("table6", 1)) + len(
        grid.target_specs("claims", 1)
    ) - len(shared)


@pytest.mark.parametrize(("target", "seeds"), [("table5", 1), ("table6", 0), ("table6", "3")])
def test_a_wrong_name_or_number_is_one_sentence(target, seeds):
    with pytest.raises(InputError):
        grid.target_specs(target, seeds)


def test_every_page_that_shows_records_exists():
    assert not [page for page in grid.PAGES if not (ROOT / f"notebooks/{page}.ipynb").exists()]
    assert {target for targets in grid.PAGES.values() for target in targets} == set(grid.GRID)
