"""What the book has beyond its notebooks: a page for each run record, tables that sort, and lighter pages.

Everything works in pages opened as files, without a server and without a network.
"""

import re
import shutil
from pathlib import Path

import itables

from stn_paper import results, run_pages

BUNDLE = Path(itables.__file__).parent / "html"  # DataTables as one ES module, with its style
OWN = Path(__file__).with_name("interactive.js")  # not in _static, as all pages load what is there
SCRIPT, STYLE = "datatables.js", "datatables.css"
LOADED = ("scripts/fontawesome.js",)  # 1.5 MB that draws the icons again which the theme's fonts draw already


def setup(app):
    app.connect("html-collect-pages", run_record_pages)
    app.connect("html-page-context", load_tables)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def run_record_pages(app):
    """A page for each record under results/, runs/<name>.html, with its JSON beside it."""
    records, folder = results.everything(), Path(app.outdir, "runs")
    folder.mkdir(exist_ok=True)
    for name, record in records.items():
        shutil.copyfile(results.record_path(results.spec_of(record)), folder / f"{name}.json")
        context = {"title": run_pages.title(record["spec"]), "body": run_pages.page(name, records)}
        yield f"runs/{name}", context, "page.html"


def load_tables(app, pagename, templatename, context, doctree):
    """Load DataTables on the pages that hold a table for it, and on no other."""
    if re.search(r'<table [^>]*class="[^"]*\binteractive\b', context.get("body", "")):
        app.add_css_file(STYLE, priority=100)  # before the book's own, which adapts it
        for script in (SCRIPT, OWN.name):
            app.add_js_file(script, loading_method="defer")


def finish(app, exception):
    """Write what `load_tables` loads, and take away what no page needs."""
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    (static / SCRIPT).write_text(classic_script((BUNDLE / "dt_bundle.js").read_text()))
    shutil.copyfile(BUNDLE / "dt_bundle.css", static / STYLE)
    shutil.copyfile(OWN, static / OWN.name)
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text()
        if (lighter := without_scripts(text)) != text:
            path.write_text(lighter)
    for name in LOADED:
        (static / name).unlink(missing_ok=True)


def classic_script(module):
    """An ES module as a script that sets DataTable: pages opened as files cannot import modules."""
    body, exports = re.fullmatch(r"(.*)\bexport\s*\{([^{}]*)\};?(.*)", module, re.DOTALL).group(1, 2)
    name = re.search(r"(\w+) as default", exports).group(1)
    return f'(() => {{"use strict";\n{body}\nwindow.DataTable = {name};\n}})();\n'


def without_scripts(html):
    """The page without the tags of the scripts LOADED."""
    names = "|".join(map(re.escape, LOADED))
    return re.sub(rf'\s*<script[^>]*src="[^"]*/(?:{names})[^"]*"[^>]*></script>', "", html)
