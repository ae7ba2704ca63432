"""What git tracks stays small, and the files that are written by hand name what is there."""

import re
import shutil
import subprocess

import pytest

import stn_paper
from stn_paper.paths import ROOT


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="needs a git checkout")
def test_tracked_files_are_small():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [path for name in listed.stdout.split("\0") if (path := ROOT / name).is_file()]
    sizes = {path.relative_to(ROOT): path.stat().st_size for path in paths}
    assert sum(sizes.values()) < 20e6
    assert {name: size for name, size in sizes.items() if size > 2e6} == {}


def test_make_notebooks_writes_the_readmes_table_too():
    recipe = (ROOT / "Makefile").read_text().split("\nnotebooks:")[1].split("\n\n")[0]
    assert "-m stn_paper readme" in recipe


def test_the_reference_page_has_every_name_that_the_package_offers():
    page = (ROOT / "book" / "reference.md").read_text()
    missing = [name for name in stn_paper.__all__ if not re.search(rf"\bstn_paper\.{name}\b", page)]
    assert missing == []


def test_the_readmes_picture_is_the_front_pages(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    picture = pytest.importorskip("picture")
    assert picture.PICTURE.read_bytes() == picture.figure(), "run: python tools/picture.py"
    assert ".github/answer.png" in (ROOT / "README.md").read_text()


def test_the_readmes_files_are_there():
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", (ROOT / "README.md").read_text())
    assert links and [link for link in links if not (ROOT / link).exists()] == []
