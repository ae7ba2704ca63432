"""results/costs.csv: no partial file is ever written, and every printed cost equals ours."""

import pytest

from stn_paper.analysis import cost_tables
from stn_paper.analysis.paper import printed_layers, table
from stn_paper.errors import InputError
from stn_paper.paths import ROOT


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_measured(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("STN_PAPER_RESULTS", str(tmp_path / "file"))
    monkeypatch.setattr(cost_tables, "measure", lambda *_: pytest.fail("measured"))
    with pytest.raises(InputError, match=str(tmp_path / "file")):
        cost_tables.write_costs()


def test_costs_are_never_half_written(tmp_path, monkeypatch):
    monkeypatch.setenv("STN_PAPER_RESULTS", str(tmp_path))
    (tmp_path / "costs.csv").write_text("older")
    monkeypatch.setattr(cost_tables, "_layer_costs", lambda: iter(()))
    monkeypatch.setattr(cost_tables, "_model_costs", lambda: iter(()))

    def full_disk(table, path, **_):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cost_tables.pd.DataFrame, "to_csv", full_disk)
    with pytest.raises(InputError, match=r"costs\.csv .*No space left on device"):
        cost_tables.write_costs()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def test_missing_costs_give_the_command_that_measures_them():
    with pytest.raises(InputError, match=r"costs\.csv .*`python -m stn_paper costs`"):
        cost_tables.read_costs(5)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_layer_costs_are_the_papers(committed, number):
    ours = cost_tables.read_costs(number)
    expected = printed_layers(number)
    assert list(ours["parameters"]) == [r.parameters + r.norm_parameters for r in expected]
    assert list(ours["output"]) == [f"{r.height} x {r.width} x {r.channels}" for r in expected]


@pytest.mark.parametrize("number", [4, 5, 7, 9])
def test_every_printed_cost_is_met(committed, number):
    cells = cost_tables.compare_costs(number)
    assert len(cells) == len(table(number))
    assert cells["exact"].all(), cells[~cells["exact"]]
    assert cells["close"].all(), cells[~cells["close"]]


def test_a_changed_costs_file_is_read_again(monkeypatch, tmp_path):
    """That the command writes the committed file, `test_install` finds."""
    monkeypatch.setenv("STN_PAPER_RESULTS", str(tmp_path))
    whole = (ROOT / "results/costs.csv").read_text()
    (tmp_path / "costs.csv").write_text(whole.splitlines()[0])
    assert cost_tables.read_costs(5).empty
    (tmp_path / "costs.csv").write_text(whole)
    assert len(cost_tables.read_costs(5))


@pytest.mark.parametrize("number", [4, 5, 7, 9])
def test_torch_counts_about_twice_what_the_paper_counts(committed, number):
    cells = cost_tables.compare_costs(number)
    ratio = cells["torch_gflops"] / cells["our_gflops"]
    assert ratio.between(1.8, 2).all(), cells[~ratio.between(1.8, 2)]


def test_costs_rows_are_in_the_papers_order(committed):
    for number in (4, 5, 7, 9):
        assert list(cost_tables.read_costs(number)["row"]) == list(table(number)["backbone"])
