"""The tables of the book: every printed cost equals ours, and our accuracies come from records only."""

import re
from dataclasses import asdict, replace

import pytest
from helpers import write_run

from stn_paper.analysis import cost_tables, frame, grid, stability
from stn_paper.analysis.statistics import MISSING
from stn_paper.data.datasets import DATASETS
from stn_paper.paths import ROOT
from stn_paper.report import figures, front_page, protocol_page, tables
from stn_paper.training import records
from stn_paper.training.presets import PROTOCOLS, preset
from stn_paper.training.protocol import BEST_VALIDATION
from stn_paper.training.spec import RunSpec

TEST = tables.column_of_rule(BEST_VALIDATION)


def test_without_records_there_is_nothing_to_show():
    assert tables.mean_accuracies("caltech101", "reduced").empty
    assert MISSING in tables.protocol_heading("caltech101", "reduced").lower()


def test_table_4s_headings_are_those_of_the_released_logs(committed):
    notes = tables.misprints_table(4).query("Column == 'heading'").set_index("Printed")["Right"]
    assert [notes[f"{column} Error"] for column in ("Training", "Validation")] == [
        "Validation accuracy",
        "Test accuracy",
    ]
    assert "DenseNet-120 (is DenseNet-169)" in tables.costs_table(4, "parameters").index


def test_a_wrong_cost_is_not_called_exact(committed, monkeypatch):
    wrong = cost_tables.read_costs(5).copy()
    wrong.loc[0, "parameters"] += 1
    wrong.loc[1, "gflops"] += 0.002
    monkeypatch.setattr(cost_tables, "read_costs", lambda number: wrong)
    assert cost_tables.compare_costs(5)["exact"].sum() == 27
    assert re.findall(r"\d+ of \d+", tables.cost_verdict(5))[:2] == ["27 of 28", "27 of 28"]
    first = tables.costs_table(5, "parameters").iloc[0]["Original"]  # and is shown as it is
    assert int(first["ours"].replace(",", "")) == int(first["paper"].replace(",", "")) + 1


def test_the_originals_other_seeds_have_a_row_of_their_own_at_the_end():
    runs = ("original", 0, 40.0), ("original", 5, 90.0), ("lstn", 0, 39.0), ("lstn-released", 0, 41.0)
    for run in runs:
        write_run(*run)
    view = tables.mean_accuracies("caltech101", "reduced")[TEST]
    assert view.tolist() == [40.0, 39.0, 41.0, 90.0]
    assert (view.index[0][1], view.index[-1][1]) == ("Original", frame.SEED_CONTROL)


def test_a_run_with_other_settings_is_not_shown_under_the_protocols_name():
    write_run(
        "original", 0, 40.0, protocol=replace(preset("reduced", "caltech101", "original"), batch_size=21)
    )
    assert tables.mean_accuracies("caltech101", "reduced").empty


def test_mean_and_interval_over_seeds():
    for seed, test in enumerate((40.0, 42.0, 44.0)):
        write_run("original", seed, test)
    # Student's t with 2 degrees of freedom: 4.3027 * 2 / sqrt(3)
    view = tables.mean_accuracies("caltech101", "reduced")
    assert (view[TEST].item(), view["n"].item()) == (42.0, 3)
    assert view[f"{TEST} ±"].item() == pytest.approx(4.97, abs=0.005)


def test_networks_come_in_the_papers_order():
    for backbone, variant in (("timm/resnet10t", "stn"), ("resnet50", "lstn"), ("alexnet", "original")):
        write_run(variant, 0, 40.0, backbone=backbone)
    write_run("original", 0, 40.0, backbone="resnet50")
    first, *others = tables.mean_accuracies("caltech101", "reduced").index
    assert first == ("AlexNet", "Original")
    assert others == [("ResNet-50", "Original"), ("ResNet-50", "L-STN"), ("timm/resnet10t", "STN")]


def test_a_heading_says_where_the_images_are_not_the_official_files(committed):
    assert "JPEG" in tables.protocol_heading("cifar10", "reduced")
    assert "grey level" in tables.protocol_heading("mnist-rts", "system")
    assert "JPEG" not in tables.protocol_heading("caltech101", "reduced")


def test_a_heading_says_how_many_images_there_are():
    reduced, equal = (
        re.findall(r"\d[\d,]*\d", tables.protocol_heading("cifar10", p)) for p in ("reduced", "equal")
    )
    assert {"200", "2,000"} <= set(reduced) and not {"200", "2,000"} & set(equal)


def test_selection_bias_is_the_difference_of_the_two_rules():
    row = {"train_loss": 1.0, "validation_loss": 1.0, "test_loss": 1.0}
    epochs = [row | {"validation_accuracy": v, "test_accuracy": t} for v, t in [(60, 40), (59, 43), (1, 99)]]
    epochs += [row | {"validation_accuracy": 50, "test_accuracy": 30}] * 3
    write_run("original", 0, None, epochs=epochs)
    assert tables.mean_accuracies("caltech101", "reduced")["Selection bias"].tolist() == [3.0]
    assert "3.00" in protocol_page.selection_verdict()


PILOT = ("batch_size", "learning_rate", "max_epochs", "min_epochs")  # settings that pilot runs varied


def test_committed_records_are_named_by_their_settings(committed):
    paths = sorted((ROOT / "results").glob("*/*_seed*.json"))
    assert paths
    # runs with fewer steps than their protocol
    shorter = set(stability.start_names()) | {spec.name for spec in grid.padding_specs()}
    for path in paths:
        record = records.read_record(path)
        spec = record["spec"]
        assert records.record_path(records.spec_of(record)) == path
        if path.stem in shorter:
            continue
        if spec["protocol"]["name"] in PROTOCOLS and spec["protocol"]["name"] != "smoke":
            named = preset(spec["protocol"]["name"], spec["dataset"], spec["variant"], spec["backbone"])
            free = ("precision", *(PILOT if named.name == "small" else ()))  # --precision may change it
            named = replace(named, **{field: spec["protocol"][field] for field in free})
            assert asdict(named) == spec["protocol"]
            again = RunSpec(spec["dataset"], spec["backbone"], spec["variant"], named, spec["seed"])
            assert records.record_path(again) == path


def test_protocols_table_shows_the_settings():
    view = protocol_page.protocol_settings("caltech101")
    assert view.loc["Epochs at most", "paper"] == "200 / 280 / 350 / 400"
    assert view.loc["Image size", "reduced"] == 64
    assert view.loc["Selection", "paper"] == "best-of-five"


def test_a_dataset_shows_the_settings_that_are_its_own():
    cifar10, gtsrb = (protocol_page.protocol_differences(name, "caltech101") for name in ("cifar10", "gtsrb"))
    assert cifar10.loc["Epochs at most", ["paper", "equal"]].tolist() == ["120 / 120 / 300 / 360", "15"]
    assert cifar10.loc["Batch", "paper"] == 20 and "Normalization" not in cifar10.index
    assert set(gtsrb.loc["Normalization"]) == {"imagenet"} and "Batch" not in gtsrb.index
    assert protocol_page.protocol_differences("tsrd", "caltech101").loc["Normalization"].tolist() == (
        ["imagenet"] * len(protocol_page.protocol_differences("tsrd", "caltech101").columns)
    )


def test_every_dataset_of_a_smaller_system_shows_its_settings(committed):
    view = protocol_page.system_settings()
    assert view.loc[
        ["Optimizer", "Epochs at most", "Validation images held out"], "CIFAR-10: Small CNN"
    ].tolist() == (["sgd", "50", 1000])
    specs = [record["spec"] for record in frame.records_by_name().values()]
    trained = {spec["dataset"] for spec in specs if spec["protocol"]["name"] == "system"}
    assert {DATASETS[name].title for name in trained} <= {column.split(": ")[0] for column in view}


def test_readme_shows_the_current_findings_as_a_markdown_table(committed):
    findings = front_page.findings()
    table = front_page.as_markdown(findings)
    assert table in (ROOT / "README.md").read_text(), "run: python -m stn_paper readme"
    assert [line.count("|") for line in table.splitlines()] == [4] * (len(findings) + 2)


def test_readme_gives_the_current_answer(committed):
    text = (ROOT / "README.md").read_text()
    assert all(f"- {answer}" in text for answer in front_page.lstn_answers().values()), (
        "run: python -m stn_paper readme"
    )


def test_a_small_localization_net_costs_less():
    small = figures.cost_against_size_plot([32, 64]).axes[0]
    stn, _, lstn = (line.get_ydata()[-1] for line in small.lines)
    assert lstn < stn


def test_small_runs_are_judged_by_their_training_accuracy():
    text = protocol_page.small_training_in_words()
    assert "ResNet-50" in text and "%" not in text  # no run at all
    for backbone, accuracy in (("effb0", 80.0), ("effb1", 61.0)):
        write_run("stn", 0, 50.0, backbone, protocol="small", row={"train_accuracy": accuracy})
    write_run("lstn-released", 0, 1.0, "effb2", protocol="small")  # in no table
    text = protocol_page.small_training_in_words()
    assert "2 runs" in text and "STN with EfficientNet-b1" in text and "61.0 %" in text
    assert (
        "EfficientNet-b2" in text.split("%")[1]
        and "EfficientNet-b1" not in text.split("%")[1].split(" on ")[0]
    )


def test_every_layer_of_the_localization_nets_agrees(committed):
    assert re.findall(r"\d+ of \d+", tables.layers_verdict())[:3] == ["28 of 28", "28 of 28", "3 of 3"]
