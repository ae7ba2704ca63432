"""The table of all runs: the committed file equals the records, and a row has the numbers of its run."""

import pandas as pd
import pytest
from helpers import rewrite, write_run

from stn_paper.analysis import frame, results_csv
from stn_paper.paths import ROOT
from stn_paper.training import records


def test_the_committed_table_is_that_of_the_records(committed):
    kept = pd.read_csv(ROOT / "results" / results_csv.FILE, keep_default_na=False)
    found = frame.records_by_name()
    assert kept["run"].tolist() == list(found), "run: make notebooks"
    tests = [round(records.selected_result(record)["test"], 2) for record in found.values()]
    assert kept["test"].tolist() == tests


def test_a_row_has_the_numbers_of_its_run(tmp_path):
    path = write_run("lstn", 2, 41.237)
    record = records.read_record(path)
    environment = {"device": "a CPU", "commit": "abc"}
    data = record["data"] | {"image_size": 64}
    rewrite(record, data=data, measured={"seconds": 7.5}, environment=environment)
    (row,) = pd.read_csv(results_csv.write_results()).to_dict("records")
    assert (row["dataset"], row["backbone"], row["variant"], row["seed"]) == (
        "caltech101",
        "resnet18",
        "lstn",
        2,
    )
    assert (row["test"], row["epochs"], row["seconds"], row["device"]) == (41.24, 20, 7.5, "a CPU")
    assert row["run"] == path.stem and 0.1 < row["gflops"] < 0.2  # 1.84 at 224 pixels


@pytest.mark.parametrize("size, expected", [(224, 0.7106), (64, 0.0941)])
def test_alexnets_operations_are_counted_at_its_size(size, expected):
    """Its linear layers keep their 54.6 million; at 64 pixels its convolutions have 39.5 million."""
    from stn_paper.analysis.estimates import gflops

    assert gflops("alexnet", "original", size) == pytest.approx(expected, rel=0.01)
