"""Formulas as MathML, which browsers draw themselves: Sphinx's own ways need a script from another host or LaTeX."""

from docutils.nodes import SkipNode
from latex2mathml.converter import convert


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def inline(writer, node):
    _write(writer, node, "inline")


def block(writer, node):
    _write(writer, node, "block")


def _write(writer, node, display):
    """Write the formula and skip the node's text, which is LaTeX."""
    writer.body.append(convert(node.astext(), display=display))
    raise SkipNode
