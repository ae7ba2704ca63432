"""The paper's EfficientNets: parameters, dense expansion, scaling, and randomness in training only."""

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from stn_paper.analysis.paper import table
from stn_paper.models.efficientnet import InvertedResidual, SqueezeExcitation, efficientnet

BLOCKS = {"effb0": 16, "effb1": 23, "effb2": 23, "effb3": 26, "effb4": 31, "effb5": 39}
DROPOUT = {"effb0": 0.2, "effb1": 0.2, "effb2": 0.3, "effb3": 0.3, "effb4": 0.4, "effb5": 0.4}


def build(name, num_classes=10):
    with torch.device("meta"):
        return efficientnet(name, num_classes)


def layers(model, kind):
    return [m for m in model.modules() if isinstance(m, kind)]


def caltech_parameters():
    originals = table(5)[table(5)["variant"] == "original"]
    return [(r.backbone, int(r.parameters)) for r in originals.itertuples() if r.backbone in BLOCKS]


@pytest.mark.parametrize("name, parameters", caltech_parameters())
def test_parameters_of_table_5(name, parameters):
    assert sum(p.numel() for p in build(name, 101).parameters()) == parameters


@pytest.mark.parametrize("name", BLOCKS)
def test_depth_and_dropout_follow_the_size(name):
    model = build(name)
    assert len(layers(model, InvertedResidual)) == BLOCKS[name]
    assert [m.p for m in layers(model, nn.Dropout)] == [DROPOUT[name]]
    assert {m.p for m in layers(model, StochasticDepth)} == {0.2}


def test_the_expansion_is_a_dense_3_x_3():
    first, *others = layers(build("effb0"), InvertedResidual)
    assert layers(first, nn.Conv2d)[0].groups == 32  # the first stage does not expand
    for block in others:
        expand = layers(block, nn.Conv2d)[0]
        assert (expand.kernel_size, expand.groups) == ((3, 3), 1)
        assert expand.out_channels == 6 * expand.in_channels


def test_only_squeeze_and_excitation_has_biases():
    model = build("effb0")
    inside = {id(conv) for se in layers(model, SqueezeExcitation) for conv in layers(se, nn.Conv2d)}
    assert all((conv.bias is not None) == (id(conv) in inside) for conv in layers(model, nn.Conv2d))


def test_the_last_feature_map_is_a_32nd():
    with torch.device("meta"):
        assert build("effb0")[0](torch.zeros(1, 3, 224, 224)).shape == (1, 1280, 7, 7)


def test_a_stage_halves_the_image_in_its_first_block():
    with torch.device("meta"):
        (stem, *blocks, _), x = build("effb0")[0], torch.zeros(1, 3, 64, 64)
        sides = [(x := layer(x)).shape[-1] for layer in (stem, *blocks)]
    assert sides == [32, 32, *[16] * 2, *[8] * 2, *[4] * 6, *[2] * 5]


def test_only_a_block_that_keeps_its_shape_adds_its_input():
    torch.manual_seed(0)
    for channels, stride, adds in ((8, 1, True), (8, 2, False), (12, 1, False)):
        block, x = InvertedResidual(8, channels, 6, stride, 3).eval(), torch.rand(2, 8, 6, 6)
        torch.testing.assert_close(block(x) - block.block(x), x if adds else torch.zeros_like(block(x)))


def test_the_projection_has_no_activation():
    torch.manual_seed(0)
    block = InvertedResidual(8, 12, 6, 1, 3).train()  # the last norm's outputs have mean 0 and variance 1
    assert block(torch.rand(2, 8, 6, 6)).min() < -1  # SiLU gives nothing below -0.28


def test_squeeze_and_excitation_weighs_channels():
    x = torch.rand(2, 8, 5, 5) + 1
    weights = SqueezeExcitation(8, 2)(x) / x
    torch.testing.assert_close(weights, weights[..., :1, :1].expand_as(x))
    assert ((weights > 0) & (weights < 1)).all()


def test_the_network_is_random_in_training_only():
    torch.manual_seed(0)
    model, images = efficientnet("effb0", 4), torch.rand(2, 3, 32, 32)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))
