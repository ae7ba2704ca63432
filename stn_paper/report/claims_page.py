"""The page of the paper's claims: a line that opens for each claim, with an anchor, and a filter by verdict."""

import re
from html import escape

from IPython.display import HTML

from ..analysis import claims
from ..analysis.claims.verdicts import (
    AGREES,
    COSTS_FILE,
    DISAGREES,
    MISPRINT,
    NOT_REPRODUCED,
    OPEN,
    RELEASE_FILE,
    REPRODUCED,
    VERDICTS,
)

VERDICT_CODES = dict(
    zip(VERDICTS, ("reproduced", "not-reproduced", "agrees", "disagrees", "misprint", "open"))
)
SOURCE_LINKS = {  # a source, as a check names it -> (name on the page, address)
    COSTS_FILE: ("our measured costs", "network_costs.html"),
    RELEASE_FILE: ("the author's release", "release.html"),
    "results/copies/files.csv": ("our count of copies", "copies.html"),
    "caltech101_classes.csv": ("our count of Caltech-101's images", "protocol.html#splits"),
    "the experiment's page": ("our experiment", "experiment.html"),
}


def claims_verdict():
    """How many of the paper's claims our numbers confirm and contradict, and what the others rest on, as Markdown."""
    counts = claims.count_verdicts().sum()
    return (
        f"**Of {counts.sum()} claims that can be checked, our numbers confirm {counts[REPRODUCED]} and contradict "
        f"{counts[NOT_REPRODUCED]}.** The paper's own tables and the release agree with {counts[AGREES]} and disagree "
        f"with {counts[DISAGREES]}; {counts[MISPRINT]} are misprints, and {counts[OPEN]} are open."
    )


def verdict_filter():
    """The filter: a choice for each verdict with its number of claims and its meaning, as HTML."""
    counts = claims.count_verdicts().sum()
    lines = [_filter_choice("all", "all claims", counts.sum(), "", " checked")]
    lines += [
        _filter_choice(VERDICT_CODES[name], name, counts[name], meaning) for name, meaning in VERDICTS.items()
    ]
    return HTML(
        '<fieldset class="verdicts"><legend>Show the claims with this verdict</legend>\n'
        + "\n".join(lines)
        + "\n</fieldset>"
    )


def _filter_choice(code, name, number, meaning, checked=""):
    text = f": {escape(meaning)}" if meaning else ""
    return (
        f'<label><input type="radio" name="verdict" value="{code}"{checked}> '
        f"<b>{escape(name)}</b> ({number}){text}</label>"
    )


def claim_lines(section):
    """The claims of a section (a key of SECTIONS): a line each, which opens to its numbers, as HTML."""
    return HTML("\n".join(_claim_line(row) for row in claims.as_table(section).itertuples(name=None)))


def _claim_line(row):
    """A row of `claims.as_table` as HTML. The anchor is inside, so that its address opens the line in a browser."""
    number, quote, verdict, numbers, source = row
    code, anchor = VERDICT_CODES[verdict], claim_anchor(claims.CLAIMS[number - 1])
    return (
        f'<details class="claim" data-verdict="{code}"><summary><span>{number}</span> {escape(quote)} '
        f'<b class="{code}">{escape(verdict)}</b></summary>\n'
        f'<div id="{anchor}"><p>{escape(numbers)}</p>\n'
        f'<p class="from">From: {link_source(source)}. <a href="#{anchor}">Link to this claim</a></p></div></details>'
    )


def claim_anchor(claim):
    """The anchor of a claim: its section and the first words of its quote, so that new claims do not change it."""
    words = re.findall(r"[a-z0-9]+", claim.quote.lower().replace("'", ""))
    return "-".join(["claim", claim.section, *words[:5]])


def link_source(source):
    """A source, as a check names it, as HTML with links to the pages that show it.

    >>> link_source("Tables 6 and 8")
    'Tables <a href="table6.html">6</a> and <a href="table8.html">8</a>'
    """
    text = escape(source, quote=False)
    text = re.sub(r"Tables? \d(?:(?:, | and )\d)*", _link_tables, text)
    text = re.sub(r"records of ([^,;]+)", r'<a href="runs.html?search=\1">our runs on \1</a>', text)
    for name, (called, address) in SOURCE_LINKS.items():
        text = text.replace(name, f'<a href="{address}">{called}</a>')
    return text


def _link_tables(found):
    return re.sub(r"\d", lambda number: f'<a href="table{number[0]}.html">{number[0]}</a>', found[0])
