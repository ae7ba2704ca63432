"""The files that list packages agree, the README's make targets exist, and the version is in one place."""

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import stn_paper
from stn_paper.paths import ROOT

DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = DECLARED["project"]
LOCKS = {"requirements.lock": "dev", "requirements-cluster.lock": "cluster"}  # lock -> the extra it pins


def pins(lock):
    """Every pinned package of a lock: [(requirement, number of its hashes)]."""
    packages = re.split(r"\n(?=\S)", (ROOT / lock).read_text())
    return [(Requirement(p.partition("\\")[0].strip()), p.count("--hash=sha256:")) for p in packages]


def declared(extra):
    """The requirements of the package with an extra, including the extras that it contains."""
    for line in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"].get(extra, ())):
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            for inner in requirement.extras:
                yield from declared(inner)
        else:
            yield requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_dependency_within_its_range(lock):
    pinned = [requirement for requirement, _ in pins(lock)]
    for requirement in declared(LOCKS[lock]):
        matching = [r for r in pinned if canonicalize_name(r.name) == canonicalize_name(requirement.name)]
        assert matching, requirement
        for pin in matching:
            assert requirement.specifier.contains(str(pin.specifier).removeprefix("==")), (requirement, pin)


@pytest.mark.parametrize("lock", [*LOCKS, "requirements-cpu.lock"])
def test_a_lock_pins_exactly_and_by_hash(lock):
    for requirement, hashes in pins(lock):
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)) and hashes, requirement


def test_the_locks_agree_on_what_they_share():
    first, second = (
        {r.name + str(r.marker or ""): str(r.specifier) for r, _ in pins(lock)} for lock in LOCKS
    )
    assert {
        name: (first[name], second[name]) for name in first.keys() & second if first[name] != second[name]
    } == {}


def test_the_lock_without_cuda_is_the_lock_less_those_packages():
    script = subprocess.run(
        [sys.executable, ROOT / "tools/cpu_lock.py"], capture_output=True, text=True, check=True
    )
    assert script.stdout == (ROOT / "requirements-cpu.lock").read_text(), "run: make lock"
    names = {requirement.name for requirement, _ in pins("requirements-cpu.lock")}
    assert {"timm", "numpy", "jupyter-book"} <= names
    assert not [n for n in names if n.startswith(("torch", "nvidia", "cuda", "triton"))]


def test_the_build_backend_is_the_locked_one():
    (backend,) = map(Requirement, DECLARED["build-system"]["requires"])
    assert str(backend) in [str(requirement) for requirement, _ in pins("requirements.lock")]


def test_conda_installs_the_lock_through_pip():
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text().splitlines()]
    assert lines[lines.index("- pip:") + 1 :] == ["- -r requirements.lock"]


@pytest.mark.parametrize("folder", [".", ".binder"])
def test_conda_takes_an_allowed_python(folder):
    python = re.search(r"python=([\d.]+)", (ROOT / folder / "environment.yml").read_text())[1]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)


@pytest.mark.parametrize("target", ["book", "test"])
def test_the_readmes_make_targets_exist(target):
    assert f"make {target}" in (ROOT / "README.md").read_text()
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


IMPORTS = f"""
import sys, stn_paper
slow = {{"torchvision", "timm", "thop", "captum", "pandas", "matplotlib", "seaborn", "scipy", "mlxtend"}}
print(sorted((slow | {{"torch"}}) & set(sys.modules)))
stn_paper.models.build_model
print(sorted(slow & set(sys.modules)))
stn_paper.SpatialTransformer; stn_paper.costs
from stn_paper import {", ".join(stn_paper.__all__)}
costs.measure
"""


def test_slow_packages_and_the_names_that_need_them_are_imported_when_they_are_asked_for():
    found = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["[]", "[]"]
    with pytest.raises(AttributeError, match="no_such_name"):
        stn_paper.no_such_name  # noqa: B018


def test_all_citation_files_agree_with_citation_cff():
    check = subprocess.run(
        [sys.executable, ROOT / "tools/citation.py", "--check"], capture_output=True, text=True
    )
    assert check.returncode == 0, check.stderr


def test_the_version_comes_from_one_place(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    citation = importlib.import_module("citation")
    written = citation.files()
    for path, text in written.items():
        assert PROJECT["version"] in text, path
    assert json.loads(written["codemeta.json"])["version"] == PROJECT["version"]
    assert json.loads(written[".zenodo.json"])["title"].startswith("[Re] ")


@pytest.mark.parametrize("url", [None, "https://example.org/stn-paper"])
def test_the_address_comes_from_one_place_and_is_never_made_up(url, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    citation = importlib.import_module("citation")
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("Repository = ")]
    place = next(i for i, line in enumerate(lines) if line.startswith("[project.urls]"))
    lines[place + 1 : place + 1] = [f'Repository = "{url}"'] if url else []
    (tmp_path / "book").mkdir()
    (tmp_path / "pyproject.toml").write_text("\n".join(lines))
    for path in ("CITATION.cff", "book/cite.md"):
        (tmp_path / path).write_text((ROOT / path).read_text())
    written = citation.files(tmp_path)
    cited = yaml.safe_load(written["CITATION.cff"])
    assert cited.get("repository-code") == url
    assert cited["references"][0]["repository-code"] == PROJECT["urls"]["Author's code"]
    assert json.loads(written["codemeta.json"]).get("codeRepository") == url
    found = json.loads(written[".zenodo.json"]).get("related_identifiers", [])
    assert [one["identifier"] for one in found] == ([url] if url else [])
    assert written["book/cite.md"].count("url = {") == bool(url)
    for path in ("CITATION.cff", "book/cite.md"):  # written anew, the files stay as they are
        (tmp_path / path).write_text(written[path])
    assert citation.files(tmp_path) == written


def test_the_package_is_imported_on_windows_and_lets_waiting_threads_sleep():
    code = "import sys; sys.modules['resource'] = None; import os, stn_paper"
    for given, expected, more in (
        ({}, "10000", ", stn_paper.training.loop"),
        ({"GOMP_SPINCOUNT": "7"}, "7", ""),
    ):
        variables = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"} | given
        command = [sys.executable, "-c", f"{code}{more}; print(os.environ['GOMP_SPINCOUNT'])"]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [expected]
