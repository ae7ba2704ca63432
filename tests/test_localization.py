"""The localization nets are the paper's Tables 1 to 3, row by row, at any input size."""

import pytest
import torch
from torch import nn

from stn_paper.errors import InputError
from stn_paper.localization import LOCALIZATION_NETS, localization_net, minimum_size
from stn_paper.paper import LOCALIZATION_TABLES, layers, table
from stn_paper.transformer import KINDS

VARIANTS = list(LOCALIZATION_NETS)


@pytest.mark.parametrize("number, variant", LOCALIZATION_TABLES.items())
def test_each_row_has_the_printed_shape_and_parameters(number, variant):
    net, x = localization_net(variant, 224), torch.zeros(1, 3, 224, 224)
    rows = layers(number)
    assert len(net.features) == len(rows)
    for layer, row in zip(net.features, rows):
        x = layer(x)
        assert x.shape[1:] == (row.channels, row.height, row.width)
        assert sum(p.numel() for p in layer[0].parameters()) == row.parameters
        norms = [p.numel() for m in layer if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]
        assert sum(norms) == row.norm_parameters


@pytest.mark.parametrize("number, variant", LOCALIZATION_TABLES.items())
def test_totals_are_the_printed_ones(number, variant):
    net = localization_net(variant, 224)
    assert sum(p.numel() for p in net.features.parameters()) == int(table(number)["parameters"].iloc[-1])
    # two linear layers, biases included: (H x W x C) x 32 + 32 and 32 x 6 + 6
    assert sum(p.numel() for p in net.head.parameters()) == 52 * 52 * 10 * 32 + 32 + 32 * 6 + 6


@pytest.mark.parametrize("variant", VARIANTS)
def test_any_size_from_the_smallest_works(variant):
    smallest = minimum_size(variant)
    for size in (smallest, smallest + 1, 28, 33, 64, 97):
        net = localization_net(variant, size).eval()
        assert net(torch.rand(2, 3, size, size)).shape == (2, 6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_pixel_less_is_too_small(variant):
    size = minimum_size(variant) - 1
    with pytest.raises(InputError) as error:
        localization_net(variant, size)
    assert str(size) in str(error.value) and f"at least {size + 1} pixels" in str(error.value)


@pytest.mark.parametrize("variant", VARIANTS)
def test_relu_follows_pools_or_batch_norms_only(variant):
    for layer in localization_net(variant, 64).features:
        has_relu = any(isinstance(m, nn.ReLU) for m in layer)
        assert has_relu == any(isinstance(m, (nn.MaxPool2d, nn.BatchNorm2d)) for m in layer)


def test_an_unknown_net_is_named():
    with pytest.raises(InputError, match=r"'original'.*stn, vstn, lstn"):
        localization_net("original", 64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_last_layer_gives_each_kind_its_identity(variant, kind):
    net, affine = localization_net(variant, 40, kind=kind), localization_net(variant, 40)
    identity = KINDS[kind].identity
    assert torch.equal(net(torch.rand(2, 3, 40, 40)), identity.expand(2, -1))
    more = sum(p.numel() for p in net.parameters()) - sum(p.numel() for p in affine.parameters())
    assert more == (len(identity) - 6) * 33  # 32 weights and a bias for each number


def test_an_unknown_kind_is_named():
    with pytest.raises(InputError, match=r"kind of map 'elastic'.*affine, projective, tps"):
        localization_net("stn", 64, kind="elastic")
