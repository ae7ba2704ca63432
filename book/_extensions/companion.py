"""What the book has beyond its notebooks: a page for each run record, tables that sort, and lighter pages.

Everything works in pages opened as files, without a server and without a network.
"""

import re
import shutil
from pathlib import Path

import itables

from stn_paper.report import playground, run_pages
from stn_paper.training import kept, records

BUNDLE = Path(itables.__file__).parent / "html"  # DataTables as one ES module, with its style
OWN = Path(__file__).with_name("interactive.js")  # not in _static, as all pages load what is there
NETWORKS = "playground"  # the folder of the playground's networks
SCRIPT, STYLE = "datatables.js", "datatables.css"
ICONS = "scripts/fontawesome.js"  # 1.5 MB, loaded by every page to draw icons that the theme's fonts draw too


def setup(app):
    app.connect("builder-inited", write_scripts)
    app.connect("html-collect-pages", run_record_pages)
    app.connect("html-page-context", load_tables)
    app.connect("html-page-context", load_networks)
    app.connect("html-page-context", without_thebe)
    app.connect("build-finished", leave_out_icons)
    app.connect("build-finished", give_one_page_its_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_scripts(app):
    """Write what `load_tables` and `load_networks` load where the built pages find it."""
    static = Path(app.outdir, "_static")
    static.mkdir(parents=True, exist_ok=True)
    script = classic_script((BUNDLE / "dt_bundle.js").read_text(encoding="utf-8"))
    (static / SCRIPT).write_text(script, encoding="utf-8")
    shutil.copyfile(BUNDLE / "dt_bundle.css", static / STYLE)
    shutil.copyfile(OWN, static / OWN.name)
    (static / NETWORKS).mkdir(exist_ok=True)
    for name, text in playground.scripts().items():
        (static / NETWORKS / name).write_text(text, encoding="utf-8")


def run_record_pages(app):
    """A page for each record under results/, runs/<name>.html, with its JSON beside it."""
    runs, folder = records.everything(), Path(app.outdir, "runs")
    folder.mkdir(exist_ok=True)
    of_the_same_network = run_pages.relatives(runs)  # so that the time grows as the number of records
    for name, record in runs.items():
        shutil.copyfile(records.record_path(records.spec_of(record)), folder / f"{name}.json")
        context = {
            "title": run_pages.title(record["spec"]),
            "body": run_pages.page(name, of_the_same_network[name]),
        }
        yield f"runs/{name}", context, "page.html"


def load_tables(app, pagename, templatename, context, doctree):
    """Load DataTables on the pages that hold a table for it, and on no other."""
    if re.search(r'<table [^>]*class="[^"]*\binteractive\b', context.get("body", "")):
        app.add_css_file(STYLE, priority=100)  # before the book's own, which adapts it
        for script in (SCRIPT, OWN.name):
            app.add_js_file(script, loading_method="defer")


def load_networks(app, pagename, templatename, context, doctree):
    """Load the playground's networks on the page that holds it, and on no other."""
    if 'class="stn-playground"' in context.get("body", ""):
        for variant in kept.VARIANTS:
            app.add_js_file(f"{NETWORKS}/{variant}.js", loading_method="defer")


def without_thebe(app, pagename, templatename, context, doctree):
    """Leave out thebe, which jupyter-book loads everywhere: no page uses it, and its script fails."""
    for files in (context["script_files"], context["css_files"]):
        files[:] = [file for file in files if "thebe" not in str(file)]


def give_one_page_its_files(app, exception):
    """Of a book in one page, as PDFs are made of: it lies in a folder and looks for its files there."""
    if not exception and app.builder.name == "singlehtml":
        out = Path(app.outdir)
        for name in ("_images", "_static"):
            shutil.copytree(out / name, (out / app.config.root_doc).parent / name, dirs_exist_ok=True)


def leave_out_icons(app, exception):
    """Take the script ICONS from the pages and from what they load."""
    if exception or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        if (lighter := without_icons(text)) != text:
            path.write_text(lighter, encoding="utf-8")
    Path(app.outdir, "_static", ICONS).unlink(missing_ok=True)


def classic_script(module):
    """An ES module as a script that sets DataTable: pages opened as files cannot import modules."""
    pattern = r"(.*)\bexport\s*\{[^{}]*?(\w+) as default[^{}]*\};?(.*)"  # licences stand at the end
    code, name, licences = re.fullmatch(pattern, module, re.DOTALL).groups()
    return f'(() => {{"use strict";\n{code}\nwindow.DataTable = {name};\n}})();\n{licences}'


def without_icons(html):
    """The page without the tag that loads the script ICONS."""
    return re.sub(rf'\s*<script[^>]*src="[^"]*/{re.escape(ICONS)}[^"]*"[^>]*></script>', "", html)
