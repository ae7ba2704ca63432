"""The pages of the smaller systems: published numbers as printed, our numbers from records only."""

import re

import numpy as np
import pytest
import torch
from helpers import probes, rewrite, write_run

from benchmarks import digit_steps
from stn_paper import build_model
from stn_paper.analysis import grid, theta
from stn_paper.analysis.statistics import BETTER, EQUAL, FEW, MISSING
from stn_paper.data import datasets
from stn_paper.models import HEADINGS
from stn_paper.models.transformer import invert
from stn_paper.report import distorted_page, sequences, small_systems, system_pictures
from stn_paper.training import examples, records
from stn_paper.training.spec import RunSpec


def write_system(dataset, system, variant, test, seed=0, **more):
    path = write_run(variant, seed, test, backbone=system, dataset=dataset, protocol="system")
    record = records.read_record(path)
    record["data"]["train"] = 49_000
    return rewrite(record, measured={"seconds": 100.0}, **more)


def test_published_numbers_are_as_printed():
    curve = small_systems.published_curve()
    assert (len(curve), curve.iloc[0], curve.iloc[-1], curve.max()) == (50, 34.82, 65.86, 66.94)
    assert small_systems.published_values("lenet")["value"].tolist() == [96.1, 98.3]
    assert small_systems.published_values("sign-cnn-bn")["value"].max() == 99.67
    assert small_systems.published_values("cifar-cnn")["value"].tolist() == [curve.iloc[-1], curve.max()]


def test_without_records_every_page_says_so():
    assert "Ours" not in small_systems.published_and_ours("cifar-cnn")
    errors = distorted_page.distorted_errors_table()
    assert (errors.xs("ours", axis=1, level=1) == MISSING).all(axis=None)
    assert errors.loc["affine", ("RTS", "paper")] == "0.5"
    for verdict in (small_systems.small_cnn_verdict(), small_systems.signs_verdict()):
        assert MISSING in verdict
    assert MISSING in distorted_page.distorted_verdict().lower()
    assert not small_systems.theta_in_words("gtsrb", "sign-cnn-bn")
    for view in (
        small_systems.recovery_table("digits"),
        small_systems.system_runs_table("gtsrb", "sign-cnn-bn"),
    ):
        assert view.iloc[0, 0] == MISSING
    assert MISSING in small_systems.recovery_verdict("digits").lower()
    assert MISSING in small_systems.small_cnn_plot().axes[0].get_title()
    assert system_pictures.gradcam_plot("digits", "mnist-cnn", ["original"]).axes[0].get_title() == MISSING


def test_our_numbers_are_beside_the_published_numbers():
    write_system("cifar10", "cifar-cnn", "affine", 60.0)
    ours = small_systems.published_and_ours("cifar-cnn").loc["Affine", "Ours"]
    assert ours.tolist() == [MISSING, "60.00 (n=1)"]  # of 20 epochs none is the 50th
    assert "5.86" in small_systems.small_cnn_verdict()  # the log ends at 65.86 %
    assert len(small_systems.small_cnn_plot().axes[0].lines) == 2


def test_ours_is_the_quantity_that_is_published():
    row = {"train_loss": 1.0, "validation_loss": 1.0, "test_loss": 1.0, "validation_accuracy": 50.0}
    epochs = [row | {"test_accuracy": 70.0 - abs(n - 30)} for n in range(1, 51)]
    write_run("affine", 0, None, "cifar-cnn", "cifar10", "system", epochs)
    ours = small_systems.published_and_ours("cifar-cnn").loc["Affine", "Ours"]
    assert ours.tolist() == ["50.00 (n=1)", "70.00 (n=1)"]


@pytest.mark.parametrize(
    ("two", "answer"),
    [([97.0], "Open"), ([99.4, 99.5, 99.6], "Open"), ([97.0, 97.1], "Not"), ([99.8, 99.8, 99.81], "Yes")],
)
def test_two_transformers_are_compared_with_the_ensemble(two, answer):
    for seed, test in enumerate(two):
        write_run("two", seed, test, "sign-cnn-bn", "gtsrb", "system")
    write_run("original", 0, 99.9, "sign-cnn-bn", "gtsrb", "system")
    text = small_systems.signs_verdict()
    assert text.startswith(f"**{answer}") and f"n={len(two)}" in text and "99.46" in text


def gains(**tests):
    """The sentence on the gains from made-up runs: {variant: test accuracies}."""
    for variant, accuracies in tests.items():
        for seed, test in enumerate(accuracies):
            write_run(variant, seed, test, "clutter-cnn", "mnist-cluttered", "system")
    return small_systems.gains_in_words("mnist-cluttered", "clutter-cnn")


def test_a_gain_needs_the_network_alone_and_a_transformer():
    assert gains().startswith("**Open.**")
    alone = gains(out20=[95.0])
    assert alone.startswith("**Open.**") and HEADINGS["out20"] in alone and "+" not in alone


def test_gains_of_few_runs_are_open_and_of_three_are_judged():
    single = gains(original=[93.0], out20=[95.0])
    assert single.startswith("**Open") and f"+2.00 ({FEW}, n=1 and 1)" in single
    three = gains(original=[93.0, 93.1, 92.9], out20=[95.0, 95.1, 94.9], out60=[93.0, 93.1, 92.9])
    assert three.startswith("**1 of 2 ")
    assert f"+2.00 ± 0.23 ({BETTER}, n=3 and 3)" in three and f"+0.00 ± 0.23 ({EQUAL}" in three


def test_two_transformers_are_compared_with_one():
    accuracies = {"original": [98.0, 98.1, 97.9], "one": [98.0, 98.1, 97.9], "two": [99.5, 99.6, 99.4]}
    for variant, tests in accuracies.items():
        for seed, test in enumerate(tests):
            write_run(variant, seed, test, "sign-cnn-bn", "gtsrb", "system")
    text = small_systems.gains_in_words("gtsrb", "sign-cnn-bn")
    assert text.startswith("**1 of 2 ")
    assert text.count(f"+1.50 ± 0.23 ({BETTER}, n=3 and 3)") == 2  # against the network alone and against one


def test_other_backbones_on_the_dataset_are_not_the_systems():
    write_run("stn", 0, 60.0, dataset="cifar10", protocol="system")  # resnet18
    assert small_systems.system_runs("cifar10", "cifar-cnn").empty


DIGIT_VARIANTS = ("original", "affine", "projective", "tps")


def test_an_error_is_100_minus_the_accuracy():
    for variant, test in zip(DIGIT_VARIANTS, (99.5, 98.5, 99.0, 99.0)):
        write_system("mnist-rts", "mnist-cnn-400k", variant, test)
    write_system("mnist-rts", "mnist-cnn-400k", "original", 98.5, seed=1)
    write_system("mnist-rts", "mnist-cnn-400k", "affine-released", 96.0)  # which transforms nothing
    errors = distorted_page.distorted_errors_table()
    assert errors.loc["affine", ("RTS", "ours")] == "1.50 (n=1)"
    assert errors.loc["affine", ("R", "ours")] == MISSING
    verdict = distorted_page.distorted_verdict()  # published: 0.8, 0.5, 0.6 and 0.5 %
    assert "RTS" in verdict and re.findall(r"\d of \d", verdict) == ["0 of 3", "3 of 4"]
    assert "+0.20 to +1.00" in verdict and "-0.50 to 0.00" in verdict


def test_the_other_reading_of_a_distortion_is_a_column_of_its_own():
    assert distorted_page.readings_verdict().startswith("**Open")
    for dataset, tests in {"mnist-p": (96.0, 98.5), "mnist-p-canvas": (97.9, 99.0)}.items():
        for variant, test in zip(DIGIT_VARIANTS, tests):
            write_system(dataset, "mnist-cnn-400k", variant, test)
    write_system("mnist-e-digit", "mnist-cnn-400k", "tps", 99.0)  # without its counterpart on E
    errors = distorted_page.distorted_errors_table()
    assert errors.loc["affine", "P"].tolist() == ["0.8", "1.50 (n=1)", "1.00 (n=1)"]
    assert errors.loc["thin plate spline", ("E", "other, digit")] == "1.00 (n=1)"
    verdict = distorted_page.readings_verdict()  # published: 1.5 and 0.8 %
    assert "1 of 2" in verdict and re.search(r"\b0 of [a-z ]*2\b", verdict) and "n=1" in verdict


def test_a_difference_is_ours_from_the_published():
    for seed, test in enumerate((98.0, 99.0)):
        write_system("mnist-rts", "lenet", "stn", test, seed)
    table = small_systems.published_and_ours("lenet")
    assert table["Published"].tolist() == ["96.10", "98.30"]
    assert table["Ours"].str[-5:].tolist() == [MISSING[-5:], "(n=2)"] and table["Difference"].tolist() == [
        "–",
        "+0.20",
    ]


@pytest.mark.parametrize(("spreads", "shares"), [((0.01, 0.2), "0.01 to 0.20"), ((1.0, 2.0), "1.00 to 2.00")])
def test_theta_is_told_by_how_far_it_moves_from_image_to_image(spreads, shares):
    texts = []
    for seed, spread in enumerate(spreads):
        field = {
            "mean": [0.5, 0.0, 0.0, 0.0, 0.5, 0.0],
            "std": [0.0] * 5 + [spread / 10],
            "spread": [spread, spread],
        }
        field |= {"from_identity": 1.0, "outside": 0.0}
        row = {"train_loss": 1.0, "validation_loss": 1.0, "validation_accuracy": 50.0, "test_loss": 1.0}
        epochs = [row | {"test_accuracy": 50.0, "theta": field}] * 12
        write_run("one", seed, 98.0, "sign-cnn-bn", "gtsrb", "system", epochs)
        texts.append(small_systems.theta_in_words("gtsrb", "sign-cnn-bn"))
    assert shares in texts[1] and "50%" in texts[1] and "n=2" in texts[1]
    assert ("in some runs only" in texts[1]) == (min(spreads) / 10 < theta.STILL_BELOW)
    assert "depends on the image" in texts[1] and ("nearly the same" in texts[0]) == (spreads[0] < 0.1)


def test_the_time_of_a_step_is_a_ratio_of_steps_in_turn():
    found = digit_steps.compare(rounds=2, steps=1)
    assert set(found["seconds"]) == {"original", "stn"} and min(found["seconds"].values()) > 0
    assert found["ratio"] == sorted(found["ratio"]) and len(found["ratio"]) == 3


def test_recovery_is_a_share_of_the_distortion():
    recovery = {
        "rotation": {"before": [20, 40], "after": [5, 10]},
        "shift": {"before": [0, 0], "after": [1, 2]},
    }
    recovery["scale"] = {"before": [np.e, 3.0], "after": [np.sqrt(np.e), 2.0]}
    write_system("digits", "mnist-cnn", "lstn", 90.0, probes=probes() | {"recovered_in_class": recovery})
    verdict = small_systems.recovery_verdict("digits")
    assert verdict.count("%") == 2 and "75%" in verdict and "50%" in verdict
    view = small_systems.recovery_table("digits")
    assert list(view.index) == ["Input (no transformer)", "L-STN"]
    assert view.loc["L-STN", "rotation (degrees)"] == "5.00 (10.00)"


def test_a_run_that_gives_every_image_the_same_map_is_named():
    for seed, spread in enumerate((0.0, 0.3)):
        theta = {"mean": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], "std": [spread] * 6}
        write_run("lstn", seed, 90.0, "mnist-cnn", "digits", "system", row={"theta": theta})
    sentence = small_systems.still_runs_in_words("digits")
    assert "seed 0" in sentence and "seed 1" not in sentence
    assert small_systems.still_runs_in_words("mnist-rts") == ""


@pytest.mark.parametrize("system", ["cifar-cnn", "lenet", "sign-cnn-bn"])
def test_every_system_has_published_numbers_with_their_source(system):
    rows = small_systems.published_values(system)
    assert len(rows) and rows["source"].str.len().min() > 5


def test_the_loss_reaches_every_weight_and_theta_depends_on_the_image():
    view = system_pictures.count_gradients(build_model("sign-cnn-bn", "two", 43))
    assert list(view.index) == ["transformer", "first", "inner", "second", "head"]
    assert (view["Weight tensors"] == view["with a gradient"]).all()
    same = system_pictures.theta_depends_on_image(build_model("sign-cnn-bn", "two", 43))[
        "same theta for both images"
    ]
    assert same.tolist() == [True, False]


@pytest.fixture
def kept():
    """A record whose transformer undoes the motion exactly."""
    images = datasets.load_images("digits", 42).images[[0, 600, 1100, 1600]]
    still = invert(examples.motion_maps())
    theta = torch.stack([torch.eye(2, 3).expand(4, 2, 3), still[:4]])
    found = probes() | {
        "images": [examples.as_png(image) for image in images],
        "label": [0, 1, 2, 3],
        "theta": theta[1].tolist(),
        "motion": still.tolist(),
        "gradcam": torch.rand(4, 5, 5).tolist(),
        "training": {"steps": [0, 10], "theta": theta.tolist()},
    }
    write_system("digits", "mnist-cnn", "stn", 90.0, probes=found)
    return found


def test_a_transformer_that_undoes_the_motion_keeps_the_output_still(kept):
    view = system_pictures.stillness_table("digits", "mnist-cnn")
    before, after = (int(view[c].item().rstrip("%")) for c in ("At the input", "At the output"))
    assert list(view.index) == ["STN"] and after < before / 2
    assert f"{after}% of the outputs' variance" in system_pictures.stillness_verdict("digits", "mnist-cnn")


def test_pictures_are_drawn_from_the_record(kept):
    run = ("digits", "mnist-cnn", "stn")
    for draw in (system_pictures.training_pictures, system_pictures.motion_pictures):
        assert draw(*run).data[:3] == b"GIF"
        assert draw(*run, still=True).axes
    # original has no record
    panels = system_pictures.gradcam_plot("digits", "mnist-cnn", ["original", "stn"])
    assert [axis.get_title() for axis in panels.axes] == [f"class {n}" for n in range(4)]


def test_without_a_record_nothing_moves():
    assert system_pictures.training_pictures("digits", "mnist-cnn", "stn") is None
    assert MISSING in system_pictures.stillness_verdict("digits", "mnist-cnn").lower()


def test_the_looks_are_drawn_from_the_record():
    assert sequences.glimpses_plot() is sequences.sequence_curves_plot() is None
    assert sequences.glimpses_in_words() == ""
    maps = torch.eye(2, 3).expand(3, 2, 3).tolist()
    picture = examples.as_png(np.zeros((100, 100), np.uint8))
    kept = {
        "images": [picture] * 4,
        "theta": [maps] * 4,
        "labels": [[1, 2, 3]] * 4,
        "predicted": [[1, 2, 4]] * 4,
    }
    theta = {
        "mean": [0.0, 0.0, -0.5, 0.0, 0.0, 0.0] + [0.0] * 8 + [0.25] + [0.0] * 3,
        "std": [0.0] * 18,
        "spread": [1.0, 1.0],
        "from_identity": 1.0,
        "outside": 0.0,
    }
    path = write_run("rnn", 0, 98.0, "sequence-cnn", "mnist-sequence", "system", row={"theta": theta})
    rewrite(records.read_record(path), glimpses=kept)
    axes = sequences.glimpses_plot().axes
    assert len(axes) == 16 and len(axes[0].lines) == 3 and "1 2 3" in axes[0].get_title()
    left, right = sequences.sequence_curves_plot().axes
    assert len(left.lines) == 1 and len(right.lines) == 3
    text = sequences.glimpses_in_words()
    assert "1 of 1 run" in text and "-0.50, +0.00 and +0.25" in text
    back = theta | {"mean": [0.0, 0.0, 0.5] + [0.0] * 15}  # from right to left
    write_run("rnn", 1, 98.0, "sequence-cnn", "mnist-sequence", "system", row={"theta": back})
    assert "1 of 2 runs" in sequences.glimpses_in_words()
    sentence = small_systems.theta_in_words("mnist-sequence", "sequence-cnn")
    assert "n=2" in sentence
    assert (
        "%" not in sentence
    )  # a percentage is the zoom of an affine map, which has 6 numbers; these maps have 18


def write_padding(padding, optimizer, accuracies, side):
    """Records of `grid.padding_specs` with this padding and optimizer, seed by seed."""
    specs = [
        spec
        for spec in grid.padding_specs()
        if (spec.protocol.padding, spec.protocol.optimizer) == (padding, optimizer)
    ]
    theta = {"mean": [side, 0.0, 0.0, 0.0, side, 0.0], "std": [0.1] * 6, "outside": 0.0}
    row = {"train_loss": 1.0, "validation_loss": 1.0, "validation_accuracy": 50.0, "theta": theta}
    for spec, accuracy in zip(specs, accuracies):
        write_run("affine", spec.seed, accuracy, spec.backbone, spec.dataset, spec.protocol, [row] * 5)


def test_paddings_are_compared_with_zeros():
    runs = distorted_page.padding_runs()
    assert distorted_page.padding_verdict(runs).startswith("**Open")
    assert (distorted_page.padding_table(runs) == MISSING).all(axis=None)
    write_padding("zeros", "adam", (98.0, 98.1, 97.9), 0.8)
    write_padding("border", "adam", (98.0, 98.1, 97.9), 0.8)
    write_padding(-1.0, "adam", (99.5, 99.6, 99.4), 1.2)
    write_padding("zeros", "sgd", (90.0,), 0.9)
    write_padding("border", "sgd", (91.0,), 0.9)
    runs = distorted_page.padding_runs()
    text = distorted_page.padding_verdict(runs)
    assert re.findall(r"\b\d+\b", text)[:3] == ["1", "2", "1"]  # better, of comparisons, and equal
    assert f"+1.50 ± 0.23 ({BETTER}, n=3 and 3)" in text and f"+1.00 ({FEW}, n=1 and 1)" in text
    assert "3 of 11 runs" in text  # shrink the image
    table = distorted_page.padding_table(runs)
    assert table.loc["fill value -1 (black)", ("Error (%)", "Adam")] == "0.50 ± 0.25 (n=3)"
    assert table["Side read (%)"]["Adam"].tolist() == ["80", "80", "120"]
    assert table["Error (%)"]["SGD"].tolist() == ["10.00 (n=1)", "9.00 (n=1)", MISSING]


def test_a_system_that_is_another_without_a_transformer_shows_the_others_runs():
    for system, other in grid.SAME_ALONE.items():
        (dataset,) = grid.SYSTEM_DATASETS[system]
        specs = [RunSpec(dataset, name, "original", "system") for name in (system, other)]
        weights = []
        for spec in specs:
            torch.manual_seed(0)
            weights.append(build_model(spec.backbone, "original", 10, spec.image_size).state_dict())
        assert specs[0].protocol == specs[1].protocol and list(weights[0]) == list(weights[1])
        assert all(torch.equal(*pair) for pair in zip(*(state.values() for state in weights)))
    for variant, backbone in (("original", "mnist-cnn-400k"), ("feature", "placement-cnn")):
        write_run(variant, 0, 90.0, backbone, "mnist-r", "system")
    assert small_systems.system_runs("mnist-r", "placement-cnn")["variant"].tolist() == [
        "original",
        "feature",
    ]
