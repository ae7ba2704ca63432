"""The localization nets equal the paper's Tables 1 to 3, row by row, and work at any input size."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from stn_paper.analysis.paper import LOCALIZATION_TABLES, printed_layers, table
from stn_paper.errors import InputError
from stn_paper.models import build_model, localization
from stn_paper.models.guards import NormedLayer
from stn_paper.models.localization import (
    ABLATIONS,
    HIDDEN,
    LOCALIZATION_NETS,
    feature_size,
    localization_net,
    minimum_size,
)
from stn_paper.models.transformer import TRANSFORMS

VARIANTS = list(LOCALIZATION_NETS)


@pytest.mark.parametrize("number, variant", LOCALIZATION_TABLES.items())
def test_each_row_has_the_printed_shape_and_parameters(number, variant):
    net, x = localization_net(variant, 224), torch.zeros(1, 3, 224, 224)
    rows = printed_layers(number)
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
    smallest = minimum_size(LOCALIZATION_NETS[variant])
    for size in (smallest, smallest + 1, 28, 33, 64, 97):
        net = localization_net(variant, size).eval()
        assert net(torch.rand(2, 3, size, size)).shape == (2, 6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_pixel_less_is_too_small(variant):
    size = minimum_size(LOCALIZATION_NETS[variant]) - 1
    with pytest.raises(InputError) as error:
        localization_net(variant, size)
    assert str(size) in str(error.value) and f"at least {size + 1} pixels" in str(error.value)


@pytest.mark.parametrize("channels", [0, "3", 1.0])
def test_a_wrong_number_of_channels_is_named(channels):
    with pytest.raises(InputError, match=f"in_channels {channels!r} "):
        localization_net("stn", 64, channels)


def test_images_of_another_side_are_named():
    net = localization_net("stn", 64)
    for height, width in ((96, 96), (64, 32), (65, 65)):  # whose features fit the linear layer in 65
        with pytest.raises(InputError, match=f"{height} x {width} pixels do not fit .* for 64 pixels a side"):
            net(torch.rand(2, 3, height, width))


@pytest.mark.parametrize("variant", VARIANTS)
def test_relu_follows_pools_or_batch_norms_only(variant):
    for layer in localization_net(variant, 64).features:
        has_relu = any(isinstance(m, nn.ReLU) for m in layer)
        assert has_relu == any(isinstance(m, (nn.MaxPool2d, nn.BatchNorm2d)) for m in layer)


def test_an_ablation_lacks_its_part_and_keeps_the_rest():
    def kinds(net):
        return [type(m) for row in net.features for m in row]

    def kernels(net):
        return [m.kernel_size[0] for m in net.features.modules() if isinstance(m, nn.Conv2d)]

    whole, no_norm, no_ones = (localization_net(v, 64) for v in ("lstn", "lstn-no-bn", "lstn-no-1x1"))
    assert kinds(no_norm) == [k for k in kinds(whole) if k is not nn.BatchNorm2d]
    assert kernels(no_norm) == kernels(whole)
    assert kernels(no_ones) == [k for k in kernels(whole) if k > 1] and nn.BatchNorm2d in kinds(no_ones)
    assert kernels(localization_net("stn-bn", 64)) == kernels(localization_net("stn", 64))
    added = sum(p.numel() for p in localization_net("stn-bn", 64).parameters())
    assert added == sum(p.numel() for p in localization_net("stn", 64).parameters()) + 2 * (8 + 10)


@pytest.mark.parametrize("variant", ABLATIONS)
def test_an_ablation_stands_before_any_backbone_of_the_paper(variant):
    model = build_model("mnist-cnn", variant, 10, 42).eval()
    images = torch.rand(2, 3, 42, 42)
    assert torch.allclose(model.transformer(images), images, atol=1e-5)  # starts at the identity


def test_a_relu_is_between_the_two_linear_layers():
    kinds = [type(layer) for layer in localization_net("stn", 64).head]
    assert kinds == [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear]  # without it they were one linear layer


def test_an_unknown_net_is_named():
    with pytest.raises(InputError, match=r"'original'.*stn, vstn, lstn"):
        localization_net("original", 64)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_last_layer_gives_each_transform_its_identity(variant, transform):
    net, affine = localization_net(variant, 40, transform=transform), localization_net(variant, 40)
    identity = TRANSFORMS[transform].identity
    assert torch.equal(net(torch.rand(2, 3, 40, 40)), identity.expand(2, -1))
    more = sum(p.numel() for p in net.parameters()) - sum(p.numel() for p in affine.parameters())
    assert more == (len(identity) - 6) * 33  # 32 weights and a bias for each number


def test_an_unknown_transform_is_named():
    with pytest.raises(InputError, match=r"'elastic'.*affine, projective, tps"):
        localization_net("stn", 64, transform="elastic")


def test_on_a_cpu_norms_get_contiguous_maps_and_gradients_and_agree_with_the_plain_path():
    fast = localization_net("lstn", 64).double().to(memory_format=torch.channels_last)
    plain = deepcopy(fast)
    plain.features = nn.Sequential(*(nn.Sequential(*layer) for layer in plain.features))
    images = torch.rand(4, 3, 64, 64).double().contiguous(memory_format=torch.channels_last)
    maps, given, restored, gradients = set(), set(), set(), []
    for _, norm, relu in fast.features:
        norm.register_forward_pre_hook(lambda _, inputs: maps.add(inputs[0].is_contiguous()))
        norm.register_full_backward_hook(lambda _, to, outputs: given.add(outputs[0].is_contiguous()))
        relu.register_forward_pre_hook(lambda _, inputs: restored.add(inputs[0].is_contiguous()))
    for net in (plain, fast):
        loss = (net.features(images) ** 3).mean()
        gradients.append(torch.autograd.grad(loss, list(net.features.parameters())))
    assert (maps, given, restored) == ({True}, {True}, {False})
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("channels, contiguous", [(8, True), (16, False)])
def test_a_norm_of_many_channels_gets_the_maps_as_they_are(channels, contiguous):
    layer = NormedLayer(nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels), nn.ReLU())
    layer.to(memory_format=torch.channels_last)
    layer[1].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].is_contiguous()))
    given = []
    layer(torch.rand(2, 3, 8, 8))
    assert given == [contiguous]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_constant_map_is_built_on_the_default_device(transform):
    with torch.device("meta"):
        assert localization_net("constant", 32, transform=transform).numbers.is_meta
    assert torch.equal(
        localization_net("constant", 32, transform=transform).numbers, TRANSFORMS[transform].identity
    )


@pytest.mark.parametrize("variant", LOCALIZATION_NETS)
def test_a_seed_draws_the_weights_in_the_order_of_our_records(variant):
    """Another order would change every digit of a run: the linear layers are drawn first, the rows after them."""
    rows = LOCALIZATION_NETS[variant]
    torch.manual_seed(0)
    net = localization_net(variant, 40)
    torch.manual_seed(0)
    first = nn.Linear(rows[-1].channels * feature_size(rows, 40) ** 2, HIDDEN)
    nn.Linear(HIDDEN, 6)
    features = localization.build_layers(rows, 3)
    assert torch.equal(net.head[1].weight, first.weight)
    for name, weight in features.state_dict().items():
        assert torch.equal(net.features.state_dict()[name], weight)
