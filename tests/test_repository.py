"""Tracked files are small, text is UTF-8, and the README and the reference name files and functions that exist."""

import ast
import json
import re
import shutil
import subprocess

import pytest

import stn_paper
from stn_paper.paths import ROOT

CODE = [
    p for folder in ("stn_paper", "benchmarks", "workflow", "book") for p in (ROOT / folder).rglob("*.py")
]
NO_TEXT = ("os", "Image", "tarfile", "gzip")  # their `open` is of other files


def calls(path):
    """(name, call) of each call in a file of code."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_text_is_read_and_written_as_utf8_in_every_locale(path):
    for name, call in calls(path):
        module = getattr(getattr(call.func, "value", None), "id", "")
        if name in ("open", "read_text", "write_text") and module not in NO_TEXT:
            parts = [part for argument in call.args for part in ast.walk(argument)]
            words = [part.value for part in parts if isinstance(getattr(part, "value", None), str)]
            binary = any(set(word) <= set("rwxab+") and {"b", "x"} & set(word) for word in words)
            encoded = any(keyword.arg == "encoding" for keyword in call.keywords)
            assert binary or encoded or any("utf" in word for word in words), f"{path}:{call.lineno}"


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_unpickled_but_weights(path):
    for name, call in calls(path):
        given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords}
        module = getattr(getattr(call.func, "value", None), "id", "")
        assert module != "pickle" and not given.get("allow_pickle")
        assert (module, name) != ("torch", "load") or given.get("weights_only") is True


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="needs a git checkout")
def test_tracked_files_are_small():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [path for name in listed.stdout.split("\0") if (path := ROOT / name).is_file()]
    sizes = {path.relative_to(ROOT): path.stat().st_size for path in paths}
    assert sum(sizes.values()) < 25e6
    assert {name: size for name, size in sizes.items() if size > 2e6} == {}


def test_make_notebooks_writes_the_readmes_table_too():
    recipe = (ROOT / "Makefile").read_text().split("\nnotebooks:")[1].split("\n\n")[0]
    assert "-m stn_paper readme" in recipe


def test_the_reference_page_has_every_name_that_the_package_offers():
    page = "".join(path.read_text() for path in (ROOT / "book").glob("reference*.md"))
    missing = [name for name in stn_paper.__all__ if not re.search(rf"\bstn_paper\.{name}\b", page)]
    assert missing == []


def test_the_readmes_picture_is_the_front_pages(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    picture = pytest.importorskip("picture")
    assert picture.PICTURE.read_bytes() == picture.figure(), "run: python tools/picture.py"
    assert ".github/answer.png" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("machine", ["cpu_epyc", "cpu_xeon"])
def test_the_readmes_times_are_measured(machine):
    rows = json.loads((ROOT / f"benchmarks/{machine}.json").read_text())["parts"]["everyday"]["rows"]
    seconds = {row["program"]: row["seconds"] for row in rows if row["ended_well"]}
    assert seconds["papermill"] + seconds["jb build book"] < 75  # make book: "about a minute"
    assert 240 < seconds["tests"] < 420  # make test: "four to seven" minutes


def test_the_readmes_files_are_there():
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", (ROOT / "README.md").read_text())
    assert links and [link for link in links if not (ROOT / link).exists()] == []
