"""The book builds without a warning: every page exists, links resolve, pictures have alternative texts."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from stn_paper.paths import ROOT

RECORDS = sorted((ROOT / "results/gtsrb").glob("*_seed*.json"))
HTML = ROOT / "book/_build/html"
SOURCES = ("*.yml", "book/**/*.*", "notebooks/*.ipynb", "results/*/*.json", "stn_paper/**/*.*", "weights/*")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The pages as `make book` built them if no source has changed since, else those of a new build."""
    sources = [path for pattern in SOURCES for path in ROOT.glob(pattern)]
    of_the_book = [p for p in sources if not {"_build", "__pycache__", "smoke"} & {*p.parts}]
    changed = max(path.stat().st_mtime for path in of_the_book)
    first = HTML / "notebooks/index.html"  # which every build writes
    current = first.exists() and first.stat().st_mtime > changed
    return HTML if current else build(tmp_path_factory.mktemp("book"))


def build(out):
    """Build the book below `out`; return the folder of its pages."""
    jb = Path(sys.executable).parent / "jb"
    command = [jb, "build", "book", "--path-output", out, "--warningiserror", "--keep-going"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out / "_build/html"


def test_every_table_and_figure_has_a_page(built):
    # some of these pages only link to the table's new page
    pages = {page.stem for page in (built / "notebooks").glob("*.html")}
    assert {f"table{n}" for n in range(1, 10)} | {
        "figure1",
        "figure2",
        "explorer",
        "protocol",
        "claims",
        "index",
    } <= pages


@pytest.fixture(scope="module")
def pages(built):
    """The pages as HTML; of the runs, which have one template, every twentieth."""
    found = [page for page in built.glob("**/*.html") if page.parent.name not in ("_static", "runs")]
    found += sorted(built.glob("runs/*.html"))[::20]
    return {page.resolve(): BeautifulSoup(page.read_text(), "html.parser") for page in found}


def test_links_inside_the_book_resolve(pages):
    places = {page: {tag["id"] for tag in html.find_all(id=True)} for page, html in pages.items()}
    for page, html in pages.items():
        links = {tag.get("href") or tag.get("src") for tag in html.select("[href], [src]")}
        for link in map(urlsplit, filter(None, links)):
            if not link.scheme and not link.netloc:
                target = (page.parent / unquote(link.path)).resolve() if link.path else page
                assert target.exists(), (page.name, link)
                if link.fragment and target in places:
                    assert unquote(link.fragment) in places[target], (page.name, link)


def test_every_picture_says_what_it_shows(pages):
    for page, html in pages.items():
        for image in html.find_all("img"):
            text = image.get("alt", "")
            assert " " in text and Path(image["src"]).name not in text, (page.name, image["src"])
        for drawing in html.select("svg, canvas"):
            hidden = (
                drawing.find_parent(attrs={"aria-hidden": "true"}) or drawing.get("aria-hidden") == "true"
            )
            labelled = any(drawing.get(label) for label in ("aria-label", "aria-labelledby"))
            assert hidden or labelled or drawing.title, (page.name, str(drawing)[:200])


def test_every_figure_has_a_caption(pages):
    for page, html in pages.items():
        for image in html.select("article .cell_output img"):
            assert image.find_parent("figure").figcaption.get_text(strip=True), (page.name, image["src"])


def test_animations_are_small(built):
    assert all(path.stat().st_size < 1.5e6 for path in built.glob("_images/*.gif"))


def test_pages_show_outputs(built):
    index = BeautifulSoup((built / "notebooks/index.html").read_text(), "html.parser").get_text()
    assert "104 of 104" in index  # parameters
    assert "14,163,937" in (built / "notebooks/network_costs.html").read_text()


def test_tables_and_runs_need_neither_server_nor_network(built):
    page = (built / "notebooks/runs.html").read_text()
    assert "interactive.js" in page and "interactive.js" not in (built / "notebooks/index.html").read_text()
    for name in ("datatables.js", "datatables.css", "interactive.js"):
        assert (built / "_static" / name).stat().st_size
    records = [path for path in (ROOT / "results").glob("*/*_seed*.json") if path.parent.name != "smoke"]
    assert len([*built.glob("runs/*.html")]) == len(records)


def test_every_page_states_a_policy_that_forbids_other_hosts(pages):
    for page, html in pages.items():
        (policy,) = html.select('meta[http-equiv="Content-Security-Policy"]')
        assert "default-src 'self'" in policy["content"] and "http" not in policy["content"], page
        loads = html.select("script[src], img[src], link[rel=stylesheet]")
        assert all(policy.sourceline <= tag.sourceline for tag in loads), page


def test_a_page_and_what_it_loads_stay_below_three_megabytes(built):
    fonts = sum(font.stat().st_size for font in built.rglob("*.woff2"))
    for page in (built / "notebooks").glob("*.html"):
        loaded = re.findall(r'<(?:script|link|img)[^>]*(?:href|src)="([^":?#]+)[^"]*"', page.read_text())
        files = {(page.parent / name).resolve() for name in loaded if not name.endswith(".html")}
        assert page.stat().st_size + fonts + sum(f.stat().st_size for f in files) < 3e6, page.name


# in one process, because the imports for the pages take as long as writing the pages
BUILD_EACH = """
import json, shutil, sys
from pathlib import Path
from sphinx.cmd.build import main
source, results, html, *records = sys.argv[1:]
pages = []
for record in records:
    shutil.rmtree(results, ignore_errors=True)
    Path(results).mkdir(parents=True)
    shutil.copy(record, results)
    if main(["-W", "--keep-going", "-q", "-b", "html", source, html]):
        sys.exit("Sphinx failed")
    pages.append([page.relative_to(html).as_posix() for page in Path(html).glob("**/*.html")])
print(json.dumps(pages))
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Build the book by Sphinx without Jupyter Book, whose settings become Sphinx's conf.py.

    Returns two sets of page paths: of a build with one record, and of the next build with another record.
    """
    folder, programs = tmp_path_factory.mktemp("sphinx"), Path(sys.executable).parent
    source, results, html = folder / "book", folder / "results/gtsrb", folder / "html"
    shutil.copytree(ROOT / "book", source, ignore=shutil.ignore_patterns("_build", ".ipynb_checkpoints"))
    paths = os.pathsep.join([str(ROOT), str(source / "_extensions")])  # of what Jupyter Book finds by itself
    environment = os.environ | {"PYTHONPATH": paths, "STN_PAPER_RESULTS": str(results.parent)}

    def call(*command):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    call(programs / "jupyter-book", "config", "sphinx", source)
    output = call(sys.executable, "-c", BUILD_EACH, source, results, html, *RECORDS[:2])
    return [{*map(Path, pages)} for pages in json.loads(output.splitlines()[-1])]


def test_sphinx_alone_builds_the_same_pages(built, alone):
    by_sphinx, by_jupyter_book = alone[0], {page.relative_to(built) for page in built.glob("**/*.html")}
    assert by_sphinx - by_jupyter_book == set()
    lacking = {page for page in by_jupyter_book - by_sphinx if page.parent != Path("runs")}
    assert lacking <= {Path("genindex.html")}


def test_the_next_build_has_a_page_for_a_new_record_and_none_for_a_deleted_one(alone):
    """Although no page's source has changed."""
    before, after = ({page for page in pages if page.parent == Path("runs")} for pages in alone)
    assert len(before) == len(after) == 1 and before != after
