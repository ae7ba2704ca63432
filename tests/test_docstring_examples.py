"""The examples in the docstrings give the results that they show; tests/models has those of the networks."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import stn_paper

FOLDERS = ("data", "training", "analysis", "report")
MODULES = [
    importlib.import_module(module.name)
    for folder in FOLDERS
    for module in pkgutil.walk_packages([f"{stn_paper.__path__[0]}/{folder}"], f"stn_paper.{folder}.")
]
EXAMPLES = [
    test
    for module in MODULES
    for test in doctest.DocTestFinder(exclude_empty=True).find(
        module, extraglobs={"stn_paper": stn_paper, "torch": torch}
    )
    if any(not example.options.get(doctest.SKIP) for example in test.examples)
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_an_example_gives_what_it_shows(example, committed):
    found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert found.attempted and not found.failed
