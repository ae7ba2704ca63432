"""The claims' page: each verdict follows the numbers, and turns when they do."""

import re

import pandas as pd
import pytest
from helpers import write_run
from test_accuracy import write as write_once

from stn_paper.analysis import authors_runs, claims, cost_tables, paper
from stn_paper.analysis.claims import accuracy, networks, verdicts
from stn_paper.analysis.claims.verdicts import FAILS, HOLDS, PART, UNTESTED, VERDICTS
from stn_paper.models import ORIGINAL
from stn_paper.paths import ROOT


@pytest.fixture(autouse=True)
def measured(tmp_path):
    """Our costs, and no run records but those that a test writes."""
    (tmp_path / "results").mkdir(exist_ok=True)
    (tmp_path / "results/costs.csv").write_text((ROOT / "results/costs.csv").read_text())


@pytest.fixture
def printed(monkeypatch):
    """A function that changes a cell of a printed table for the test."""
    as_printed, changed = paper.table, {}

    def change(number, column, value, **where):
        table = changed.setdefault(number, as_printed(number).copy())
        rows = (table[list(where)] == pd.Series(where)).all(axis=1)
        assert rows.any()
        table.loc[rows, column] = value

    def table(number):
        return changed[number] if number in changed else as_printed(number)

    monkeypatch.setattr(paper, "table", table)
    monkeypatch.setattr(authors_runs, "table", table)
    return change


def found(quote):
    (claim,) = [c for c in claims.CLAIMS if quote in c.quote]
    return claim.check()


def test_every_claim_has_a_verdict_a_number_and_a_source():
    table = claims.as_table()
    assert len(table) == len(claims.CLAIMS) >= 25
    assert set(table["Verdict"]) <= set(VERDICTS)
    assert table["The numbers"].str.contains(r"\d").all()
    assert not table["The numbers"].str.contains("nan").any()
    assert (table["From"] != "").all()
    assert len({(c.where, c.quote) for c in claims.CLAIMS}) == len(claims.CLAIMS)


def test_each_section_shows_its_claims_under_their_numbers():
    tables = [claims.as_table(section) for section in verdicts.SECTIONS]
    assert [i for table in tables for i in table.index] == [*range(1, len(claims.CLAIMS) + 1)]
    assert all(len(table) for table in tables)


def test_the_summary_adds_up():
    summary = claims.summary()
    assert (summary[[*VERDICTS]].sum(axis=1) == summary["claims"]).all()
    assert summary.loc["All", "claims"] == len(claims.CLAIMS) == summary["claims"].iloc[:-1].sum()
    assert (summary.iloc[:-1].sum() == summary.loc["All"]).all()


def test_the_verdict_in_words_counts_the_same():
    words = claims.verdict()
    for verdict, number in claims.summary().loc["All", [*VERDICTS]].items():
        assert f"{number} “{verdict}”" in words.splitlines()[0]


@pytest.mark.parametrize(
    "quote, verdict, evidence",
    [
        ("from 60.83% to 69.25%", PART, ["60.83 and 69.83", "69.25 is also in the released log"]),
        ("4.42% increase", FAILS, ["+3.84", "+4.42"]),
        ("over 8 percent", HOLDS, ["+9.00"]),
        ("3 out of 7 models", FAILS, ["8 models", "4 gain less"]),
        ("no model has a performance leap over 0.5%", HOLDS, ["+0.41 (EfficientNet-b0)"]),
        ("well above 98%", PART, ["13 of 14", "AlexNet has 96.69 and 98.10"]),
        ("Training Error", FAILS, ["96.69 to 100.00", "6 of 6 rows with a log"]),
        ("2⁴ times FLOPS", FAILS, ["4.31"]),
        ("almost one third", HOLDS, ["0.322"]),
        ("(H × W × C) × 32 + 192", PART, ["38 more"]),
        ("4000 data were kept", UNTESTED, ["5,998", "166 fewer than 6,164"]),
        ("about 75%", PART, ["72.3 %"]),
        ("L-STN leads", PART, ["7 of 7", "8 of 8", "4 of 7", "5 of 8"]),
        ("73.25 72.08", FAILS, ["59,266,444", "99,446,653"]),
        ("86.17 90.28", FAILS, ["90.65"]),
        ("Most models have 1% to 3%", PART, ["3 of 7", "5 of 7"]),
        ("Total 3690", PART, ["3,706"]),
        ("Batch Normalization is", PART, ["17 of 17", "6.5 % of the net's", "Effective is not tested"]),
        ("about 50 images", PART, ["39 of 101", "70 have 30 to 70", "median is 59", "31 to 800"]),
        ("138 million parameters", PART, ["VGG-19 has 19 layers and 143.7", "VGG-16 has 138.4"]),
        ("58 categories", PART, ["10 outputs", "58 classes", "14 of 14 rows"]),
        ("DenseNet-120", PART, ["10 of 14 names", "DenseNet-118 costs what DenseNet-264 costs"]),
        ("4 times the size of the ordinary", HOLDS, ["4.14 times"]),
        ("decoder and encoder", FAILS, ["0.0224 GFLOPS in place of 0.0249"]),
        ("6164 traffic sign images", HOLDS, ["= 6,164: all of them"]),
        ("Each class has 6000", HOLDS, ["10 x 6,000 = 60,000"]),
        ("40000 is left", HOLDS, ["= 60,000: all of them"]),
        ("20 for smaller models", PART, ["60 of 60", "20 is ResNet-152 (59.0", "10 is EfficientNet-b0"]),
        ("learning rate", HOLDS, ["60 of 60"]),
        ("continuous 10 epochs", HOLDS, ["60 of 60", "0.25 points", "30 to 400"]),
    ],
)
def test_what_the_paper_prints_today(quote, verdict, evidence):
    finding = found(quote)
    assert finding.verdict == verdict
    assert [text for text in evidence if text not in finding.evidence] == []


def cell(model, variant):
    return {"model": model, "variant": variant}


B3 = cell("EfficientNet-b3", "stn")
DENSENET = cell("DenseNet-121", "lstn")
RESNET = cell("ResNet-18", "stn")


@pytest.mark.parametrize(
    "quote, before, after, change",
    [
        ("from 60.83% to 69.25%", PART, HOLDS, (6, "test", "69.25", B3)),
        ("4.42% increase", FAILS, HOLDS, (6, "test", "69.25", B3)),
        ("No single model", HOLDS, PART, (6, "test", "60.82", B3)),
        ("All models performed better", HOLDS, FAILS, (6, "test", "60.00", {"variant": "vstn"})),
        ("well above 98%", PART, HOLDS, (4, ["training", "validation"], "99.50", {"model": "AlexNet"})),
        ("no model has a performance leap", HOLDS, PART, (8, "test", "88.00", cell("ResNet-18", "vstn"))),
        ("0.92% accuracy", HOLDS, PART, (8, "test", "87.29", cell("EfficientNet-b2", "stn"))),
        ("still tops all", PART, HOLDS, (8, "validation", "90.65", DENSENET)),
        ("86.17 90.28", FAILS, HOLDS, (8, "validation", "90.65", DENSENET)),
        ("almost one third", HOLDS, PART, (9, "gflops", "0.0793", cell("ResNet-18", "lstn"))),
        ("Total 3690", PART, HOLDS, (3, "parameters", "36+8", {"parameters": "36+16"})),
        ("Total 3032", HOLDS, PART, (2, "parameters", "225", {"parameters": "224"})),
        ("Batch Normalization is", PART, FAILS, (3, "parameters", "56", {"output": "112 x 112 x 8"})),
        ("Pooling layers", HOLDS, PART, (1, "parameters", "8", {"output": "109 x 109 x 8"})),
        ("the best performing model", HOLDS, PART, (6, "test", "79.00", cell("ResNet-50", "stn"))),
        ("will be the same", HOLDS, PART, (9, "parameters", "868705", RESNET)),
        ("followed by a 5 x 5", HOLDS, FAILS, (1, "filter", "3 x 3 x 8 x 10", {"output": "105 x 105 x 10"})),
        ("over 40 percent", PART, HOLDS, (1, "parameters", "2400", {"parameters": "1184"})),
        ("receptive field", HOLDS, PART, (2, "output", "104 x 104 x 10", {"output": "105 x 105 x 10"})),
        ("remains unchanged", HOLDS, FAILS, (2, "filter", "3 x 3 x 8 x 8", {"output": "109 x 109 x 8"})),
        ("replacing the pooling", HOLDS, PART, (3, "parameters", "3100", {"parameters": "3690"})),
        ("parameter by half", HOLDS, FAILS, (2, "parameters", "225", {"parameters": "224"})),
        ("close to EfficientNet-b1", HOLDS, FAILS, (5, "gflops", "9.9", cell("EfficientNet-b2", ORIGINAL))),
        ("All models decrease", HOLDS, PART, (5, "gflops", "0.1", cell("EfficientNet-b0", "vstn"))),
        ("V-STN brings lower", HOLDS, PART, (9, "gflops", "0.0873", cell("ResNet-18", "vstn"))),
        ("L-STN has slightly", HOLDS, PART, (9, "parameters", "960000", cell("ResNet-18", "lstn"))),
        ("identical input resolution", HOLDS, PART, (9, "gflops", "0.0794", RESNET)),
        ("proportional", HOLDS, PART, (9, "gflops", "0.1", cell("EfficientNet-b0", "lstn"))),
        ("as the model scales", HOLDS, PART, (9, "parameters", "869200", cell("EfficientNet-b1", "lstn"))),
        ("bottleneck", PART, HOLDS, (5, "parameters", "4136929", cell("EfficientNet-b0", ORIGINAL))),
    ],
)
def test_a_verdict_turns_with_the_printed_numbers(printed, quote, before, after, change):
    assert found(quote).verdict == before
    number, column, value, where = change
    printed(number, column, value, **where)
    assert found(quote).verdict == after


@pytest.mark.parametrize("column, more, third", [("parameters", 1, HOLDS), ("gflops", 0.01, FAILS)])
def test_a_wrong_cost_of_ours_shows(monkeypatch, column, more, third):
    wrong = cost_tables.read_costs(9).copy()
    wrong[column] += more
    monkeypatch.setattr("stn_paper.analysis.cost_tables.read_costs", lambda number: wrong)
    assert networks.costs(9).verdict != HOLDS
    assert found("almost one third").verdict == third


def count_files(folder, same_name, alone):
    """Store what was counted in TSRD's files: how many names stand in both archives, how many lack a copy."""
    (folder / "results/copies").mkdir(parents=True, exist_ok=True)
    row = f"tsrd,{6164 - same_name},{same_name},2425,{alone}"
    (folder / "results/copies/files.csv").write_text(f"dataset,images,same_name,contents,alone\n{row}\n")


@pytest.mark.parametrize(
    "same_name, alone, split, whole",
    [(166, 0, PART, HOLDS), (166, 5998, HOLDS, HOLDS), (165, 0, FAILS, HOLDS)],
)
def test_copies_that_are_counted_decide(tmp_path, same_name, alone, split, whole):
    count_files(tmp_path, same_name, alone)
    finding = found("4000 data were kept")
    assert finding.verdict == split and f"{same_name} file names" in finding.evidence
    assert found("6164 traffic sign images").verdict == whole


def tsrd(tests, without, protocol="small", networks=14):
    """Runs of Table 4's first networks with these accuracies on all test images and on those without a copy."""
    for backbone in paper.table(4)["backbone"][:networks]:
        write_once(ORIGINAL, tests, backbone, "tsrd", protocol, without=without)


@pytest.mark.parametrize(
    "tests, without, protocol, networks, verdict",
    [
        (50.0, 50.0, "small", 7, PART),  # half of the networks: the printed numbers decide
        (99.5, 99.0, "small", 14, PART),  # AlexNet's printed numbers do not reach it
        (99.5, 80.0, "small", 14, PART),
        (98.0, 80.0, "small", 14, UNTESTED),  # a smaller image cannot speak for the paper's
        (98.0, 80.0, "equal", 14, FAILS),
    ],
)
def test_runs_on_tsrd_judge_well_above_98(tests, without, protocol, networks, verdict):
    tsrd(tests, without, protocol, networks)
    assert found("well above 98%").verdict == verdict


def test_with_better_printed_numbers_copies_make_the_difference(printed):
    printed(4, ["training", "validation"], "99.50", model="AlexNet")
    assert found("well above 98%").verdict == HOLDS
    for without, verdict in ((99.5, HOLDS), (80.0, PART)):
        tsrd(99.5, without)
        assert found("well above 98%").verdict == verdict


def test_runs_on_tsrd_judge_size_and_accuracy():
    for quote in ("not model with the most parameters", "some smaller models"):
        assert found(quote).verdict == HOLDS
    for place, backbone in enumerate(paper.table(4)["backbone"]):
        write_once(ORIGINAL, 90.0 + 0.1 * place, backbone, "tsrd", without=60.0 + 0.1 * place)
    for quote in ("not model with the most parameters", "some smaller models"):
        assert "records of TSRD" in found(quote).source and "nan" not in found(quote).evidence
    assert "60.00 % on those without" in found("98.1%").evidence
    write_once(ORIGINAL, 99.0, "resnet152", "tsrd", without=99.0)  # the network with the most parameters
    assert found("not model with the most parameters").verdict == PART


def test_classes_of_another_size_turn_a_verdict(monkeypatch):
    for images, verdict in ((50, HOLDS), (61, PART)):
        monkeypatch.setattr(paper, "caltech101_classes", lambda images=images: pd.Series([images] * 101))
        assert found("about 50 images").verdict == verdict


def test_all_no_and_most():
    assert verdicts.judge([True, True]) == HOLDS
    assert verdicts.judge([True, True, False]) == PART
    assert verdicts.judge([True, False]) == FAILS
    assert [verdicts.parts(*p) for p in ([True], [True, False], [False, False])] == [HOLDS, PART, FAILS]


def test_numbers_are_told_and_read_as_they_stand():
    assert verdicts.span(pd.Series({"a": 2, "b": -1, "c": 3})) == "-1.00 (b) to +3.00 (c)"
    assert (verdicts.few([162, 162]), verdicts.few([1200, 3])) == ("162", "3 to 1,200")
    assert verdicts.numbers("60.83% of 60 (-4.42)") == [60.83, 60, 4.42]
    cells = verdicts.accuracies(6)
    assert list(cells.index) == list(paper.table(6)["model"].unique())
    assert list(cells) == [ORIGINAL, "stn", "vstn", "lstn"]


def runs_of(backbones, gain, protocol):
    for backbone in backbones:
        for seed in range(3):
            write_run(ORIGINAL, seed, 70.0 + seed, backbone, protocol=protocol)
            write_run("stn", seed, 70.0 + seed + gain + 0.01 * seed, backbone, protocol=protocol)


BENEFIT = "models do benefit"


def test_reduced_runs_are_told_and_decide_nothing():
    runs_of(["effb0"], 5.0, "reduced")
    finding = found(BENEFIT)
    assert finding.verdict == UNTESTED
    assert "decide nothing: STN against the network alone: EfficientNet-b0 +5.01" in finding.evidence


@pytest.mark.parametrize(
    "backbones, gain, verdict",
    [
        (["effb0"], 5.0, PART),
        ([f"effb{i}" for i in range(6)] + ["resnet50"], 5.0, HOLDS),
        (["effb0"], -5.0, FAILS),
        (["effb0"], -0.01, UNTESTED),
    ],
)
def test_runs_at_the_papers_scale_decide(backbones, gain, verdict):
    runs_of(backbones, gain, "equal")
    finding = found(BENEFIT)
    assert finding.verdict == verdict
    assert "`equal`" in finding.evidence


def test_runs_of_other_variants_and_networks_decide_nothing():
    runs_of(["resnet18"], 5.0, "equal")  # no network of Table 6
    for seed in range(3):
        write_run(ORIGINAL, seed, 70.0 + seed, "effb0", protocol="equal")
        write_run("vstn", seed, 75.0 + seed + 0.01 * seed, "effb0", protocol="equal")
    finding = found(BENEFIT)
    assert finding.verdict == UNTESTED and finding.evidence.startswith("0 of 7 networks")


def test_the_better_protocol_is_taken():
    runs_of(["effb0"], -5.0, "equal")
    runs_of(["effb0"], 5.0, "paper")
    assert "`paper`" in found(BENEFIT).evidence and found(BENEFIT).verdict == PART


def test_one_seed_decides_nothing():
    write_run(ORIGINAL, 0, 70.0, "effb0", protocol="paper")
    write_run("stn", 0, 75.0, "effb0", protocol="paper")
    assert found(BENEFIT).verdict == UNTESTED


def test_lstn_is_compared_with_stn():
    for seed in range(3):
        write_run("stn", seed, 70.0 + seed, "effb0", protocol="paper")
        write_run("lstn", seed, 73.0 + seed + 0.01 * seed, "effb0", protocol="paper")
    finding = accuracy.boost()
    assert finding.verdict == PART and "EfficientNet-b0 +3.01" in finding.evidence


def test_every_cell_of_tables_4_6_and_8_has_its_notebook():
    for number in (4, 6, 8):
        cells = authors_runs.runs(number)
        assert len(cells) == len(paper.table(number)) and cells["notebook"].is_unique


def test_rules_of_selection_are_counted_over_all_cells():
    view = authors_runs.selection()
    assert list(view["both"]) == [23, 25, 4, 6, 2, 60]
    assert (view.iloc[:-1].sum() == view.iloc[-1]).all()


def test_a_rule_is_the_first_that_fits(printed):
    where = {"model": "EfficientNet-b0", "variant": ORIGINAL}
    assert authors_runs.rules(6).iloc[0] == authors_runs.OF_FIVE
    printed(6, "test", "69.92", **where)
    assert authors_runs.rules(6).iloc[0] == authors_runs.BEST
    printed(6, "test", "12.34", **where)
    assert authors_runs.rules(6).iloc[0] == "other"


def test_budgets_and_unused_transformers():
    view = authors_runs.budgets().reset_index().query("Table.str.startswith('6')").set_index("Variant")
    assert view["Epochs run"].to_dict() == {
        "Original": "150 to 200",
        "STN": "250 to 350",
        "V-STN": "350 to 450",
        "L-STN": "400 to 500",
    }
    assert [authors_runs.unused(authors_runs.runs(n)) for n in (6, 8)] == [(21, 21), (18, 24)]


def test_logs_of_another_network_are_named():
    assert "Table 6, EfficientNet-b5, V-STN" in authors_runs.unlike().index
    assert re.search(r"58 cells with a log, 23 .* 29 .*; 6 match no rule", authors_runs.verdict())


def test_the_source_of_what_was_released_is_stated():
    first = (ROOT / "stn_paper/analysis/printed/author_runs.csv").read_text().splitlines()[0]
    assert "hankshyu/STN-Network, commit 19eb1b2, BSD-3-Clause" in first
