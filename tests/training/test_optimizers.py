"""The optimizer's step: its results are torch's, without copies of the gradients on a CPU."""

from contextlib import nullcontext

import torch
from torch import nn
from torch.profiler import profile

from stn_paper.training.optimizers import InMemoryOrder


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
