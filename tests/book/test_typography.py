"""Signs in the text of pages: numbers and words change, code and tables that sort do not."""

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document


@pytest.fixture(scope="module")
def typography(extension):
    return extension("typography")


@pytest.mark.parametrize(
    "typed, shown",
    [
        ("a gain of -0.12 (-3 to -1)", "a gain of −0.12 (−3 to −1)"),
        ("L-STN-2, 2026-11-28, 64-pixel, f(x)-1", "L-STN-2, 2026-11-28, 64-pixel, f(x)-1"),
        ("63% and 95 %", "63\u00a0% and 95\u00a0%"),
        ("3 x 3 x 10, axis x", "3 × 3 × 10, axis x"),
        ("0.12 ± 0.17 points", "0.12 ±\u00a00.17 points"),
        ("the paper's rows' mean", "the paper’s rows’ mean"),
    ],
)
def test_signs_of_numbers_and_words(typography, typed, shown):
    assert typography.typeset(typed) == shown
    assert typography.typeset(shown) == shown


@pytest.mark.parametrize("kept", ["<code>-1 x 3</code>", "<pre>63%</pre>", "<script>x = '-1'</script>"])
def test_code_in_an_output_stays(typography, kept):
    assert kept in typography.typeset_html(f"<p>-2</p>{kept}")


def test_a_table_that_sorts_keeps_its_numbers(typography):
    cells = "<tr><td>-0.5</td></tr>"
    plain, sorts = (
        typography.typeset_html(f'<table class="dataframe {kind}">{cells}</table>')
        for kind in ("", "interactive")
    )
    assert "−0.5" in plain and "-0.5" in sorts


def test_the_names_of_an_index_stand_in_the_row_of_headings(typography):
    table = pd.DataFrame(
        {"a": [1], "b": [2]}, index=pd.MultiIndex.from_tuples([("x", "y")], names=["M", "N"])
    )
    html = BeautifulSoup(typography.typeset_html(table.to_html()), "html.parser")
    (row,) = html.select("thead tr")
    assert [cell.get_text() for cell in row.find_all("th")] == ["M", "N", "a", "b"]


def test_a_document_keeps_its_code_and_its_tags(typography):
    document, text = new_document("page"), nodes.paragraph()
    document += text
    text += [nodes.raw("", '<a href="x">', format="html"), nodes.Text("63% of -1")]
    text += [nodes.raw("", "</a>", format="html"), nodes.literal("", "", nodes.Text("-1"))]
    document += nodes.raw("", "<p>-1</p>", format="html", classes=["output", "text_html"])
    typography.Typography(document).apply()
    assert text.astext() == '<a href="x">63\u00a0% of −1</a>-1'
    assert document.children[1].astext() == "<p>−1</p>"


def test_a_page_without_a_document_is_typeset_too(typography):
    context = {"body": "<p>63% of -1</p><pre>python -1</pre><td>3 x 3</td>"}
    typography.typeset_run_page(None, "runs/one", "page.html", context, None)
    assert context["body"] == "<p>63\u00a0% of −1</p><pre>python -1</pre><td>3 × 3</td>"


def test_two_levels_of_columns_keep_two_rows(typography):
    table = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_product([["ours"], ["a", "b"]]))
    html = BeautifulSoup(typography.typeset_html(table.to_html()), "html.parser")
    assert len(html.select("thead tr")) == 2


def test_columns_of_plain_numbers_are_set_to_the_right(typography):
    table = pd.DataFrame({"name": ["a", "b"], "gain": ["-0.5", "collapsed"], "all": ["1,200", "3 (1)"]})
    html = BeautifulSoup(typography.typeset_html(table.to_html(index=False)), "html.parser")
    assert [cell.get_text() for cell in html.select(".number")] == ["gain", "−0.5", "collapsed"]
    with_interval = table.assign(mean=["1 ± 1", "2 ± 1"]).to_html(index=False)
    assert "number" not in typography.typeset_html(with_interval)


def test_columns_of_numbers_are_found_beside_an_index_of_two_levels(typography):
    index = pd.MultiIndex.from_product([["one"], ["a", "b"]])
    html = BeautifulSoup(
        typography.typeset_html(pd.DataFrame({"n": [1, 20]}, index).to_html()), "html.parser"
    )
    assert [cell.get_text() for cell in html.select(".number")] == ["n", "1", "20"]
