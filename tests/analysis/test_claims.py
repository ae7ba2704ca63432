"""The page of the claims: each verdict is computed from the numbers, and changes when the numbers change."""

import re

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from helpers import write_run
from test_accuracy import write as write_once

from stn_paper.analysis import author_runs, claims, cost_tables, paper, statistics
from stn_paper.analysis.claims import costs, verdicts
from stn_paper.analysis.claims.verdicts import (
    AGREES,
    DISAGREES,
    MISPRINT,
    NOT_REPRODUCED,
    OPEN,
    RELEASE_FILE,
    REPRODUCED,
    VERDICTS,
)
from stn_paper.models import ORIGINAL
from stn_paper.paths import ROOT
from stn_paper.report import claims_page

pytestmark = pytest.mark.usefixtures("costs")


@pytest.fixture
def printed(monkeypatch):
    """Return a function that changes a cell of a printed table during the test."""
    as_printed, changed = paper.table, {}

    def change(number, column, value, **where):
        table = changed.setdefault(number, as_printed(number).copy())
        rows = (table[list(where)] == pd.Series(where)).all(axis=1)
        assert rows.any()
        table.loc[rows, column] = value

    def table(number):
        return changed[number] if number in changed else as_printed(number)

    monkeypatch.setattr(paper, "table", table)
    monkeypatch.setattr(author_runs, "table", table)
    return change


def found(quote):
    (claim,) = [c for c in claims.CLAIMS if quote in c.quote]
    return claim.check()


def test_every_claim_has_a_verdict_a_number_and_a_source():
    table = claims.as_table()
    assert len(table) == len(claims.CLAIMS) == 52
    assert set(table["Verdict"]) <= set(VERDICTS)
    assert table["The numbers"].str.contains(r"\d").all()
    assert not table["The numbers"].str.contains("nan").any()
    assert (table["From"] != "").all()
    assert len({(c.where, c.quote) for c in claims.CLAIMS}) == len(claims.CLAIMS)


def test_each_section_shows_its_claims_under_their_numbers():
    tables = [claims.as_table(section) for section in verdicts.SECTIONS]
    assert [i for table in tables for i in table.index] == [*range(1, len(claims.CLAIMS) + 1)]
    assert all(len(table) for table in tables)


def test_the_counts_add_up():
    table = claims.as_table()
    counts = claims.count_verdicts(table)
    assert list(counts) == list(VERDICTS) and list(counts.index) == list(verdicts.SECTIONS)
    assert counts.sum().to_dict() == {v: (table["Verdict"] == v).sum() for v in VERDICTS}


def test_the_page_of_claims_has_a_line_an_anchor_and_links_for_each():
    pages = {
        section: BeautifulSoup(claims_page.claim_lines(section).data, "html.parser")
        for section in verdicts.SECTIONS
    }
    lines = [line for page in pages.values() for line in page.select("details.claim")]
    anchors = {line.div["id"] for line in lines}
    assert len(lines) == len(anchors) == len(claims.CLAIMS)
    filters = BeautifulSoup(claims_page.verdict_filter().data, "html.parser").select("input[name=verdict]")
    chosen = {one["value"] for one in filters} - {"all"}
    assert {line["data-verdict"] for line in lines} <= chosen and len(chosen) == len(VERDICTS)
    for line, source in zip(lines, claims.as_table()["From"]):
        *places, own = [link["href"] for link in line.select("a")]
        assert own == f"#{line.div['id']}"
        tables = re.findall(r"\d", " ".join(re.findall(r"Tables? ([\d, and]+)", source)))
        assert {f"table{n}.html" for n in tables} <= {*places}
        assert ("release.html" in places) == (RELEASE_FILE in source)


def test_the_answer_counts_every_claim_once():
    every, *parts = map(int, re.findall(r"\d+", claims_page.claims_verdict()))
    assert every == len(claims.CLAIMS) == sum(parts)
    assert parts[:2] == claims.count_verdicts().sum()[[REPRODUCED, NOT_REPRODUCED]].tolist()


def test_claims_on_printed_gains_name_the_number_of_bypassed_runs():
    table = claims.as_table()
    gains = table[
        table["The numbers"].str.contains("points") & table["The numbers"].str.contains("Table [68]")
    ]
    assert len(gains) >= 10
    assert gains["The numbers"].str.contains(r"Of the \d+ released cells .* \d+ bypass").mean() > 0.9


@pytest.mark.parametrize(
    "quote, verdict, numbers",
    [
        ("from 60.83% to 69.25%", MISPRINT, ["60.83", "69.83", "+3.84", "4.42"]),
        ("3 out of 7 models", DISAGREES, ["4 of the 8"]),
        ("well above 98%", DISAGREES, ["13 of 14"]),
        ("Training Error", MISPRINT, ["96.69 to 100.00", "6 of 6"]),
        ("2⁴ times FLOPS", NOT_REPRODUCED, ["4.14", "4.31", "24.1"]),
        ("saving two thirds", REPRODUCED, ["0.322", "0.06 %"]),
        ("(H × W × C) × 32 + 192", DISAGREES, ["38 more"]),
        ("4000 data were kept", OPEN, ["5,998", "166 fewer than 6,164"]),
        ("about 75%", REPRODUCED, ["8,677", "72.3 %"]),
        ("L-STN leads", DISAGREES, ["7 of 7", "8 of 8", "4 of 7", "5 of 8"]),
        ("73.25 72.08", MISPRINT, ["59,266,444", "99,446,653"]),
        ("86.17 90.28", MISPRINT, ["90.65"]),
        ("Most models have 1% to 3%", AGREES, ["3 of 7", "5 of 7"]),
        ("Total 3690", REPRODUCED, ["3,194", "3,032", "3,690"]),
        ("36+16", MISPRINT, ["3,706", "3,690"]),
        ("three 3 x 3 convolutions take 27", REPRODUCED, ["27", "49", "45 %", "+18 %"]),
        ("parameter by half", AGREES, ["112 + 8 + 40 + 16 = 176", "224"]),
        ("Batch Normalization is", OPEN, ["17 of 17", "6.5 %"]),
        ("about 50 images", NOT_REPRODUCED, ["39 of 101", "70 have 30 to 70", "median is 59", "31 to 800"]),
        ("58 categories", DISAGREES, ["10 outputs", "58 classes", "14 of 14 rows", "AlexNet behind an STN"]),
        ("DenseNet-120", MISPRINT, ["10 of 14 names"]),
        ("decoder and encoder", NOT_REPRODUCED, ["0.0224", "0.0249"]),
        ("20 for smaller models", DISAGREES, ["60 of 60", "20 is ResNet-152 (59.0", "10 is EfficientNet-b0"]),
        ("learning rate", AGREES, ["60 of 60", "0.25 points", "30 to 400"]),
        ("inverted bottleneck", REPRODUCED, ["16 of 16", "3.4 times"]),
        ("some smaller models", AGREES, ["4 of 22", "0.70"]),
        ("a much greater performance leap", DISAGREES, ["4 of 8", "16 released", "12 bypass"]),
        ("strongly related", AGREES, ["0.98", "0.01", "24 released", "18 bypass"]),
        ("1% better overall", AGREES, ["5 of 8"]),
        ("less parameters and computational", NOT_REPRODUCED, ["10 of 10", "0 of 10", "0.06 %"]),
    ],
)
def test_what_the_paper_prints_today(quote, verdict, numbers):
    finding = found(quote)
    assert finding.verdict == verdict
    assert [text for text in numbers if text not in finding.evidence] == []


def cell(model, variant):
    return {"model": model, "variant": variant}


B3 = cell("EfficientNet-b3", "stn")
DENSENET = cell("DenseNet-121", "lstn")


@pytest.mark.parametrize(
    "quote, before, after, change",
    [
        ("from 60.83% to 69.25%", MISPRINT, AGREES, (6, "test", "69.25", B3)),
        ("No single model", AGREES, DISAGREES, (6, "test", "60.82", B3)),
        ("All models performed better", AGREES, DISAGREES, (6, "test", "60.00", {"variant": "vstn"})),
        ("well above 98%", DISAGREES, AGREES, (4, ["training", "validation"], "99.50", {"model": "AlexNet"})),
        ("some smaller models", AGREES, DISAGREES, (4, "validation", "99.00", {})),
        ("still tops all", AGREES, DISAGREES, (8, "test", "99.00", cell("ResNet-18", "lstn"))),
        ("86.17 90.28", MISPRINT, AGREES, (8, "validation", "90.65", DENSENET)),
        (
            "Parameters of GFLOPS",
            REPRODUCED,
            NOT_REPRODUCED,
            (9, "gflops", "0.0793", cell("ResNet-18", "lstn")),
        ),
        ("Total 3690", REPRODUCED, NOT_REPRODUCED, (3, "parameters", "3691", {"parameters": "3690"})),
        ("parameter by half", AGREES, DISAGREES, (2, "parameters", "200", {"parameters": "224"})),
        ("Batch Normalization is", OPEN, DISAGREES, (3, "parameters", "56", {"output": "112 x 112 x 8"})),
        ("the best performing model", AGREES, DISAGREES, (6, "test", "79.00", cell("ResNet-50", "stn"))),
        ("1% better overall", AGREES, DISAGREES, (8, "test", "80.00", {"variant": "lstn"})),
        (
            "EfficientNet models are inferior",
            AGREES,
            DISAGREES,
            (6, "test", "74", cell("EfficientNet-b0", ORIGINAL)),
        ),
    ],
)
def test_a_verdict_turns_with_the_printed_numbers(printed, quote, before, after, change):
    assert found(quote).verdict == before
    number, column, value, where = change
    printed(number, column, value, **where)
    assert found(quote).verdict == after


@pytest.mark.parametrize(
    "column, more, saved", [("parameters", 1, REPRODUCED), ("gflops", 0.01, NOT_REPRODUCED)]
)
def test_a_wrong_cost_of_ours_shows(monkeypatch, column, more, saved):
    read = cost_tables.read_costs

    def wrong(number):
        costs = read(number).copy()
        costs[column] += more
        return costs

    monkeypatch.setattr(cost_tables, "read_costs", wrong)
    assert costs.check_costs(9).verdict == NOT_REPRODUCED
    assert found("saving two thirds").verdict == saved


def count_files(folder, same_name, alone):
    """Store counts of TSRD's files: names in both archives, and files without a copy."""
    (folder / "results/copies").mkdir(parents=True, exist_ok=True)
    row = f"tsrd,{6164 - same_name},{same_name},2425,{alone}"
    (folder / "results/copies/files.csv").write_text(f"dataset,images,same_name,contents,alone\n{row}\n")


@pytest.mark.parametrize(
    "same_name, alone, verdict",
    [(166, 0, NOT_REPRODUCED), (166, 5998, REPRODUCED), (165, 5999, NOT_REPRODUCED)],
)
def test_copies_that_are_counted_decide(tmp_path, same_name, alone, verdict):
    count_files(tmp_path, same_name, alone)
    finding = found("4000 data were kept")
    assert finding.verdict == verdict and f"{same_name} file names" in finding.evidence


def tsrd(tests, without, protocol="small", networks=14):
    """Store runs of Table 4's first networks with these accuracies on all test images and on images without a copy."""
    for backbone in paper.table(4)["backbone"][:networks]:
        write_once(ORIGINAL, tests, backbone, "tsrd", protocol, without=without)


@pytest.mark.parametrize(
    "tests, without, protocol, networks, verdict",
    [
        (50.0, 50.0, "small", 7, DISAGREES),  # half of the networks: the printed numbers decide
        (99.5, 99.0, "small", 14, REPRODUCED),
        (99.5, 80.0, "small", 14, DISAGREES),  # runs on smaller images decide nothing: the printed numbers do
        (99.5, 80.0, "equal", 14, NOT_REPRODUCED),
        (98.0, 80.0, "equal", 14, NOT_REPRODUCED),
    ],
)
def test_runs_on_tsrd_judge_well_above_98(tests, without, protocol, networks, verdict):
    tsrd(tests, without, protocol, networks)
    assert found("well above 98%").verdict == verdict


def test_only_runs_at_the_papers_size_judge_whether_the_largest_is_the_best():
    quote = "not model with the most parameters"
    tsrd(90.0, 60.0)
    write_once(ORIGINAL, 99.0, "resnet152", "tsrd", without=99.0)  # the network with the most parameters
    assert found(quote).verdict == AGREES
    tsrd(90.0, 60.0, "equal")
    write_once(ORIGINAL, 99.0, "resnet152", "tsrd", "equal", without=99.0)
    assert found(quote).verdict == NOT_REPRODUCED
    write_once(ORIGINAL, 50.0, "resnet152", "tsrd", "equal", without=50.0)
    assert found(quote).verdict == REPRODUCED


def test_classes_of_another_size_turn_a_verdict(monkeypatch):
    for images, verdict in ((50, REPRODUCED), (61, NOT_REPRODUCED)):
        monkeypatch.setattr(paper, "caltech101_classes", lambda images=images: pd.Series([images] * 101))
        assert found("about 50 images").verdict == verdict


def test_a_claim_on_all_needs_all_and_most_is_more_than_half():
    assert verdicts.by_tables([True, True], True) == AGREES
    assert verdicts.by_tables([True, False]) == DISAGREES
    assert verdicts.by_ours(pd.Series([True]), False) == NOT_REPRODUCED
    assert [verdicts.is_most(c) for c in ([True, True, False], [True, False])] == [True, False]


def test_numbers_are_told_and_read_as_they_stand():
    assert verdicts.named_range(pd.Series({"a": 2, "b": -1, "c": 3})) == "-1.00 (b) to +3.00 (c)"
    assert (statistics.range_text([162, 162]), statistics.range_text([1200, 3])) == ("162", "3 to 1,200")
    assert verdicts.numbers_in("60.83% of 60 (-4.42)") == [60.83, 60, 4.42]
    cells = verdicts.printed_accuracies(6)
    assert list(cells.index) == list(paper.table(6)["model"].unique())
    assert list(cells) == [ORIGINAL, "stn", "vstn", "lstn"]


# --- what only trainings decide ---

TABLE6 = [f"effb{i}" for i in range(6)] + ["resnet50"]
BENEFIT = "models do benefit"
COLLAPSED = {"theta": {"mean": [1.0, 0, 9.0, 0, 1.0, 9.0], "std": [0.0] * 6, "outside": 100.0}}


def runs_of(backbones, gain, protocol, variant="stn", against=ORIGINAL, seeds=3):
    for backbone in backbones:
        for seed in range(seeds):
            write_run(against, seed, 70.0 + seed, backbone, protocol=protocol)
            write_run(variant, seed, 70.0 + seed + gain + 0.01 * seed, backbone, protocol=protocol)


@pytest.mark.parametrize(
    "backbones, gain, protocol, verdict",
    [
        (TABLE6[:3], 5.0, "equal", OPEN),  # three of seven networks
        (TABLE6[:4], 5.0, "equal", REPRODUCED),
        (TABLE6, 5.0, "paper", REPRODUCED),
        (TABLE6, -5.0, "equal", NOT_REPRODUCED),
        (TABLE6, 0.0, "equal", NOT_REPRODUCED),
        (TABLE6, 5.0, "reduced", OPEN),  # not at the paper's scale
        (["resnet18", "resnet34", "densenet121", "resnet101"], 5.0, "equal", OPEN),  # no networks of Table 6
    ],
)
def test_more_than_half_of_the_networks_decide(backbones, gain, protocol, verdict):
    runs_of(backbones, gain, protocol)
    assert found(BENEFIT).verdict == verdict


def test_two_seeds_decide_nothing_and_other_variants_do_not_count():
    runs_of(TABLE6, 5.0, "equal", seeds=2)
    assert found(BENEFIT).verdict == OPEN
    runs_of(TABLE6, 5.0, "equal", variant="vstn")
    assert found(BENEFIT).verdict == OPEN


@pytest.mark.parametrize(
    ("quote", "without"),
    [("Batch Normalization is very", "lstn-no-bn"), ("the concentration mechanism", "lstn-no-1x1")],
)
@pytest.mark.parametrize(
    ("gain", "spread", "seeds", "verdict"),
    [
        (3, 0.1, 3, REPRODUCED),
        (-3, 0.1, 3, NOT_REPRODUCED),
        (0.001, 0.1, 3, NOT_REPRODUCED),  # both are equal
        (1, 3.0, 3, OPEN),  # neither a difference nor equality is shown
        (3, 0.1, 2, OPEN),
    ],
)
def test_a_part_of_lstn_is_judged_by_runs_without_it(quote, without, gain, spread, seeds, verdict):
    for seed in range(seeds):
        for variant, test in (("lstn", 90.0 + gain), (without, 90.0)):
            write_run(variant, seed, test + spread * (seed - 1), "mnist-cnn-400k", "mnist-rts", "system")
    assert found(quote).verdict == verdict


def test_lstn_is_compared_with_stn():
    runs_of(TABLE6, 3.0, "paper", variant="lstn", against="stn")
    assert found("seamlessly replace").verdict == REPRODUCED


ORDER = [NOT_REPRODUCED, DISAGREES, OPEN, REPRODUCED]


@pytest.mark.parametrize("row", [{}, COLLAPSED, {"train_loss": 4.6}])
def test_a_verdict_never_improves_when_a_network_gets_worse(row):
    runs_of(TABLE6[:5], 5.0, "equal")
    before = [found(BENEFIT).verdict]
    for backbone in TABLE6[:5]:
        for seed in range(3):
            write_run("stn", seed, 30.0 + seed, backbone, protocol="equal", row=row)
            before.append(found(BENEFIT).verdict)
    ranks = [ORDER.index(verdict) for verdict in before]
    assert ranks == sorted(ranks, reverse=True)
    assert (before[0], before[-1]) == (REPRODUCED, NOT_REPRODUCED)


@pytest.mark.parametrize("protocol", ["small", "equal"])
def test_no_verdict_on_tsrd_improves_when_a_network_gets_worse(protocol):
    tsrd(99.9, 99.9, protocol)
    ranks = []
    for without in (99.9, 98.0, 50.0):
        write_once(ORIGINAL, 99.9, "resnet18", "tsrd", protocol, without=without)
        ranks.append(ORDER.index(found("well above 98%").verdict))
    assert ranks == sorted(ranks, reverse=True) and ranks[0] > ranks[-1]


# --- what the author released ---


def test_every_cell_of_tables_4_6_and_8_has_its_notebook():
    for number in (4, 6, 8):
        cells = author_runs.released_cells(number)
        assert len(cells) == len(paper.table(number)) and cells["notebook"].is_unique


def test_rules_of_selection_are_counted_over_all_cells():
    view = author_runs.count_rules()
    assert list(view["both"]) == [23, 25, 4, 6, 2, 60]
    assert (view.iloc[:-1].sum() == view.iloc[-1]).all()


def test_a_rule_is_the_first_that_fits(printed):
    where = {"model": "EfficientNet-b0", "variant": ORIGINAL}
    assert author_runs.matching_rules(6).iloc[0] == author_runs.OF_FIVE
    printed(6, "test", "69.92", **where)
    assert author_runs.matching_rules(6).iloc[0] == author_runs.AT_BEST
    printed(6, "test", "12.34", **where)
    assert author_runs.matching_rules(6).iloc[0] == "other"


def test_released_budgets_grow_with_the_net_and_most_transformers_are_bypassed():
    view = author_runs.budgets().reset_index().query("Table.str.startswith('6')").set_index("Variant")
    assert view["Epochs run"].to_dict() == {
        "Original": "150 to 200",
        "STN": "250 to 350",
        "V-STN": "350 to 450",
        "L-STN": "400 to 500",
    }
    assert [author_runs.count_bypassed(author_runs.released_cells(n)) for n in (6, 8)] == [
        (21, 21),
        (18, 24),
    ]


def test_logs_of_another_network_are_named():
    assert "Table 6, EfficientNet-b5, V-STN" in author_runs.cells_of_other_networks().index
    _, _, chosen_by_test, logs = author_runs.release_totals()
    assert (chosen_by_test, logs) == (29, 58)


def test_the_source_of_what_was_released_is_stated():
    first = (ROOT / "stn_paper/analysis/printed/author_runs.csv").read_text().splitlines()[0]
    assert "hankshyu/STN-Network, commit 19eb1b2, BSD-3-Clause" in first
