"""The timed warps give the same images, and the page shows the committed tables."""

import csv
import json
import sys

import pytest
import torch

from benchmarks import timm_networks, warps
from stn_paper.paths import ROOT

CPU = torch.device("cpu")


def test_all_programs_take_turns_at_the_same_work():
    pytest.importorskip("kornia")
    found = list(warps.rows(CPU, sizes=(28,), rounds=1))
    works = {row["work"] for row in found}
    assert works == {"forward", "forward and backward", "module"}
    for work in works:
        programs = {row["program"]: row for row in found if row["work"] == work}
        assert {warps.OURS, "PyTorch tutorial"} <= set(programs)
        assert ("kornia" in programs) == (work != "module")
        assert all(set(row["ratios"]) == set(programs) for row in programs.values())
        assert programs[warps.OURS]["ratios"][warps.OURS] == [1, 1, 1]


def test_programs_that_differ_are_not_compared():
    with pytest.raises(RuntimeError, match="other"):
        warps.agree({warps.OURS: torch.zeros(3), "other": torch.full((3,), 0.01)})


def test_a_package_that_is_not_installed_is_left_out(monkeypatch, capsys):
    for package in ("kornia", "monai"):
        monkeypatch.setitem(sys.modules, package, None)
    assert list(warps.installed()) == [warps.OURS, "PyTorch tutorial"]
    assert "monai" in capsys.readouterr().err


def test_a_failed_check_is_written_as_an_error(monkeypatch):
    network = timm_networks.Network("resnet10t", "convolutional", 64)

    def fails(network):
        raise ValueError("first line\nsecond line")

    assert timm_networks.run_check(fails, network) == "ValueError: first line"
    assert timm_networks.run_check(timm_networks.trains, network) == "yes"
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", lambda self: None)
        assert timm_networks.run_check(timm_networks.trains, network).startswith("RuntimeError")
    with pytest.raises(RuntimeError, match="differ"):
        timm_networks.agree([torch.zeros(2)], [torch.ones(2)])


def test_the_committed_tables_are_whole():
    with timm_networks.OUT.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == [network.name for network in timm_networks.NETWORKS]
    assert all(row[check] for row in rows for check in timm_networks.CHECKS)
    for path in (ROOT / "benchmarks/warps").glob("*.json"):
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        assert {row["image_size"] for row in rows} == set(warps.SIZES)
        assert all(low <= middle <= high for row in rows for low, middle, high in row["ratios"].values())
