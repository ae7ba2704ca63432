"""Tables 4, 6 and 8 as numbers: the protocol of a row, counts, intervals and tests by hand, and TSRD's columns."""

import math
import re
from dataclasses import asdict

import pandas as pd
import pytest
from helpers import filled, write_run

from stn_paper.analysis import accuracy, frame
from stn_paper.analysis.paper import networks
from stn_paper.models import ORIGINAL
from stn_paper.report import accuracy_figures, accuracy_page, accuracy_verdicts
from stn_paper.training import records
from stn_paper.training.presets import SMALL_IN_FLOAT32
from stn_paper.training.spec import RunSpec, in_float32

VARIANTS = tuple(networks(6)["variant"].unique())
TABLE6 = list(networks(6)["backbone"].unique())


def write(variant, test, backbone="resnet50", dataset="caltech101", protocol="small", seed=0, **given):
    """Store a made-up record whose test images were evaluated once. `given`: outside, spread, train_loss, without."""
    spec = RunSpec(dataset, backbone, variant, protocol.split()[0], seed)
    spec = in_float32(spec) if protocol == SMALL_IN_FLOAT32 else spec
    epoch = {"train_loss": given.get("train_loss", 1.0), "validation_loss": 1.0, "validation_accuracy": 50.0}
    if variant != ORIGINAL:
        epoch["theta"] = {
            "mean": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            "std": [0.0] * 6,
            "spread": [given.get("spread", 0.25), 1.0],
            "outside": given.get("outside", 0.0),
        }
    record = {
        **filled(spec),
        "parameters": 1,
        "epochs": [epoch] * spec.protocol.max_epochs,
        "stopped": "budget",
        "test": {"loss": 1.0, "accuracy": test, "class_accuracy": test / 2, "correct": ""},
    }
    if "without" in given:
        record["test"]["with_copy"] = {"images": 778, "accuracy": 99.0}
        record["test"]["without_copy"] = {"images": 222, "accuracy": given["without"]}
    record["data"]["train"] = 4000
    record["selected"] = records.selected_by_rules(record | {"spec": {"protocol": asdict(spec.protocol)}})
    return records.write_record(spec, record)


def cell(number, backbone, variant=ORIGINAL):
    found = accuracy.cells(number).set_index(["backbone", "variant"])
    return found.loc[(backbone, variant)]


# --- cells ---


@pytest.mark.parametrize("number, cells", [(4, 14), (6, 28), (8, 32)])
def test_without_records_the_papers_numbers_stand_alone(number, cells):
    found = accuracy.cells(number)
    assert len(found) == cells and found["paper_test"].notna().all()
    assert (found["n"] == 0).all() and (found["protocol"] == "").all() and found["test"].isna().all()


def test_table_4_is_read_as_its_columns_are_in_the_released_logs():
    first = accuracy.cells(4).iloc[0]
    assert (first["paper_validation"], first["paper_test"]) == (96.69, 98.1)


def test_a_row_shows_the_best_protocol_that_has_all_of_its_cells():
    for variant in VARIANTS:
        write(variant, 50.0)
    write(ORIGINAL, 70.0, protocol="equal")
    assert accuracy.protocol_by_backbone(6)["resnet50"] == "small"  # equal has one cell of four
    for variant in VARIANTS[1:]:
        write(variant, 71.0, protocol="equal")
    assert accuracy.protocol_by_backbone(6)["resnet50"] == "equal"
    assert (cell(6, "resnet50")["test"], cell(6, "resnet50")["image_size"]) == (70.0, 224)


def test_a_row_that_is_nowhere_whole_shows_the_protocol_with_most_cells():
    write(ORIGINAL, 70.0, protocol="equal")
    write(ORIGINAL, 50.0)
    assert accuracy.protocol_by_backbone(6)["resnet50"] == "equal"  # equal counts: the preferred protocol
    write("stn", 51.0)
    assert accuracy.protocol_by_backbone(6)["resnet50"] == "small"
    assert accuracy.protocol_by_backbone(6)["effb0"] == ""


def test_a_row_shows_runs_of_small_in_one_precision_only():
    write(ORIGINAL, 50.0)
    write(ORIGINAL, 60.0, protocol=SMALL_IN_FLOAT32)
    assert cell(6, "resnet50")[["protocol", "test", "n"]].tolist() == ["small", 50.0, 1]  # as many
    write("stn", 61.0, protocol=SMALL_IN_FLOAT32)
    assert cell(6, "resnet50")[["protocol", "test", "n"]].tolist() == [SMALL_IN_FLOAT32, 60.0, 1]
    assert "float32" in accuracy_verdicts.protocols_in_words(6)
    write("stn", 51.0)
    assert cell(6, "resnet50", "stn")["test"] == 51.0
    assert "float32" not in accuracy_verdicts.protocols_in_words(6)


def test_a_cell_is_the_mean_of_its_seeds_with_its_interval():
    for seed, test in enumerate((40.0, 42.0, 44.0)):
        write("lstn", test, seed=seed, spread=0.1 * seed)
    found = cell(6, "resnet50", "lstn")
    assert (found["test"], found["n"], found["class_accuracy"]) == (42.0, 3, 21.0)
    # Student's t, 2 degrees of freedom
    assert found["half"] == pytest.approx(4.3027 * 2 / math.sqrt(3), abs=1e-3)
    assert found["spread"] == pytest.approx(0.1)
    write("stn", 40.0)
    assert math.isnan(cell(6, "resnet50", "stn")["half"])


def test_collapsed_and_failed_runs_are_counted_apart():
    write("stn", 5.0, outside=95.0, train_loss=4.6, spread=900.0)
    write("stn", 50.0, seed=1, outside=94.9)
    write("stn", 2.0, seed=2, train_loss=4.6)
    found = cell(6, "resnet50", "stn")
    assert (found["collapsed"], found["failed"], found["n"]) == (1, 1, 3)
    assert found["test"] == pytest.approx(19.0)  # they stay in the mean
    assert found["spread"] == 0.25  # of the two that did not collapse


def test_missing_cells_are_counted():
    assert accuracy.count_missing(6) == {
        "cells": 28,
        "with_run": 0,
        "lacking": 28,
        "hours": None,
        "device": None,
    }
    write(ORIGINAL, 50.0)
    write("stn", 70.0, protocol="equal")
    found = accuracy.count_missing(6)
    assert (found["with_run"], found["lacking"]) == (1, 27)  # a row shows one protocol


# --- the pattern over backbones ---


def row(variant="lstn", against="stn", number=6):
    return accuracy.replication(number).set_index(["variant", "against"]).loc[(variant, against)]


def write_row(backbone, original, stn, lstn, **collapsed):
    write(ORIGINAL, original, backbone)
    write("stn", stn, backbone, **collapsed)
    write("lstn", lstn, backbone)


def test_the_papers_pattern_is_counted():
    found = row()
    assert (found["paper_ahead"], found["paper_backbones"], found["backbones"]) == (7, 7, 0)
    printed = networks(6).astype({"test": float}).pivot(index="model", columns="variant", values="test")
    assert found["paper_mean"] == pytest.approx((printed["lstn"] - printed["stn"]).mean())
    assert math.isnan(found["p"]) and math.isnan(found["p_holm"])


def test_our_pattern_is_counted_with_the_backbones_as_the_sample():
    for backbone, gain in zip(TABLE6[:4], (1.0, 2.0, 3.0, -2.0)):
        write_row(backbone, 50.0, 50.0, 50.0 + gain)
    found = row()
    assert (found["ahead"], found["behind"], found["backbones"], found["mean"]) == (3, 1, 4, 1.0)
    # t of 3 degrees of freedom
    assert found["half"] == pytest.approx(3.1824 * math.sqrt(14 / 3) / 2, rel=1e-3)
    assert found["p"] == pytest.approx(2 * 5 / 16)
    # STN equals the original everywhere, V-STN has no run: of two tests the smaller p is doubled
    assert found["p_holm"] == 1 and math.isnan(row("stn", ORIGINAL)["p"])


def test_a_collapsed_run_stays_in_the_counts_and_the_mean_is_given_without_it_too():
    write_row(TABLE6[0], 50.0, 51.0, 52.0)
    write_row(TABLE6[1], 50.0, 52.0, 51.0)
    write_row(TABLE6[2], 50.0, 8.0, 50.0, outside=100.0)
    found = row()
    assert (found["ahead"], found["behind"], found["collapsed"], found["kept"]) == (2, 1, 1, 2)
    assert (found["mean"], found["mean_kept"]) == (14.0, 0.0)
    assert (row("lstn", ORIGINAL)["collapsed"], row("stn", ORIGINAL)["collapsed"]) == (0, 1)


def test_a_backbone_whose_original_failed_to_train_is_not_compared():
    write_row(TABLE6[0], 50.0, 51.0, 52.0)
    write_row(TABLE6[1], 50.0, 51.0, 52.0)
    write(ORIGINAL, 2.0, TABLE6[1], train_loss=frame.chance_loss("caltech101"))
    assert row()["backbones"] == 1
    # STN's failure is an outcome
    write_row(TABLE6[2], 50.0, 2.0, 52.0, train_loss=frame.chance_loss("caltech101"))
    assert row()["backbones"] == 2


def test_an_interval_over_seeds_needs_two_seeds_on_each_side():
    write("lstn", 50.0)
    write("stn", 50.0)
    of = accuracy.differences(6).set_index(["variant", "against", "backbone"])["half"]
    assert math.isnan(of["lstn", "stn", "resnet50"])
    write("lstn", 52.0, seed=1)
    write("stn", 52.0, seed=1)
    of = accuracy.differences(6).set_index(["variant", "against", "backbone"])["half"]
    assert of["lstn", "stn", "resnet50"] == pytest.approx(4.3027 * math.sqrt(2), rel=1e-3)


@pytest.mark.parametrize(
    "mean, half, kept, expected",
    [
        (3.0, 1.0, 7, accuracy.REPLICATES),
        (1.0, 1.5, 7, accuracy.DOES_NOT_REPLICATE),  # leaves out the paper's 3.4
        (1.0, 5.0, 7, accuracy.OPEN),  # holds zero and the paper's
        (-3.0, 1.0, 7, accuracy.DOES_NOT_REPLICATE),
        (3.0, 1.0, 2, accuracy.OPEN),
    ],
)
def test_a_pattern_is_judged_by_its_interval(mean, half, kept, expected):
    found = pd.Series({"mean_kept": mean, "half_kept": half, "kept": kept, "paper_mean": 3.4})
    assert accuracy.judge_replication(found) == expected


# --- Table 4 ---


def test_table_4_has_accuracies_with_and_without_copies():
    write(ORIGINAL, 95.0, "alexnet", "tsrd", without=70.0)
    write(ORIGINAL, 97.0, "alexnet", "tsrd", seed=1, without=74.0)
    write(ORIGINAL, 80.0, "alexnet", accuracy.DISTINCT)
    found = cell(4, "alexnet")
    assert (found["test"], found["without_copy"], found["distinct"]) == (96.0, 72.0, 80.0)
    assert (found["n"], found["distinct_n"], found["images_without_copy"]) == (2, 1, 222)
    assert found["without_copy_half"] == pytest.approx(12.7062 * 2, rel=1e-3)
    assert math.isnan(found["distinct_half"])


def test_the_columns_of_a_row_are_of_one_protocol():
    write(ORIGINAL, 99.0, "resnet18", "tsrd", "equal", without=90.0)
    assert accuracy.protocol_by_backbone(4)["resnet18"] == "equal"
    write(ORIGINAL, 95.0, "resnet18", "tsrd", without=70.0)
    write(ORIGINAL, 80.0, "resnet18", accuracy.DISTINCT)
    assert cell(4, "resnet18")[["protocol", "test", "distinct"]].tolist() == ["small", 95.0, 80.0]


def test_the_baselines_stand_beside_the_networks(committed):
    found = accuracy.baseline_accuracies()
    assert found.loc["look-up"].tolist() == pytest.approx([78.3, 100 * 5 / 222, 100 * 32 / 410])
    assert found.loc["nearest neighbour", "test"] == pytest.approx(91.9)


def test_sizes_are_ranked_from_five_networks_on():
    printed = networks(4).astype({"parameters": int}).sort_values("parameters")
    for place, backbone in enumerate(printed["backbone"][:4]):
        write(ORIGINAL, 90.0 + place, backbone, "tsrd", without=60.0 - place)
    assert math.isnan(accuracy.size_ranking().loc["test", "rho"])
    write(ORIGINAL, 94.0, printed["backbone"].iloc[4], "tsrd", without=56.0)
    found = accuracy.size_ranking()
    assert found.loc["test"].tolist() == pytest.approx([5, 1, 2 / 120], abs=1e-3)
    assert found.loc["without_copy", "rho"] == pytest.approx(-1)
    assert found.loc["paper_test", "networks"] == 14


# --- what the pages show ---


def table_rows(html):
    """The HTML table of a view as rows of texts, with links and marks."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.S)
    return {cells[0]: cells[1:] for r in rows if (cells := re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", r, re.S))}


def classes(html, name):
    """The HTML classes of the cells in the row `name`."""
    (row,) = [row for row in re.findall(r"<tr>(.*?)</tr>", html, re.S) if f">{name}</th>" in row]
    return [set(found.split()) for found in re.findall(r'<td class="([^"]*)"', row)]


def test_ours_is_marked_where_it_collapsed_or_is_shown_to_be_best():
    for variant, test in zip(VARIANTS, (80.0, 79.0, 70.0, 85.0)):
        for seed in range(3):
            write(variant, test + 0.1 * seed, "resnet50", seed=seed)
        write(variant, test, "effb0", outside=100.0 * (variant == "vstn"))  # one seed shows nothing
    html = accuracy_page.accuracy_table(6).data
    marks = classes(html, "ResNet-50")
    # paper, ours and ± of each variant
    assert [i for i, found in enumerate(marks) if "best" in found] == [10]
    marks = classes(html, "EfficientNet-b0")
    assert [i for i, found in enumerate(marks) if "collapsed" in found] == [7]
    assert not any("best" in found for found in marks)
    rows = table_rows(html)
    assert len(re.findall(r'href="\.\./runs/[^"]+"', "".join(rows["EfficientNet-b0"]))) == 4
    assert len(re.findall(r'href="runs\.html\?Dataset=[^"]+"', "".join(rows["ResNet-50"]))) == 4


def test_cells_are_numbers_or_empty():
    write(ORIGINAL, 80.0)
    write(ORIGINAL, 81.0, seed=1)
    write(ORIGINAL, 90.0, "alexnet", "tsrd", without=70.0)
    for view in (accuracy_page.accuracy_table(6), accuracy_page.tsrd_table()):
        for name, cells in table_rows(view.data).items():
            texts = [re.sub("<[^>]+>", "", text).strip() for text in cells]
            if name not in ("Network", ""):
                assert all(re.fullmatch(r"(\d+\.\d\d)?", text) for text in texts), texts


def test_the_backbone_that_is_asked_for_comes_first():
    order = [name for name in table_rows(accuracy_page.accuracy_table(6, "effb5").data) if "Net-" in name]
    assert order[:2] == ["EfficientNet-b5", "EfficientNet-b0"] and len(order) == 7
    order = [
        name
        for name in table_rows(accuracy_page.tsrd_table("resnet18").data)
        if "Net-" in name or name.startswith("Alex")
    ]
    assert order[0] == "ResNet-18" and len(order) == 14


def test_runs_that_were_asked_for_are_shown_smoke_runs_too():
    assert accuracy_page.requested_runs([]) is None
    from helpers import write_run

    write_run("lstn", 0, 40.0, dataset="digits", protocol="smoke")
    view = accuracy_page.requested_runs([RunSpec("digits", "resnet18", "lstn", "smoke")])
    assert view.loc["ResNet-18", "Test"] == "40.00"


@pytest.mark.parametrize("number", [6, 8])
def test_a_page_is_right_without_records_and_with_some(number):
    dataset = accuracy.datasets_of(number)[0]
    backbones = networks(number)["backbone"].unique()
    for stage in range(3):
        for view in (accuracy_page.replication_table(number), accuracy_figures.pattern_plot(number)):
            assert view is not None
        texts = [
            f(number)
            for f in (
                accuracy_verdicts.pattern_verdict,
                accuracy_verdicts.ahead_in_words,
                accuracy_verdicts.coverage_in_words,
                accuracy_verdicts.protocols_in_words,
            )
        ]
        assert not any("nan" in text for text in texts)
        for backbone in backbones[: 2 * stage + 1]:
            for variant in VARIANTS:
                write(
                    variant, 60.0 + stage, backbone, dataset, outside=100.0 * (variant == "stn" and stage > 0)
                )


def test_the_figure_draws_collapsed_runs_apart():
    for variant, test in zip(VARIANTS, (50.0, 8.0, 51.0, 52.0)):
        write(variant, test, "effb0", outside=100.0 if variant == "stn" else 0.0)
        write(variant, test + 40 * (variant == "stn"), "effb1")
    upper, lower = accuracy_figures.pattern_plot(6).axes
    for axis in (upper, lower):
        texts = [text.get_text() for text in axis.texts]
        assert sum("STN collapsed" in text for text in texts) == 1
        low, high = axis.get_xlim()
        assert -10 < low < high < 15
    (ours,) = [line for line in upper.lines if line.get_marker() == "D"]
    assert ours.get_xdata().tolist() == [4.0] and ours.get_ydata().tolist() == [1]


def test_the_last_row_of_the_figure_has_the_means_and_their_intervals():
    for place, backbone in enumerate(("effb0", "effb1", "effb2")):
        for variant, test in zip(VARIANTS, (50.0, 50.0, 50.0, 51.0 + place)):
            write(variant, test, backbone)
    upper, _ = accuracy_figures.pattern_plot(6).axes
    (ours,) = [line for line in upper.lines if line.get_marker() == "D"]
    assert ours.get_xdata().tolist() == [1.0, 2.0, 3.0, 2.0] and ours.get_ydata().tolist() == [0, 1, 2, 7]
    segments = [segment for bars in upper.collections for segment in bars.get_segments() if len(segment)]
    intervals = [segment[:, 0].tolist() for segment in segments if segment[0, 1] == 7]
    # Student's t with 2 degrees of freedom: 4.3027 * 1 / sqrt(3)
    assert pytest.approx([2 - 2.484, 2 + 2.484], abs=1e-3) in intervals


def test_the_epochs_of_distinct_pictures_are_those_of_a_row_that_has_such_runs():
    write(
        ORIGINAL, 90.0, "alexnet", "tsrd", protocol="equal"
    )  # the first row, without a run on distinct pictures
    write(ORIGINAL, 80.0, "resnet18", "tsrd")
    write(ORIGINAL, 70.0, "resnet18", accuracy.DISTINCT)
    assert "20" in re.findall(r"\d+", accuracy_verdicts.protocols_in_words(4))


def test_table_4s_page_is_right_while_few_networks_have_runs(committed, monkeypatch, tmp_path):
    copied = tmp_path / "results/copies"
    copied.mkdir(parents=True)
    from stn_paper.paths import ROOT

    (copied / "baselines.csv").write_text((ROOT / "results/copies/baselines.csv").read_text())
    monkeypatch.setenv("STN_PAPER_RESULTS", str(tmp_path / "results"))
    assert len(accuracy_figures.tsrd_plot().axes) == 1
    for backbone in networks(4)["backbone"][:5]:
        assert "nan" not in accuracy_verdicts.tsrd_verdict() + accuracy_verdicts.protocols_in_words(4)
        write(ORIGINAL, 99.2, backbone, "tsrd", without=90.0)
    assert "5 of 5" in accuracy_verdicts.tsrd_verdict().replace("**", "")
    assert len(table_rows(accuracy_page.tsrd_table().data)) == 16 + 2


def test_a_run_whose_accuracy_falls_after_the_epoch_of_its_result_is_named():
    steady, falling = (
        [
            {
                "train_loss": 1.0,
                "validation_loss": 1.0,
                "test_loss": 1.0,
                "validation_accuracy": v,
                "test_accuracy": 50.0,
            }
            for v in values
        ]
        for values in ((40.0,) * 20, (*(40.0,) * 19, 29.5))
    )
    write_run("stn", 0, 50.0, "resnet50", "caltech101", "equal", steady)
    assert accuracy_verdicts.falls_in_words(6) == ""
    write_run("lstn", 0, 50.0, "resnet50", "caltech101", "equal", falling)
    assert re.findall(r"\d+\.\d+", accuracy_verdicts.falls_in_words(6)) == ["40.00", "29.50"]


def test_a_pattern_is_open_without_runs_of_both_variants():
    for backbone in networks(6)["backbone"].unique()[:3]:
        for variant in (ORIGINAL, "stn"):
            write(variant, 60.0, backbone)
    verdict = accuracy_verdicts.pattern_verdict(6)
    assert verdict.startswith("**Open") and "nan" not in verdict


def test_the_readme_counts_the_backbones_in_which_a_transformer_is_ahead():
    assert "0 of 28" in accuracy_verdicts.ahead_in_words(6)
    for backbone, tests in {"effb0": (50.0, 51.0, 52.0), "effb1": (50.0, 49.0, 48.0)}.items():
        for variant, test in zip((ORIGINAL, "stn", "lstn"), tests):
            write(variant, test, backbone, outside=100.0 * (variant == "stn" and backbone == "effb1"))
    text = accuracy_verdicts.ahead_in_words(6)
    assert re.findall(r"\d+ of \d+", text) == ["1 of 2", "1 of 2", "6 of 28"] and "collapsed" in text
