"""The page on other networks shows the numbers of the committed files."""

import json

import pandas as pd
import pytest

from stn_paper.paths import BENCHMARKS
from stn_paper.report import network_page


def test_failures_of_networks_are_shown(monkeypatch, tmp_path):
    columns = "network,family,image size,trains,timm,torch,commit"
    text = f"{columns}\nresnet,convolutional,64,yes,1,2,c\nvit,transformer,64,ValueError: no,1,2,c\n"
    (tmp_path / "timm_networks.csv").write_text(text, encoding="utf-8")
    monkeypatch.setattr(network_page, "BENCHMARKS", tmp_path)
    table = network_page.timm_networks_table()
    assert table["trains"].to_dict() == {"resnet": "yes", "vit": "ValueError: no"}
    assert "1 of 2" in network_page.timm_networks_in_words()


def test_ratios_are_those_of_ours_to_the_others(monkeypatch, tmp_path):
    def row(size, program, ratios):
        work = "forward"
        return {"image_size": size, "work": work, "load": 3.0, "program": program, "ratios": ratios}

    rows = [
        row(28, "stn_paper", {"stn_paper": [1, 1, 1], "kornia": [2, 3, 4]}),
        row(28, "kornia", {"stn_paper": [0.25, 0.33, 0.5], "kornia": [1, 1, 1]}),
        row(64, "stn_paper", {"stn_paper": [1, 1, 1], "kornia": [0.8, 0.9, 1.5]}),
    ]
    (tmp_path / "warps").mkdir()
    (tmp_path / "warps/cpu.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    monkeypatch.setattr(network_page, "BENCHMARKS", tmp_path)
    assert network_page.warp_ratios()["middle"].tolist() == [3, 0.9]
    table = network_page.warp_ratios_table()
    assert table.iloc[0].to_dict() == {"Lowest": "0.90 (0.80 to 1.50)", "At (pixels)": 64, "Highest": "3.00"}
    figure = network_page.warp_ratios_plot()
    assert len(figure.axes[0].containers) == 1


@pytest.mark.usefixtures("committed")
def test_the_committed_files_are_shown():
    assert len(network_page.timm_networks_table()) == 20
    rows = pd.read_csv(BENCHMARKS / "timm_training.csv")["top-1 (%)"]
    assert rows.iloc[-1] == rows.iloc[:-1].max()  # the loaded checkpoint is the best epoch's
    assert set(network_page.lstn_gains_table().columns) >= {"Network", "Protocol", "Gain (points)"}
