"""The four arms, their intervals and verdicts, what is budget and selection, and strength: from records."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers import write_run

from stn_paper import notebook
from stn_paper.analysis import authors_runs, effects, experiment
from stn_paper.errors import InputError
from stn_paper.report import experiment_figures
from stn_paper.training import loop, records
from stn_paper.training.examples import STRENGTHS
from stn_paper.training.spec import OTHER_SEEDS, RunSpec

STUDY = "caltech101", "resnet18", "reduced"


def curve(test, epochs=20):
    """Epochs whose validation accuracy always rises and whose test accuracies are given."""
    row = {"train_loss": 1.0, "validation_loss": 1.0, "test_loss": 1.0}
    return [row | {"validation_accuracy": float(i), "test_accuracy": test[i]} for i in range(epochs)]


def test_the_arms_are_paired_by_seed_and_the_others_are_five_seeds_away():
    for seed, (alone, other, applied) in enumerate([(50, 51, 53), (60, 58, 63), (55, 55, 58)]):
        write_run("original", seed, alone)
        write_run("original", seed + OTHER_SEEDS, other)
        write_run("stn", seed, applied)
        write_run("stn-released", seed, alone)
    write_run("lstn", 3, 99)  # no original has its seed
    found = effects.differences(*STUDY)
    assert {arm: values.tolist() for arm, values in found.items()} == {
        "original": [1, -2, 0],
        "stn": [3, 3, 3],
        "stn-released": [0, 0, 0],
    }
    view = experiment.effects(*STUDY)
    assert view.loc["STN as released", "Verdict"] == "the same in every digit"
    assert view.loc["Original, other seeds", "Verdict"] == "no difference shown"
    assert view.loc["STN", ["Difference", "Pairs"]].tolist() == ["+3.00", 3]


@pytest.mark.parametrize(
    ("commit", "test", "told"),
    [
        ("older", 51.0, "of another commit."),
        ("same", 51.0, "an error."),
        ("older", 50.0, "(n=1)."),
    ],
)
def test_runs_as_released_that_are_not_the_original_s_say_what_sets_them_apart(commit, test, told):
    for variant, made, accuracy in (("original", commit, 50.0), ("stn-released", "same", test)):
        path = write_run(variant, 0, accuracy)
        record = json.loads(path.read_text()) | {"environment": {"commit": made, "threads": 1}}
        path.write_text(json.dumps(record))
    assert experiment.verdict([STUDY]).endswith(told)


def test_verdicts_say_where_images_are_not_the_official_ones(committed):
    for told in (experiment.verdict(experiment.STUDIES), experiment.strength_verdict()):
        rts, gtsrb, *_ = told.splitlines()
        assert "off by one grey level" in rts and "after one AVIF compression" in gtsrb


def test_a_system_s_other_maps_are_no_arm():
    for variant in ("original", "stn", "tps"):
        write_run(variant, 0, 50.0, "mnist-cnn", "mnist-rts", "system")
    assert list(effects.differences("mnist-rts", "mnist-cnn", "system")) == ["stn"]


def test_each_interval_stands_under_its_name():
    row = experiment.compared({"STN": pd.Series([2.0, 3.0])}).loc["STN"]
    assert row["95 % interval"] == "-3.85 to +8.85" and row["Pairs"] == 2


def test_a_gain_in_words_says_how_many_pairs_it_is_of():
    for seed in range(2):
        write_run("original", seed, 50.0)
        write_run("lstn", seed, 52.0 + seed)
    assert experiment.gain(STUDY) == "+2.50 points (too few pairs, n=2)"
    assert experiment.gain(STUDY, "stn") == "not yet run"


def test_a_gain_is_the_sum_of_selection_budget_and_what_is_left():
    shorter = round(20 * authors_runs.budget_share("caltech101", "lstn"))
    alone, with_it = np.full(20, 40.0), np.full(20, 50.0)
    alone[shorter:] = 46.0  # six points by the epochs that the originals did not have
    with_it[17] = 53.0  # one of the five last epochs, which validate best
    write_run("original", 0, 0, epochs=curve(alone))
    write_run("lstn", 0, 0, epochs=curve(with_it))
    row = experiment.shares(*STUDY).loc["L-STN"]
    assert row.tolist() == ["+13.00", "+3.00", "+6.00", "+4.00", f"20 against {shorter}", 1]


def test_the_originals_budget_is_the_smallest_as_released():
    for dataset in ("caltech101", "cifar10"):
        shares = [authors_runs.budget_share(dataset, v) for v in ("original", "stn", "vstn", "lstn")]
        assert shares[0] == 1 and shares == sorted(shares, reverse=True) and shares[-1] < 0.5


def test_a_smaller_budget_is_the_beginning_of_a_larger_one():
    write_run("original", 0, 0, epochs=curve(np.arange(20.0)))
    record = records.find(RunSpec(*STUDY[:2], "original", STUDY[2], 0))
    assert [experiment.at_budget(record, k) for k in (1, 7, 20)] == [0, 6, 19]


def test_the_summary_counts_what_the_applied_arms_show():
    assert experiment.summary() == "Not yet run."
    for seed, gain in enumerate((1.0, 1.1, 0.9)):
        write_run("original", seed, 50.0)
        write_run("original", seed + OTHER_SEEDS, 70.0)
        write_run("stn", seed, 50.0 + gain)
        write_run("vstn", seed, 50.0 - gain)
        write_run("stn-released", seed, 50.0)
    write_run("lstn", 0, 60.0)
    assert experiment.summary() == (
        "In 3 pairs of a network and a variant, under one budget with the same seeds, the applied "
        "transformer is better in 1, worse in 1, shows no difference in 0 and has too few seeds in 1. "
        "In 2 of these it is better or worse by no more than other seeds alone. "
        "Thrown away as released, it leaves the same accuracy in every digit in 1 of 1."
    )


def test_a_gain_that_other_seeds_reach_alone_is_said_to_be_one():
    for seed, gain in enumerate((1.0, 1.1, 0.9)):
        write_run("original", seed, 50.0)
        write_run("original", seed + OTHER_SEEDS, 49.0 - seed)  # -2.00 on average
        write_run("stn", seed, 50.0 + gain)
        write_run("vstn", seed, 54.0 + gain)
    told = "better, yet by no more than other seeds alone"
    assert experiment.effects(*STUDY)["Verdict"].to_dict() == {
        "Original, other seeds": "no difference shown",
        "STN": told,
        "V-STN": "better",
    }
    assert f"STN: +1.00, {told} (n=3); V-STN: +5.00, better (n=3)" in experiment.verdict([STUDY])


def test_without_records_everything_says_so():
    studies = experiment.studies()
    assert studies == list(experiment.STUDIES)
    assert set(experiment.stacked(experiment.effects, studies)["Difference"]) == {"not yet run"}
    assert set(experiment.all_shares(studies)["At worst for the original"]) == {"not yet run"}
    assert experiment.verdict(studies).count("Not yet run") == len(studies)
    for figure in (experiment_figures.effects_plot(studies), experiment_figures.budget_curves(studies)):
        assert all(axis.get_title().endswith("not yet run") for axis in figure.axes)
    assert experiment.strength_verdict().count("Not yet run") == 3
    curves = experiment_figures.strength_curves(*studies[0])
    assert curves.axes[0].get_title() == "not yet run" and curves.get_figheight() < 1


def test_a_study_at_the_papers_sizes_appears_with_its_first_record():
    write_run("original", 0, 50, protocol="equal", backbone="resnet50")
    assert experiment.studies()[len(experiment.STUDIES) :] == [("caltech101", "resnet50", "equal")]


def test_all_arms_are_asked_for():
    asked = notebook.resolve_experiment("resnet18", "caltech101", "reduced", 2, "cpu")
    names = [(s.variant, s.seed) for s in asked.specs]
    assert len(names) == len(set(names)) == 2 * (1 + 3 + 3 + 1)
    assert ("original", OTHER_SEEDS + 1) in names and ("lstn-released", 1) in names
    assert experiment.studies(asked, "resnet18") == [("caltech101", "resnet18", "reduced")]
    assert notebook.resolve_experiment("published", "caltech101", "auto", 2, "cpu").specs == []


@pytest.mark.parametrize("seeds", [0, 6, "3", 2.5])
def test_a_wrong_number_of_seeds_is_named(seeds):
    with pytest.raises(InputError, match=f"Number of seeds {seeds!r} is not allowed: .* from 1 to 5"):
        notebook.resolve_experiment("resnet18", "caltech101", "reduced", seeds, "cpu")


def test_as_released_trains_to_the_same_accuracies_as_the_network_alone():
    alone, thrown_away = (
        loop.run(RunSpec("digits", "resnet18", v, "smoke"), "cpu") for v in ("original", "lstn-released")
    )
    assert thrown_away["parameters"] > alone["parameters"]
    same = [{k: v for k, v in epoch.items() if k != "theta"} for epoch in thrown_away["epochs"]]
    assert same == alone["epochs"]


def test_strengths_come_from_the_records_probes():
    study = experiment.STRENGTH_STUDIES[0]
    runs = [("original", 0, 0), ("original", 1, 1), ("stn", 0, 5), ("stn", 1, 6.2)]
    runs += [("original", 2, 2), ("stn", 2, 7.1)]
    other = ("original", OTHER_SEEDS, 40)  # is no one's pair, and not part of a mean
    for variant, seed, add in [*runs, other]:
        path = write_run(variant, seed, 90, backbone=study[1], dataset=study[0], protocol=study[2])
        record = records.read(path)
        strength = {name: [50.0 + add] * len(at) for name, at in STRENGTHS.items()}
        record["probes"] = {"strength": strength}
        spec = RunSpec(study[0], study[1], variant, study[2], seed)
        records.write(spec, {k: v for k, v in record.items() if k not in ("schema", "spec")})
    found = experiment.strengths(*study)
    assert len(found) == 6 * sum(map(len, STRENGTHS.values()))
    assert "rotation: STN +5.10 (better, n=3)" in experiment.strength_verdict([study])
    panels = experiment_figures.strength_curves(*study).axes
    assert [axis.get_xlabel() for axis in panels] == list(experiment.UNITS.values())
    assert all(len(axis.lines) == 2 for axis in panels)
    assert set(panels[0].lines[0].get_ydata()) == {51}


def test_a_verdict_on_strength_leaves_out_images_as_they_come_and_names_where_it_turns(monkeypatch):
    study, rows = ("gtsrb", "mnist-cnn", "system"), []
    for seed in range(3):
        for strength, gain in ((0, 90.0), (15, 2.0), (30, -4.0), (45, 0.0)):
            alone = 50.0 + seed
            jitter = 0.1 * seed if strength < 45 else 30.0 * (-1) ** seed
            rows += [["original", seed, "rotation", strength, alone]]
            rows += [["stn", seed, "rotation", strength, alone + gain + jitter]]
    columns = ["variant", "seed", "distortion", "strength", "accuracy"]
    monkeypatch.setattr(experiment, "strengths", lambda *_: pd.DataFrame(rows, columns=columns))
    monkeypatch.setattr(experiment, "UNITS", {"rotation": "rotation (degrees)"})
    assert experiment.strength_verdict([study]).endswith(
        "rotation: STN +2.73 (no difference shown, n=3; better at 15; worse at 30)."
    )


def test_budgets_are_compared_over_the_same_seeds():
    for variant, seed, test in [
        ("original", 0, 40),
        ("lstn", 0, 50),
        ("original", OTHER_SEEDS, 90),
    ]:
        write_run(variant, seed, test)
    (panel,) = experiment_figures.budget_curves([STUDY]).axes
    assert [set(line.get_ydata()) for line in panel.lines] == [{40}, {50}]
