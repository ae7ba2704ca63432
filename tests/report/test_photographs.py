"""The page of a trained L-STN on photographs: its runs have records, and the figure shows their predicted maps."""

import pytest
import torch

from stn_paper.report import photographs
from stn_paper.report.paper_figures import outline
from stn_paper.training.records import find


@pytest.fixture
def records(committed):
    return {dataset: find(spec) for dataset, spec in photographs.SPECS.items()}


def test_each_dataset_has_a_record_with_the_images_and_their_maps(records):
    for dataset, record in records.items():
        assert record is not None, dataset
        kept = record["probes"]
        assert len(kept["images"]) == len(kept["theta"]) == 4
        assert len(record["epochs"]) == photographs.SPECS[dataset].protocol.max_epochs


def test_the_figure_outlines_what_theta_reads(records):
    found = {dataset: record for dataset, record in records.items() if record}
    figure = photographs.photographs_plot(found)
    assert len(figure.axes) == 8 * len(found)
    theta = torch.tensor(found["tsrd"]["probes"]["theta"][0])
    corners = outline(theta)[[0, 1, 2, 3, 0]]
    drawn = [torch.tensor(axis.lines[0].get_xydata()) for axis in figure.axes if axis.lines]
    assert any(torch.allclose(one.float(), corners, atol=1e-5) for one in drawn)
    assert photographs.photographs_verdict(found).count("../runs/") == len(found)
