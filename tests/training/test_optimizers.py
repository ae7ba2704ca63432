"""The optimizer's step: its results are torch's, without copies of the gradients on a CPU."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.profiler import profile

from stn_paper.models import with_stn
from stn_paper.training import optimizers
from stn_paper.training.optimizers import InMemoryOrder
from stn_paper.training.protocol import Protocol


def three_steps(context):
    """The weights after three steps of fused Adam, its averages of the gradients, and the operators that ran."""
    draw = torch.Generator().manual_seed(0)
    shapes = (8, 4, 3, 3), (8, 4, 1, 1), (8, 1, 5, 5), (6, 8), (6,)
    weights = [nn.Parameter(torch.randn(shape, generator=draw)) for shape in shapes]
    for weight in weights[:3]:
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(weights, lr=0.1, fused=True)
    with profile() as profiled:
        for _ in range(3):
            for weight in weights:
                weight.grad = torch.empty_like(weight).copy_(torch.randn(weight.shape, generator=draw))
            with context:
                optimizer.step()
    averages = [optimizer.state[weight]["exp_avg"] for weight in weights]
    return weights, averages, {event.key for event in profiled.key_averages()}


def test_a_step_in_memory_order_has_the_same_bits_and_copies_no_gradient():
    weights, averages, operators = three_steps(InMemoryOrder())
    same, as_averages, copying = three_steps(nullcontext())
    for ours, theirs in zip([*weights, *averages], [*same, *as_averages]):
        assert ours.stride() == theirs.stride() and torch.equal(ours, theirs)
    assert "aten::_fused_adam_" in operators and "aten::clone" not in operators
    assert "aten::clone" in copying  # where torch copies nothing, InMemoryOrder is not needed


def test_one_cycle_is_torchs():
    """torch's schedule reaches its peak one step earlier, which is negligible over many steps."""
    protocol = Protocol("mine", learning_rate=0.003, schedule="one-cycle")
    theirs, ours = (torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.003) for _ in range(2))
    ours.param_groups[0]["share"] = 1.0
    cycle = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.003, 5001, cycle_momentum=False)
    for step in range(5001):
        optimizers.set_rate(ours, protocol, step / 5000)
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], abs=3e-6)
        if step < 5000:
            theirs.step()
            cycle.step()
    assert ours.param_groups[0]["lr"] == pytest.approx(0.003 * 4e-6)


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_the_localization_net_has_its_own_rate(share):
    model = with_stn(nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 2)), "lstn", 24)
    optimizer = optimizers.make_optimizer(model, Protocol("mine", localization_rate=share))
    rates = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    assert all(rates[id(w)] == pytest.approx(0.001 * share) for w in model.transformer.parameters())
    assert all(rates[id(w)] == 0.001 for w in model.backbone.parameters())
    optimizers.set_rate(optimizer, Protocol("mine", schedule="one-cycle", localization_rate=share), 0.0)
    net, backbone = optimizer.param_groups[-1], optimizer.param_groups[0]
    assert (net["lr"], backbone["lr"]) == (pytest.approx(0.001 * share / 25), pytest.approx(0.001 / 25))
