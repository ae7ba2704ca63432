"""The interactive figures have every number, and a page draws them without a network."""

import io
from types import SimpleNamespace

import pandas as pd
import pytest
from helpers import write_run

from stn_paper.analysis import frame
from stn_paper.analysis.paper import table
from stn_paper.analysis.statistics import MISSING
from stn_paper.models import HEADINGS, VARIANTS
from stn_paper.report import charts
from stn_paper.report.figures import COLORS


def data_of(chart):
    (text,) = chart.to_dict()["datasets"].values()
    return pd.read_csv(io.StringIO(text))


@pytest.mark.parametrize("number", [6, 8])
def test_every_accuracy_of_the_paper_is_a_point(number):
    found, printed = data_of(charts.accuracy_against_cost(number)), table(number)
    assert list(found["accuracy"]) == list(printed["test"].astype(float))
    assert set(found["variant"]) == {"Original", "STN", "V-STN", "L-STN"} and len(VARIANTS) == 4


def test_every_variant_has_a_colour():
    write_run("constant", 0, 40.0)
    write_run("lstn-no-bn", 0, 40.0)
    assert set(data_of(charts.learning_curves(frame.runs("caltech101", "reduced")))["variant"]) == {
        HEADINGS["constant"],
        HEADINGS["lstn-no-bn"],
    }
    assert set(HEADINGS) <= set(COLORS)


def test_learning_curves_hold_every_epoch_of_every_seed():
    assert charts.learning_curves(frame.runs("caltech101", "reduced")).data == f"*{MISSING.capitalize()}.*"
    for seed in range(2):
        write_run("original", seed, 40.0 + seed)
    found = data_of(charts.learning_curves(frame.runs("caltech101", "reduced")))
    epochs = found.groupby("seed")["epoch"].agg(list)
    assert len(epochs) == 2 and epochs[0] == epochs[1] == [*range(1, len(epochs[0]) + 1)]
    assert found["accuracy"].max() == 50.0


def test_a_chart_shows_without_javascript_and_a_page_holds_its_whole_description():
    bundle = charts.accuracy_against_cost(6)._repr_mimebundle_()
    assert set(bundle) == {charts.MIME, "image/png"}
    spec = {"title": '<"quoted">'}
    (node,) = charts.VegaLite.handle_mime(None, SimpleNamespace(mime_type=charts.MIME, content=spec), False)
    assert "&lt;\\&quot;quoted\\&quot;&gt;" in node.astext()
    assert charts.VegaLite.handle_mime(None, SimpleNamespace(mime_type="image/png"), False) is None


def test_the_bundle_loads_on_pages_with_charts_only():
    loaded = []
    app = SimpleNamespace(add_js_file=loaded.append)
    charts._load_vega(app, "page", "page.html", {"body": "<p>"}, None)
    assert not loaded
    charts._load_vega(app, "page", "page.html", {"body": '<div class="vega-chart" data-spec="">'}, None)
    assert loaded == ["vega.js"]
