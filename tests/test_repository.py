"""Tracked files are small, text is UTF-8, and the README and the reference name files and functions that exist."""

import ast
import importlib
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


@pytest.fixture(scope="module")
def calls():
    """(file and line, module, name, call) of each call in the code."""
    trees = [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in CODE]
    found = [(path, node) for path, tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        (
            f"{path.relative_to(ROOT)}:{call.lineno}",
            getattr(getattr(call.func, "value", None), "id", ""),
            getattr(call.func, "attr", getattr(call.func, "id", "")),
            call,
        )
        for path, call in found
    ]


def test_text_is_read_and_written_as_utf8_in_every_locale(calls):
    def has_encoding(call):
        parts = [part for argument in call.args for part in ast.walk(argument)]
        words = [part.value for part in parts if isinstance(getattr(part, "value", None), str)]
        binary = any(set(word) <= set("rwxab+") and {"b", "x"} & set(word) for word in words)
        encoded = any(keyword.arg == "encoding" for keyword in call.keywords)
        return binary or encoded or any("utf" in word for word in words)

    text = [
        (place, call)
        for place, module, name, call in calls
        if name in ("open", "read_text", "write_text") and module not in NO_TEXT
    ]
    assert text and [place for place, call in text if not has_encoding(call)] == []


def test_nothing_is_unpickled_but_weights(calls):
    def unpickles(module, name, call):
        given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords}
        loads = (module, name) == ("torch", "load") and given.get("weights_only") is not True
        return module == "pickle" or given.get("allow_pickle") or loads

    assert [place for place, *call in calls if unpickles(*call)] == []
    assert ("torch", "load") in {(module, name) for _, module, name, _ in calls}


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
    picture = importlib.import_module("picture")
    assert picture.PICTURE.read_bytes() == picture.figure(), "run: python tools/picture.py"
    assert ".github/answer.png" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("machine", ["cpu_epyc", "cpu_xeon"])
def test_the_readmes_times_are_measured(machine):
    rows = json.loads((ROOT / f"benchmarks/{machine}.json").read_text())["parts"]["everyday"]["rows"]
    seconds = {row["program"]: row["seconds"] for row in rows if row["ended_well"]}
    assert seconds["papermill"] + seconds["jb build book"] < 75  # make book: "about a minute"
    assert 240 < seconds["tests"] < 360  # make test: "four to six minutes"


def test_the_readmes_files_are_there():
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", (ROOT / "README.md").read_text())
    assert links and [link for link in links if not (ROOT / link).exists()] == []
