"""The three files that say what to install agree, and the README's commands are the Makefile's."""

import os
import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import stn_paper
from stn_paper.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines()]


def declared():
    lines = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("requirement", declared(), ids=lambda r: r.name)
def test_the_lock_pins_every_dependency_within_its_range(requirement):
    pins = [r for r in LOCK if canonicalize_name(r.name) == canonicalize_name(requirement.name)]
    assert pins
    for pin in pins:
        version = str(pin.specifier).removeprefix("==")
        assert requirement.specifier.contains(version), (requirement, version)


def test_the_lock_pins_exactly():
    assert all(re.fullmatch(r"==[^,*]+", str(r.specifier)) for r in LOCK)


def test_conda_installs_the_lock_and_nothing_else_through_pip():
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text().splitlines()]
    pip = lines[lines.index("- pip:") + 1 :]
    assert pip == ["- -r requirements.lock", "- -e ."]


def test_conda_takes_an_allowed_python():
    python = re.search(r"python=([\d.]+)", (ROOT / "environment.yml").read_text())[1]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)


@pytest.mark.parametrize("target", ["book", "test"])
def test_the_readmes_make_targets_exist(target):
    assert f"make {target}" in (ROOT / "README.md").read_text()
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_importing_the_package_leaves_slow_packages_for_when_they_are_needed():
    slow = {"torchvision", "timm", "thop", "captum", "pandas", "matplotlib", "seaborn", "scipy", "mlxtend"}
    code = f"import sys, stn_paper; print(sorted({slow} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_package_offers_its_names_when_they_are_asked_for():
    code = f"from stn_paper import {', '.join(stn_paper.__all__)}; costs.measure"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no_such_name"):
        stn_paper.no_such_name  # noqa: B018


def test_a_machine_with_few_packages_can_train_and_measure():
    """A bare GPU machine has torch, torchvision, timm, pandas and seaborn."""
    others = {"scipy", "sklearn", "thop", "mlxtend", "captum", "altair", "itables", "papermill", "IPython"}
    code = f"""
import importlib.machinery
finder = importlib.machinery.PathFinder
find = finder.find_spec
finder.find_spec = lambda name, *more: None if name.partition(".")[0] in {others} else find(name, *more)
import stn_paper.analysis.campaign, benchmarks.__main__
from stn_paper import build_model
build_model("effb0", "lstn", 10)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_everywhere_the_same_version_is_cited():
    version = PROJECT["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"version = {{{version}}}" in (ROOT / "book" / "cite.md").read_text()


def test_the_package_is_imported_on_windows_and_lets_waiting_threads_sleep():
    code = "import sys; sys.modules['resource'] = None; import os, stn_paper, stn_paper.training.loop"
    for given, expected in ({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"):
        variables = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"} | given
        command = [sys.executable, "-c", f"{code}; print(os.environ['GOMP_SPINCOUNT'])"]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [expected]
