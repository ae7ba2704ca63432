"""The book: it builds without a warning, every page is there, and every link inside it resolves."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from stn_paper.paper import TABLES
from stn_paper.paths import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("book")
    jb = Path(sys.executable).parent / "jb"
    command = [jb, "build", "book", "--path-output", out, "--warningiserror", "--keep-going"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out / "_build/html"


def test_every_table_and_figure_has_a_page(built):
    pages = {page.stem for page in (built / "notebooks").glob("*.html")}
    assert {f"table{n}" for n in TABLES} | {
        "figure1",
        "figure2",
        "explorer",
        "protocol",
        "claims",
        "index",
    } <= pages


def test_links_inside_the_book_resolve(built):
    for page in [*built.glob("*.html"), *built.glob("notebooks/*.html"), *built.glob("runs/*.html")]:
        for link in re.findall(r'(?:href|src)="([^"#?]+)[^"]*"', page.read_text()):
            if not re.match(r"[a-z]+:|//", link):
                assert (page.parent / unquote(link)).exists(), (page.name, link)


def test_pages_show_outputs(built):
    assert "104 of 104 parameter counts" in (built / "notebooks/index.html").read_text()
    assert "14,163,937" in (built / "notebooks/table5.html").read_text()


def test_tables_and_runs_need_neither_server_nor_network(built):
    page = (built / "notebooks/runs.html").read_text()
    assert "interactive.js" in page and "interactive.js" not in (built / "notebooks/index.html").read_text()
    for name in ("datatables.js", "datatables.css", "interactive.js"):
        assert (built / "_static" / name).stat().st_size
    assert len([*built.glob("runs/*.html")]) == len([*(ROOT / "results").glob("*/*_seed*.json")])


def test_a_page_and_what_it_loads_stay_below_three_megabytes(built):
    fonts = sum(font.stat().st_size for font in built.rglob("*.woff2"))
    for page in (built / "notebooks").glob("*.html"):
        loaded = re.findall(r'<(?:script|link|img)[^>]*(?:href|src)="([^":?#]+)[^"]*"', page.read_text())
        files = {(page.parent / name).resolve() for name in loaded if not name.endswith(".html")}
        assert page.stat().st_size + fonts + sum(f.stat().st_size for f in files) < 3e6, page.name
