"""The examples in the docstrings of `models` give the results that they show."""

import copy
import doctest

import pytest
import timm
import torch
import torchvision

from stn_paper import models
from stn_paper.models import costs, guards, insertion, localization, timm_models, transformer, transforms

MODULES = (models, costs, guards, insertion, localization, timm_models, transformer, transforms)
EXAMPLES = [
    test for module in MODULES for test in doctest.DocTestFinder().find(module, globs={}) if test.examples
]


@pytest.fixture(scope="module")
def model():
    return insertion.with_stn(torchvision.models.resnet18(num_classes=4), "lstn", 64, keep_graph=True)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_an_example_gives_what_it_shows(example, model):
    torch.manual_seed(0)
    for module in MODULES:
        example.globs |= vars(module)
    example.globs |= {
        "torch": torch,
        "torchvision": torchvision,
        "timm": timm,
        "cross_entropy": torch.nn.functional.cross_entropy,
        "images": torch.rand(2, 3, 64, 64),
        "labels": torch.tensor([0, 1]),
        "model": copy.deepcopy(model),
    }
    if "penalty" in example.name:
        example.globs["model"](example.globs["images"])
    found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert found.attempted and not found.failed


def test_the_functions_that_users_call_have_an_example():
    documented = {test.name.removeprefix("stn_paper.models.") for test in EXAMPLES}
    assert {
        "build_model",
        "insertion.with_stn",
        "insertion.param_groups",
        "transformer.SpatialTransformer",
        "transformer.warp",
        "transforms.compose",
        "localization.localization_net",
    } <= documented
