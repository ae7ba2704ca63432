"""The book's interactive figures, as Vega-Lite: readers point at a value to read it, and click a legend entry.

A notebook stores each chart and a PNG of it, so that the chart is visible without JavaScript. The book draws it with
the scripts of vl-convert, which need no network. Static figures are in `figures`.
"""

import base64
import html
import json
from pathlib import Path

import altair as alt
import pandas as pd
import vl_convert
from docutils import nodes
from IPython.display import Markdown
from matplotlib.colors import to_hex

from ..analysis import frame, statistics
from ..analysis.paper import COSTS_OF, table
from ..models import HEADINGS, ORIGINAL, VARIANTS
from ..models.backbones import title
from ..paths import replace_file
from .figures import COLORS, small_png

MIME = "application/vnd.vegalite.v6+json"
SHAPES = {ORIGINAL: "circle", "stn": "square", "vstn": "triangle-up", "lstn": "diamond"}
CURVES = ["backbone", "variant", "seed", "epoch", "accuracy"]  # columns of the data of learning curves
LEGEND = "click a legend entry to single it out"


def _bundle(spec):
    picture = vl_convert.vegalite_to_png(json.dumps(spec), scale=1)
    return {MIME: spec, "image/png": small_png(base64.b64encode(picture).decode())}


@alt.theme.register("stn_paper", enable=True)
def _theme():
    """The look of `figures.style`: white ground, light grid, dark text."""
    axis = {"gridColor": "#dddddd", "domainColor": "#cccccc", "tickColor": "#cccccc"}
    text = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelColor": "#262626"}
    return {
        "background": "white",
        "padding": 8,
        "config": {
            "view": {"stroke": "#cccccc"},
            "axis": axis | text,
            "legend": text | {"symbolOpacity": 1},
            "header": {"title": None, "labelFontSize": 12, "labelColor": "#262626"},
        },
    }


alt.renderers.register("stn_paper", _bundle)
alt.renderers.enable("stn_paper")
alt.data_transformers.disable_max_rows()


class VegaLite:
    """Puts a chart into a page, for MyST-NB; an entry point in pyproject.toml names this class."""

    mime_priority_overrides = (("html", MIME, 1),)

    @staticmethod
    def handle_mime(renderer, data, inline):
        """The node of a chart, which book/_static/charts.js fills; None for other data."""
        if data.mime_type != MIME:
            return None
        spec = html.escape(json.dumps(data.content), quote=True)
        return [nodes.raw("", f'<div class="vega-chart" data-spec="{spec}"></div>', format="html")]


def setup(app):
    """Set up the Sphinx extension: pages with a chart get the scripts that draw it."""
    app.connect("builder-inited", _write_vega)
    app.connect("html-page-context", _load_vega)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write_vega(app):
    """Write vega.js for the built pages, unless an earlier build wrote this version, because writing takes seconds."""
    path, first_line = Path(app.outdir, "_static/vega.js"), f"// vl-convert {vl_convert.__version__}\n"
    if app.builder.format == "html" and not _starts_with(path, first_line):
        path.parent.mkdir(parents=True, exist_ok=True)
        bundle = vl_convert.javascript_bundle()  # ty: ignore[missing-argument]: its stub has no defaults
        with replace_file(path) as partial:
            partial.write_text(f"{first_line}(() => {{{bundle}}})();", encoding="utf-8")


def _starts_with(path, text):
    return path.is_file() and path.read_text(encoding="utf-8").startswith(text)


def _load_vega(app, page, template, context, tree):
    if 'class="vega-chart"' in context.get("body", ""):
        app.add_js_file("vega.js")


def _variants(encoding, names, values):
    """The encoding of variants, with the order and the colours or shapes of every other figure."""
    scale = alt.Scale(domain=[HEADINGS[v] for v in names], range=[values[v] for v in names])
    return encoding("variant:N", scale=scale, title=None, legend=alt.Legend(orient="top", columns=4))


def _data(rows, columns):
    """The data of a chart as CSV text, which takes a third of the space of JSON."""
    text = pd.DataFrame(rows, columns=columns).to_csv(index=False)
    return alt.InlineData(text, format=alt.CsvDataFormat(type="csv"))


LABEL_ABOVE = {6: "ResNet-50"}  # table -> backbone with its name above its marks, because it overlaps below


def learning_curves(ours):
    """Learning curves of `frame.runs`: validation accuracy (percent) by epoch, a panel a backbone, a line a run.

    Without a run it is the text "not yet run".
    """
    if ours.empty:
        return Markdown(f"*{statistics.MISSING.capitalize()}.*")
    rows = [
        [title(run.backbone), HEADINGS[run.variant], run.seed, epoch, round(e["validation_accuracy"], 2)]
        for run in ours.itertuples()
        for epoch, e in enumerate(run.record["epochs"], 1)
    ]
    names = frame.variants_of(ours)
    colors = {v: to_hex(COLORS[v]) for v in names}
    chosen = alt.selection_point(fields=["variant"], bind="legend", name="variant")
    under = alt.selection_point(on="pointerover", clear="pointerout", empty=False, name="under")
    base = alt.Chart().encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("accuracy:Q", title="validation accuracy (%)", scale=alt.Scale(zero=False)),
        color=_variants(alt.Color, names, colors) if len(names) > 1 else alt.value(colors[names[0]]),
        detail="seed:N",
        opacity=alt.condition(chosen, alt.value(0.75), alt.value(0.08)),
    )
    points = base.mark_point(filled=True, size=45).encode(
        opacity=alt.condition(under, alt.value(1), alt.value(0)),
        tooltip=["backbone:N", "variant:N", "seed:N", "epoch:Q", "accuracy:Q"],
    )
    panels = [title(backbone) for backbone in frame.order_backbones(ours["backbone"])]
    lines = base.mark_line(strokeWidth=1.6).add_params(chosen)
    return (
        alt.layer(lines, points.add_params(under), data=_data(rows, CURVES))
        .properties(width=150 if len(panels) > 1 else 330, height=150)  # two fit a phone
        .facet(alt.Facet("backbone:N", sort=panels), columns=2)
        .properties(description=f"Validation accuracy in percent against the epoch: {LEGEND}.")
        .resolve_scale(x="independent")
    )


def accuracy_against_cost(number):
    """The paper's own test accuracies (Table 6 or 8, percent) against the GFLOPS that it prints."""
    printed = table(number).merge(table(COSTS_OF[number]), on=["model", "variant"])
    rows = [[r.model, HEADINGS[r.variant], float(r.gflops), float(r.test)] for r in printed.itertuples()]
    names = list(VARIANTS)
    chosen = alt.selection_point(fields=["variant"], bind="legend", name="variant")
    x = alt.X(
        "gflops:Q",
        title="GFLOPS as the paper prints them (logarithmic)",
        scale=alt.Scale(type="log", nice=False, padding=36),
        axis=alt.Axis(values=[2, 5, 10, 20, 40]),
    )
    y = alt.Y("accuracy:Q", title="test accuracy, paper (%)", scale=alt.Scale(zero=False, padding=24))
    data = _data(rows, ["model", "variant", "gflops", "accuracy"])
    base = alt.Chart(data).encode(x=x, y=y)
    lines = base.mark_line(color="#bbbbbb", strokeWidth=1).encode(detail="model:N")
    points = base.mark_point(filled=True, size=70).encode(
        color=_variants(alt.Color, names, {v: to_hex(COLORS[v]) for v in names}),
        shape=_variants(alt.Shape, names, SHAPES),
        opacity=alt.condition(chosen, alt.value(0.9), alt.value(0.1)),
        tooltip=["model:N", "variant:N", "gflops:Q", "accuracy:Q"],
    )
    named = alt.Chart(data).transform_calculate(short="replace(datum.model, 'EfficientNet-', '')")
    above = f"datum.model == '{LABEL_ABOVE.get(number, '')}'"
    labels = [
        named.transform_joinaggregate(end=f"{end}(accuracy)", groupby=["model"])
        .transform_filter(f"datum.accuracy == datum.end && {where}")
        .mark_text(dy=shift, fontSize=11, color="#262626")
        .encode(x=x, y=y, text="short:N")
        for end, where, shift in (("min", f"!({above})", 16), ("max", above, -14))
    ]
    return alt.layer(
        *(lines, points.add_params(chosen), *labels)  # clicks on a legend need a parameter of the same layer
    ).properties(
        width=370,
        height=340,
        description=f"The paper's test accuracies against GFLOPS, a line a backbone: {LEGEND}.",
    )
