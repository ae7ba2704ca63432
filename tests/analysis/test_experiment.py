"""The experiment: its arms, the shares of budget and selection in a gain, and accuracy by strength, from records."""

import numpy as np
import pytest
from helpers import edit, probes, rewrite, write_run

from stn_paper import notebook
from stn_paper.analysis import author_runs, experiment
from stn_paper.errors import InputError
from stn_paper.training import loop, records
from stn_paper.training.examples import STRENGTHS
from stn_paper.training.protocol import OTHER_SEEDS
from stn_paper.training.spec import RunSpec

STUDY = "caltech101", "resnet18", "reduced"


def curve(test, epochs=20):
    """Epochs with the given test accuracies and a validation accuracy that always rises."""
    row = {"train_loss": 1.0, "validation_loss": 1.0, "test_loss": 1.0}
    return [row | {"validation_accuracy": float(i), "test_accuracy": test[i]} for i in range(epochs)]


def test_the_originals_budget_is_the_smallest_as_released():
    for dataset in ("caltech101", "cifar10"):
        shares = [author_runs.budget_share(dataset, v) for v in ("original", "stn", "vstn", "lstn")]
        assert shares[0] == 1 and shares == sorted(shares, reverse=True) and shares[-1] < 0.5


def test_a_smaller_budget_is_the_beginning_of_a_larger_one():
    write_run("original", 0, 0, epochs=curve(np.arange(20.0)))
    record = records.find(RunSpec(*STUDY[:2], "original", STUDY[2], 0))
    assert [experiment.accuracy_at_budget(record, k) for k in (1, 7, 20)] == [0, 6, 19]


def test_a_study_at_the_papers_sizes_appears_with_its_first_record():
    write_run("original", 0, 50, protocol="equal", backbone="resnet50")
    assert experiment.shown_studies()[len(experiment.STUDIES) :] == [("caltech101", "resnet50", "equal")]


def test_all_arms_are_asked_for():
    request = notebook.resolve_experiment("resnet18", "caltech101", "reduced", 2, "cpu")
    names = [(s.variant, s.seed) for s in request.specs]
    assert len(names) == len(set(names)) == 2 * (1 + 3 + 3 + 1 + 1)
    assert ("original", OTHER_SEEDS + 1) in names and ("lstn-released", 1) in names
    assert experiment.shown_studies(request, "resnet18") == [("caltech101", "resnet18", "reduced")]
    assert notebook.resolve_experiment("published", "caltech101", "auto", 2, "cpu").specs == []


@pytest.mark.parametrize("seeds", [0, 6, "3", 2.5])
def test_a_wrong_number_of_seeds_is_named(seeds):
    with pytest.raises(InputError, match=f"seeds {seeds!r} .* 1 to 5"):
        notebook.resolve_experiment("resnet18", "caltech101", "reduced", seeds, "cpu")


def test_as_released_trains_to_the_same_accuracies_as_the_network_alone():
    alone, bypassed = (
        loop.run(RunSpec("digits", "timm/test_resnet", v, "smoke"), "cpu")
        for v in ("original", "lstn-released")
    )
    assert bypassed["parameters"] > alone["parameters"]
    same = [{k: v for k, v in epoch.items() if k != "theta"} for epoch in bypassed["epochs"]]
    assert same == alone["epochs"]


@pytest.mark.parametrize(
    ("commit", "test", "apart"),
    [("older", 51.0, [{"commit"}]), ("same", 51.0, [set()]), ("older", 50.0, [])],
)
def test_bypassed_runs_that_are_not_identical_say_what_sets_them_apart(commit, test, apart):
    for variant, made, accuracy in (("original", commit, 50.0), ("stn-released", "same", test)):
        edit(write_run(variant, 0, accuracy), environment={"commit": made, "threads": 1})
    assert experiment.environment_differences(*STUDY) == apart


def test_pairs_of_two_commits_and_of_two_devices_are_counted():
    for variant, seed, commit, device in (
        ("original", 0, "a", "x"),
        ("stn", 0, "a", "x"),
        ("lstn", 0, "b", "x"),
        ("original", 1, "a", "x"),
        ("lstn", 1, "b", "y"),
        ("vstn", 2, "b", "y"),  # has no original
        ("constant", 0, "b", "x"),
        ("lstn-released", 0, "b", "x"),  # bypassed: not a pair
    ):
        edit(write_run(variant, seed, 50.0), environment={"commit": commit, "device": device})
    assert experiment.count_mixed_pairs(*STUDY) == (4, 3, 1)


def test_pairing_says_how_the_arms_of_a_study_go_together():
    for seed in range(4):
        for variant, gain in (("original", 0), ("stn", 3), ("vstn", 5)):
            write_run(variant, seed, 50.0 + 4 * seed + gain + 0.1 * (seed % 2))
    (row,) = experiment.seed_pairing([STUDY, ("cifar10", "resnet18", "reduced")]).itertuples()
    assert row.study == STUDY and row.seeds == 4 and row.paired and row.correlation > 0.9


def test_a_gain_is_the_sum_of_selection_budget_and_the_rest():
    shorter = round(20 * author_runs.budget_share("caltech101", "lstn"))
    alone, with_it = np.full(20, 40.0), np.full(20, 50.0)
    alone[shorter:] = 46.0  # the epochs beyond the smaller budget add six points
    with_it[17] = 53.0  # one of the five last epochs, which validate best
    write_run("original", 0, 0, epochs=curve(alone))
    write_run("lstn", 0, 0, epochs=curve(with_it))
    (row,) = experiment.gain_parts(*STUDY).itertuples()
    assert (row.worst, row.selection, row.budget, row.rest) == (13, 3, 6, 4)
    assert (row.variant, row.epochs, row.shorter) == ("lstn", 20, shorter)


def with_strengths(study, variant, seed, add):
    """Store a run with accuracy 50 + `add` on distorted images and 90 on unchanged images."""
    path = write_run(variant, seed, 90, backbone=study[1], dataset=study[0], protocol=study[2])
    strength = {
        name: [90.0 if at in experiment.UNCHANGED else 50.0 + add for at in every]
        for name, every in STRENGTHS.items()
    }
    rewrite(records.read_record(path), probes=probes() | {"strength": strength})


def test_strengths_are_compared_without_images_as_they_come():
    study = experiment.STRENGTH_STUDIES[0]
    for variant, seed, add in (("original", 0, 0), ("original", 1, 1), ("stn", 0, 5), ("stn", 1, 6.2)):
        with_strengths(study, variant, seed, add)
    with_strengths(study, "original", 2, 2)
    with_strengths(study, "stn", 2, 7.1)
    with_strengths(study, "original", OTHER_SEEDS, 40)  # the seed control has no pair
    assert len(experiment.strength_accuracies(*study)) == 7 * sum(map(len, STRENGTHS.values()))
    found = experiment.strength_comparisons([study])
    found = found[found["family"] == "against the original"]
    assert list(found["distortion"]) == list(experiment.UNITS)
    assert found["mean"].tolist() == pytest.approx([5.1] * 3) and set(found["shown"]) == {"better"}
    assert found["p_holm"].tolist() == pytest.approx([3 * p for p in found["p"]])  # of the three distortions


def test_unpaired_strengths_are_compared_with_the_seed_control_too():
    study = experiment.STRENGTH_STUDIES[0]
    for variant, seed, add in (("original", 0, 0), ("original", 1, 4), ("stn", 0, 9), ("stn", 1, 5)):
        with_strengths(study, variant, seed, add)
    with_strengths(study, "original", OTHER_SEEDS, 8)
    found = experiment.strength_comparisons([study])
    found = found[found["family"] == "against the original"]
    assert not found["paired"].any() and found["mean"].tolist() == pytest.approx([3] * 3)  # 7 minus 4


def test_a_collapsed_run_is_in_no_mean_over_strengths(monkeypatch):
    study = experiment.STRENGTH_STUDIES[0]
    for variant, base in (("original", 0), ("stn", 5)):
        for seed in range(4):
            with_strengths(study, variant, seed, base + seed)
    monkeypatch.setattr(
        experiment,
        "study_runs",
        lambda *study, every=experiment.study_runs: every(*study).assign(
            collapsed=lambda runs: (runs["variant"] == "stn") & (runs["seed"] == 3)
        ),
    )
    found = experiment.strength_comparisons([study])
    assert set(found["collapsed"]) == {1} and found["mean"].tolist() == pytest.approx([4.5] * 3)


def test_without_records_there_is_nothing_to_compare():
    assert experiment.shown_studies() == list(experiment.STUDIES)
    assert all(rows.empty for rows in experiment.comparisons_by_study(experiment.shown_studies()).values())
    assert experiment.seed_pairing(experiment.shown_studies()).empty
    assert experiment.gain_parts(*STUDY).empty and experiment.strength_comparisons([STUDY]).empty


def test_arms_without_a_run_are_named():
    write_run("original", 0, 50.0)
    assert experiment.untrained_arms([STUDY]) == {v: [STUDY] for v in ("stn", "vstn", "lstn", "constant")}
    for variant in ("stn", "vstn", "lstn", "constant"):
        write_run(variant, 0, 50.0)
    assert experiment.untrained_arms([STUDY]) == {}
