"""Sphinx extension: a page for each run record, sortable tables, a security policy and redirects.

Everything works in pages opened as files, without a server and without a network.
"""

import json
import re
import shutil
from functools import cache
from os.path import relpath
from pathlib import Path

import itables

from stn_paper.analysis import frame
from stn_paper.paths import ROOT
from stn_paper.report import playground, run_pages
from stn_paper.training import kept, records

BUNDLE = Path(itables.__file__).parent / "html"  # DataTables as one ES module, with its style
# not in _static, because every page loads the scripts there
TABLE_SCRIPT = Path(__file__).with_name("interactive.js")
NETWORKS = "playground"  # the folder of the playground's networks
SCRIPT, STYLE = "datatables.js", "datatables.css"
POLICY = (  # a page loads what lies beside it, and nothing from another host
    "default-src 'self' file: data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'none'; "
    "form-action 'self' file:"
)
MOVED = {  # former pages, and where their content is now
    "notebooks/table1": "notebooks/localization_nets.html#stn-table-1",
    "notebooks/table2": "notebooks/localization_nets.html#v-stn-table-2",
    "notebooks/table3": "notebooks/localization_nets.html#l-stn-table-3",
    "notebooks/table5": "notebooks/network_costs.html#caltech-101-table-5",
    "notebooks/table7": "notebooks/network_costs.html#cifar-10-table-7",
    "notebooks/watching": "notebooks/known_truth.html#watch-it-learn",
}


def setup(app):
    app.connect("builder-inited", write_scripts)
    app.connect("builder-inited", write_redirects)
    app.connect("env-get-outdated", mark_root_outdated)
    app.connect("html-collect-pages", run_record_pages)
    app.connect("html-page-context", share_side_bar, priority=400)  # before the theme draws it
    app.connect("html-page-context", state_policy)
    app.connect("html-page-context", load_tables)
    app.connect("html-page-context", load_networks)
    app.connect("html-page-context", leave_out_thebe)
    app.connect("build-finished", copy_singlehtml_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_scripts(app):
    """Write the scripts and styles of `load_tables` and `load_networks` to the built book's folder _static."""
    static = Path(app.outdir, "_static")
    static.mkdir(parents=True, exist_ok=True)
    script = as_classic_script((BUNDLE / "dt_bundle.js").read_text(encoding="utf-8"))
    (static / SCRIPT).write_text(script, encoding="utf-8")
    shutil.copyfile(BUNDLE / "dt_bundle.css", static / STYLE)
    shutil.copyfile(TABLE_SCRIPT, static / TABLE_SCRIPT.name)
    (static / NETWORKS).mkdir(exist_ok=True)
    for name, text in playground.network_scripts().items():
        (static / NETWORKS / name).write_text(text, encoding="utf-8")


def as_classic_script(module):
    """Return a script that imports an ES module from its text, because a page opened as a file cannot import files."""
    blob = f'new Blob([{json.dumps(module)}], {{ type: "text/javascript" }})'
    return f"const dataTables = import(URL.createObjectURL({blob}));\n"


def write_redirects(app):
    """Write a redirect from each address of MOVED, and from the book's root, to the current page."""
    for old, new in {"index": "notebooks/index.html", **MOVED}.items():
        path = Path(app.outdir, f"{old}.html")
        path.parent.mkdir(parents=True, exist_ok=True)
        link = relpath(new, Path(old).parent).replace("\\", "/")
        path.write_text(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8">{policy()}<title>Moved</title>'
            f'<meta http-equiv="refresh" content="0; url={link}"></head>'
            f'<body><a href="{link}">Moved</a></body></html>\n',
            encoding="utf-8",
        )


def policy():
    """The meta tag that states POLICY."""
    return f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'


def state_policy(app, pagename, templatename, context, doctree):
    """State POLICY at the top of the page, before anything is loaded."""
    context["metatags"] = policy() + context.get("metatags", "")


def mark_root_outdated(app, env, added, changed, removed):
    """Mark the root page as outdated: without an outdated page, Sphinx would not write the pages of new records."""
    return [app.config.root_doc]


def run_record_pages(app):
    """A page for each record under results/, runs/<name>.html, with its JSON beside it."""
    runs, folder = frame.records_by_name(), Path(app.outdir, "runs")
    folder.mkdir(exist_ok=True)
    for page in folder.iterdir():
        if page.stem not in runs:
            page.unlink()  # of a record that is no longer there
    shutil.copyfile(ROOT / "results/results.csv", Path(app.outdir, "results.csv"))
    related = run_pages.related_runs(runs)  # grouped once, so that the time grows as the number of records
    side_bar = {}  # the first page fills it, and the others take it from there
    for name, record in runs.items():
        shutil.copyfile(records.record_path(records.spec_of(record)), folder / f"{name}.json")
        context = {
            "title": run_pages.run_title(record["spec"]),
            "body": run_pages.run_page(name, related[name]),
            "side_bar": side_bar,
        }
        yield f"runs/{name}", context, "page.html"


def share_side_bar(app, pagename, templatename, context, doctree):
    """Make one table of contents for all pages of runs, because making it for each page doubles the time."""
    if (shared := context.get("side_bar")) is not None:
        context["toctree"] = shared.setdefault("toctree", cache(context["toctree"]))


def load_tables(app, pagename, templatename, context, doctree):
    """Load DataTables on the pages that hold a table for it, and on no other."""
    if re.search(r'<table [^>]*class="[^"]*\binteractive\b', context.get("body", "")):
        app.add_css_file(STYLE, priority=100)  # before the book's own, which adapts it
        for script in (SCRIPT, TABLE_SCRIPT.name):
            app.add_js_file(script, loading_method="defer")


def load_networks(app, pagename, templatename, context, doctree):
    """Load the playground's networks on the page that holds it, and on no other."""
    if 'class="stn-playground"' in context.get("body", ""):
        for variant in kept.kept_variants():
            app.add_js_file(f"{NETWORKS}/{variant}.js", loading_method="defer")


def leave_out_thebe(app, pagename, templatename, context, doctree):
    """Leave out thebe, which jupyter-book loads everywhere: no page uses it, and its script fails."""
    for files in (context["script_files"], context["css_files"]):
        files[:] = [file for file in files if "thebe" not in str(file)]


def copy_singlehtml_files(app, exception):
    """Copy images and static files beside the page of a `singlehtml` build, from which PDFs are made."""
    if not exception and app.builder.name == "singlehtml":
        out = Path(app.outdir)
        for name in ("_images", "_static"):
            shutil.copytree(out / name, (out / app.config.root_doc).parent / name, dirs_exist_ok=True)
