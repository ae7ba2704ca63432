"""Sphinx extension: minus signs, percent signs, multiplication signs and apostrophes in the text of all pages.

Notebooks and the package write them as a keyboard does: -0.12, 63%, 3 x 3. Tables that sort keep their numbers, because
the script reads them. Code is left alone. Outputs with two rows of headings that pandas makes of an index with a name
get one row. Columns of plain numbers are aligned to the right.
"""

import re

from bs4 import BeautifulSoup, NavigableString
from docutils import nodes
from sphinx.transforms import SphinxTransform

RULES = (
    (re.compile(r"(?<![\w.)\]-])-(?=\d)"), "−"),  # of a number: -0.12
    (re.compile(r"(?<=\d)[ \u00a0]?%"), "\u00a0%"),
    (re.compile(r"(?<=\d) x (?=\d)"), " × "),
    (re.compile(r"± (?=\d)"), "±\u00a0"),
    (re.compile(r"(?<=\w)'(?=\w|\s|$)"), "’"),
)
NUMBER = re.compile(r"[+−]?[\d,]+(?:\.\d+)?(?:\u00a0%)?")  # after `typeset`
NO_NUMBERS = "–", "collapsed", "not yet run"  # in a column of numbers
CODE = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.math_block, nodes.raw, nodes.image)
UNTOUCHED = ["code", "pre", "script", "style", "svg", "textarea"]


def setup(app):
    app.add_transform(Typography)
    app.connect("html-page-context", typeset_run_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def typeset(text):
    """The text with typographic signs.

    >>> typeset("L-STN's gain is -0.12 points, 63% of 3 x 3")
    'L-STN’s gain is −0.12 points, 63\\xa0% of 3 × 3'
    """
    for pattern, sign in RULES:
        text = pattern.sub(sign, text)
    return text


def typeset_html(source):
    """An HTML output with typographic signs, and with one row of headings where pandas has two.

    Outputs with a script are returned as they are.
    """
    if "<script" in source or not re.search(r"[%'-]| x |dataframe", source):
        return source
    html = BeautifulSoup(source, "html.parser")
    for table in html.select("table.dataframe"):
        join_headings(table)
    for text in html.find_all(string=True):
        # comments are of other types
        if type(text) is NavigableString and not any(map(is_kept, text.parents)):
            text.replace_with(typeset(text))
    for table in html.select("table.dataframe:not(.interactive)"):
        align_numbers(table)
    return str(html)


def is_kept(tag):
    """Whether the texts in this tag stay as they are."""
    return tag.name in UNTOUCHED or (tag.name == "table" and "interactive" in tag.get("class", []))


def join_headings(table):
    """Move the names of a table's index from a row of their own into the row of headings above it."""
    rows = table.select("thead tr")
    if len(rows) != 2:
        return
    above, below = (row.find_all("th") for row in rows)
    if len(above) != len(below):
        return
    pairs = list(zip(above, below))
    if all(not (first.get_text(strip=True) and second.get_text(strip=True)) for first, second in pairs):
        for first, second in pairs:
            if second.get_text(strip=True):
                first.replace_with(second)
        rows[1].decompose()


def align_numbers(table):
    """Add the class `number` to the cells and the heading of each column that holds only numbers.

    Tables with intervals are not changed: aligned to the left, their means stand below each other.
    """
    body = [row.find_all("td") for row in table.select("tbody tr")]
    headings = table.select("thead tr:last-child th")
    if not body or not body[0] or len({len(row) for row in body}) > 1 or "±" in table.get_text():
        return
    for heading, *cells in zip(headings[-len(body[0]) :], *body):
        texts = [text for cell in cells if (text := cell.get_text(strip=True)) and text not in NO_NUMBERS]
        if texts and all(map(NUMBER.fullmatch, texts)):
            for cell in (heading, *cells):
                cell["class"] = [*cell.get("class", []), "number"]


def typeset_run_page(app, pagename, templatename, context, doctree):
    """Typeset a page that has no document, such as that of a run; without BeautifulSoup, because they are many."""
    if doctree is None and "body" in context:
        kept_or_text = re.compile(r"<pre.*?</pre>|>[^<]+<", re.DOTALL)
        context["body"] = kept_or_text.sub(
            lambda found: found[0] if found[0].startswith("<pre") else typeset(found[0]), context["body"]
        )


class Typography(SphinxTransform):
    """Apply `typeset` to the text of a page and `typeset_html` to its HTML outputs."""

    default_priority = 760  # after Sphinx's quotation marks, before the page's titles are collected

    def apply(self, **kwargs):
        for raw in self.document.findall(nodes.raw):
            if "text_html" in raw.get("classes", []):  # the output of a cell; HTML in a text comes tag by tag
                source = raw.astext()
                raw.clear()
                raw += nodes.Text(typeset_html(source))
        for text in list(self.document.findall(nodes.Text)):
            if not any(isinstance(parent, CODE) for parent in parents(text)):
                text.parent.replace(text, nodes.Text(typeset(text.astext())))


def parents(node):
    """The nodes that contain this node, the nearest first."""
    while (node := node.parent) is not None:
        yield node
