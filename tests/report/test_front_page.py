"""The front page: comparisons of L-STN with STN by seed, collapsed runs left out, and the numbers in its sentences."""

import re

import nbformat
from helpers import write_run

from stn_paper.analysis import effects, statistics
from stn_paper.analysis.paper import table
from stn_paper.paths import ROOT
from stn_paper.report import front_page


def test_the_papers_differences_are_those_of_its_tables():
    for number, one in front_page.network_gains("paper").items():
        printed = table(number).astype({"test": float}).pivot(index="model", columns="variant", values="test")
        assert sorted(one.values.round(2)) == sorted((printed["lstn"] - printed["stn"]).round(2))


def test_our_networks_need_both_runs_and_no_collapse(costs):
    theta = {"mean": [1, 0, 0, 0, 1, 0], "std": [0.1] * 6}
    for place, backbone in enumerate(("effb0", "effb1", "effb2", "resnet50")):
        outside = 100.0 if backbone == "resnet50" else 0.0
        write_run("stn", 0, 50.0, backbone, protocol="small", row={"theta": theta | {"outside": outside}})
        write_run("lstn", 0, 51.0 + place, backbone, protocol="small")
    write_run("lstn", 0, 99.0, "effb3", protocol="small")  # STN's run is missing
    (one,) = front_page.network_gains("ours").values()
    assert one.values.to_dict() == {"effb0": 1.0, "effb1": 2.0, "effb2": 3.0} and "3 of 7" in one.label
    # Student's t with 2 degrees of freedom: 4.3027 * 1 / sqrt(3)
    assert (one.mean, round(one.half, 3)) == (2.0, 2.484)
    text = front_page.lstn_answers()["answer_accuracy"]
    assert {"+2.00", "2.48", "+3.44"} <= set(re.findall(r"[+-]?\d+\.\d+", text)) and "no gain" in text
    for backbone in ("effb0", "effb1", "effb2"):
        write_run("lstn", 1, 62.0, backbone, protocol="small")
        write_run("stn", 1, 50.0, backbone, protocol="small")
    assert "Caltech-101, 3 of 7 networks" in front_page.lstn_answers()["answer_accuracy"].split("**")[1]


def test_a_collapsed_run_is_left_out_and_counted():
    theta = {"mean": [1, 0, 0, 0, 1, 0], "std": [0.1] * 6}
    for seed in range(4):
        outside = 100.0 if seed == 3 else 0.0
        write_run("stn", seed, 50.0 - outside / 4, row={"theta": theta | {"outside": outside}})
        write_run("lstn", seed, 51.0 + seed, row={"theta": theta | {"outside": 0.0}})
    (one,) = front_page.our_gains(front_page.lstn_comparisons())
    assert one.values.tolist() == [1.0, 2.0, 3.0, 4.0] and (one.collapsed, one.runs) == (1, 8)
    figure = front_page.gains_plot()
    assert "1 of 8" in figure.axes[0].get_yticklabels()[-1].get_text()


def test_studies_that_cannot_be_compared_are_counted():
    theta = {"mean": [1, 0, 0, 0, 1, 0], "std": [0.1] * 6, "outside": 100.0}
    for seed in range(3):
        for variant in ("stn", "lstn"):
            write_run(variant, seed, 50.0 + seed, "resnet18")
            write_run(variant, seed, 50.0, "resnet50", row={"theta": theta})
            write_run(variant, seed, 50.0, "effb0")
        write_run("original", seed, 1.0, "effb0", row={"train_loss": 9.0})
    rows = front_page.lstn_comparisons()
    assert rows.set_index("backbone")["enough"].to_dict() == {
        "resnet18": True,
        "resnet50": False,
        "effb0": False,
    }
    assert len(front_page.our_gains(rows)) == 1
    assert front_page._left_out(rows).count("in 1,") == 2


def test_a_comparison_needs_three_pairs():
    for seed in range(2):
        write_run("stn", seed, 50.0)
        write_run("lstn", seed, 51.0)
    assert front_page.our_gains(front_page.lstn_comparisons()) == []


def test_the_answer_counts_what_is_shown():
    for backbone, gain in (("resnet18", 5.0), ("resnet50", -5.0), ("effb0", 0.0)):
        for seed in range(3):
            write_run("stn", seed, 50.0 + seed, backbone)
            write_run("lstn", seed, 50.0 + seed + gain + 0.1 * (-1) ** seed, backbone)
    assert front_page.count_gains(front_page.our_gains(front_page.lstn_comparisons())) == (1, 1, 1, 3)


def test_the_answer_corrects_for_all_comparisons():
    """Each comparison shows a difference alone; of three such comparisons together, none does."""
    for backbone in ("resnet18", "resnet50", "effb0"):
        for seed, noise in enumerate((-1.0, 0.0, 1.0)):
            write_run("stn", seed, 50.0 + noise, backbone)
            write_run("lstn", seed, 53.0 - noise, backbone)
    (alone, *_) = effects.comparisons("caltech101", "effb0", "reduced").itertuples()
    assert alone.shown == statistics.BETTER and 3 * alone.p > statistics.LEVEL
    assert front_page.count_gains(front_page.our_gains(front_page.lstn_comparisons())) == (0, 0, 0, 3)


def test_the_page_names_every_fact_and_no_other(committed):
    cells = nbformat.read(ROOT / "notebooks/index.ipynb", as_version=4).cells
    text = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert set(re.findall(r"\{glue:md\}`(\w+)`", text)) == front_page.front_page_texts().keys()
