"""`measure` counts as the paper does, does not change the model, and agrees with torch's own counter."""

import pytest
import timm
import torch
from helpers import refusal
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stn_paper import build_model
from stn_paper.models import costs


def test_each_rule_by_hand():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=True), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    )
    positions = 4 * 6 * 6
    expected = positions * (27 + 1) + 2 * positions + 144 * 5
    cost = costs.measure(net, 8)
    assert cost.parameters == 3 * 4 * 9 + 4 + 8 + 144 * 5 + 5
    assert round(cost.gflops * 1e9) == expected


def test_a_convolution_without_bias_counts_less_by_its_outputs():
    with_bias, without = (costs.measure(nn.Conv2d(3, 4, 3, bias=b), 8).gflops for b in (True, False))
    assert round((with_bias - without) * 1e9) == 4 * 6 * 6


def test_the_model_is_left_as_it_was():
    model = build_model("resnet18", "lstn", 10, 64).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    costs.measure(model, 64)
    assert model.training
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())
    assert model.state_dict().keys() == before.keys()
    assert not any(m._forward_hooks for m in model.modules())


def test_an_image_size_that_is_no_whole_number_is_named():
    for size in ((64, 64), 64.0, "64", 0):
        assert repr(size) in refusal(costs.measure, nn.Conv2d(3, 4, 3), size)


def test_subclasses_count_as_the_layers_they_extend():
    class MyConv(nn.Conv2d):
        pass

    assert costs.measure(MyConv(3, 4, 3), 8) == costs.measure(nn.Conv2d(3, 4, 3), 8)


def test_a_layer_that_is_used_twice_counts_twice_and_its_parameters_once():
    layer = nn.Conv2d(3, 3, 3, padding=1)
    once, twice = (costs.measure(nn.Sequential(*[layer] * n), 8) for n in (1, 2))
    assert twice == (once.parameters, 2 * once.gflops)


def test_a_linear_layer_counts_at_every_position_frozen_or_not():
    net = nn.Sequential(nn.Flatten(2), nn.Linear(64, 5)).requires_grad_(False)
    cost = costs.measure(net, 8)
    assert (cost.parameters, round(cost.gflops * 1e9)) == (64 * 5 + 5, 3 * 64 * 5)


def test_a_variant_costs_what_its_two_parts_cost():
    whole = build_model("resnet18", "lstn", 10, 64)
    parts = [costs.measure(part, 64) for part in whole.children()]
    assert len(parts) == 2
    assert costs.measure(whole, 64) == pytest.approx([sum(numbers) for numbers in zip(*parts)])


def test_a_timm_model_agrees_with_torchs_counter():
    model = timm.create_model("efficientnet_b0", num_classes=10).eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 64, 64))
    multiply_accumulates = counter.get_total_flops() / 2 / 1e9
    ours = costs.measure(model, 64).gflops
    norms = sum(2 * out for out in _norm_outputs(model)) / 1e9
    assert abs(ours - norms - multiply_accumulates) < 0.01 * multiply_accumulates  # biases and pooling


def test_torchs_counter_counts_two_for_each_multiply_accumulate():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=True), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    ).train()
    assert round(costs.torch_gflops(net, 8) * 1e9) == 2 * (4 * 36 * 27 + 144 * 5)
    assert net.training and net[1].num_batches_tracked == 0
    net[1].eval()
    costs.torch_gflops(net, 8)
    assert net.training and not net[1].training
    assert costs.torch_gflops(nn.Flatten(), 8) == 0
    assert costs.torch_gflops(net.double(), 8) == costs.torch_gflops(net.float(), 8)


def test_torchs_counter_counts_no_grid_and_no_sampling():
    stn = build_model("resnet18", "lstn", 10, 64).transformer
    assert costs.torch_gflops(stn, 64) == pytest.approx(costs.torch_gflops(stn.localization, 64), rel=1e-3)


def _norm_outputs(model):
    sizes = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda m, i, out: sizes.append(out.numel()))
    model(torch.zeros(1, 3, 64, 64))
    return sizes


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64, "compiled"])
def test_precision_and_compilation_change_no_cost(kind):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 14 * 14, 5))
    expected = costs.measure(model, 16)
    converted = torch.compile(model) if kind == "compiled" else model.to(kind)
    assert costs.measure(converted, 16) == expected
    assert kind == "compiled" or {p.dtype for p in model.parameters()} == {kind}


def test_a_model_without_parameters_costs_no_parameter():
    assert costs.measure(nn.Flatten(), 16).parameters == 0
