"""Convolutions on a CPU: values and gradients are those of torch, and only the slow ones are replaced."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

from stn_paper.models import build_model
from stn_paper.training.convolutions import FastConvolutions

PRODUCT, GRADIENT, TORCH = "PermuteBackward0", "_ConvolutionBackward", "ConvolutionBackward0"
CASES = {  # (input, weight, settings of F.conv2d after the bias) -> the step that computes it
    "product": ((3, 64, 2, 2), (512, 64, 3, 3), (1, 1), PRODUCT),
    "product with a stride": ((2, 256, 3, 4), (128, 256, 3, 3), ((2, 3), (1, 2)), PRODUCT),
    "product with a long kernel": ((2, 512, 2, 3), (256, 512, 2, 3), (1, 0), PRODUCT),
    "product of one pixel": ((2, 512, 1, 1), (512, 512, 1, 1), (), PRODUCT),
    "depthwise": ((3, 6, 4, 4), (6, 1, 5, 5), (1, 2, 1, 6), GRADIENT),
    "depthwise with a stride": ((2, 6, 8, 5), (6, 1, 3, 5), ((2, 1), (1, 2), 1, 6), GRADIENT),
    "depthwise to a small map": ((2, 6, 7, 5), (6, 1, 3, 5), ((2, 3), (1, 2), 1, 6), GRADIENT),
    "depthwise that leaves pixels": ((2, 6, 9, 8), (6, 1, 3, 7), ((2, 3), (1, 2), 1, 6), GRADIENT),
    "depthwise on images narrower than its kernel": ((2, 6, 2, 2), (6, 1, 3, 3), (1, 1, 1, 6), GRADIENT),
    "depthwise with three columns": ((2, 6, 4, 4), (6, 1, 5, 3), (1, (2, 1), 1, 6), TORCH),
    "first": ((2, 3, 32, 32), (8, 3, 7, 7), (2, 3), GRADIENT),
    "first of AlexNet": ((2, 3, 63, 64), (8, 3, 11, 11), (4, 2), GRADIENT),
    "first with a kernel smaller than its stride": ((2, 1, 9, 12), (5, 1, 2, 3), (4, (0, 1)), GRADIENT),
    "first that leaves pixels": ((2, 4, 12, 11), (5, 4, 3, 2), ((3, 3), (1, 0)), GRADIENT),
    "first with one number in each tuple": ((2, 3, 9, 9), (8, 3, 3, 3), ((2,), (1,), (1,)), GRADIENT),
    "two strides": ((2, 3, 12, 12), (8, 3, 3, 3), ((2, 3), 1), TORCH),
    "stride of many channels": ((2, 5, 12, 12), (8, 5, 3, 3), (2, 1), TORCH),
    "large map": ((2, 64, 3, 3), (512, 64, 3, 3), (1, 1), TORCH),
    "few weights": ((2, 4, 2, 2), (8, 4, 3, 3), (1, 1), TORCH),
    "groups": ((2, 512, 2, 2), (512, 256, 3, 3), (1, 1, 1, 2), TORCH),
    "dilation": ((2, 64, 2, 2), (512, 64, 3, 3), (1, 2, 2), TORCH),
    "padding by name": ((2, 64, 2, 2), (512, 64, 3, 3), (1, "same"), TORCH),
    "one image without a batch": ((64, 2, 2), (512, 64, 3, 3), (1, 1), "SqueezeBackward1"),
    "two filters a channel": ((2, 6, 4, 4), (12, 1, 5, 5), (1, 2, 1, 6), TORCH),
}


def convolve(context, shape, kernel, settings, biased=True):
    """The output of a convolution of fixed random numbers, and its gradients, in float64."""
    draw = torch.Generator().manual_seed(0)
    size = {"generator": draw, "dtype": torch.float64}
    leaves = [torch.randn(shape, **size), torch.randn(kernel, **size)]
    leaves = [
        (x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x).requires_grad_()
        for x in leaves
    ]
    leaves += [torch.randn(kernel[0], **size).requires_grad_()] if biased else []
    with context:
        out = F.conv2d(*leaves, *(() if biased else (None,)), *settings)
    step = type(out.grad_fn).__name__
    return step, out, *torch.autograd.grad((out * torch.randn(out.shape, **size)).sum(), leaves)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("biased", [True, False])
def test_values_and_gradients_are_those_of_torch(name, biased):
    *shapes, expected = CASES[name]
    step, *ours = convolve(FastConvolutions(), *shapes, biased)
    _, *theirs = convolve(nullcontext(), *shapes, biased)
    assert step == expected
    for mine, exact in zip(ours, theirs):
        assert mine.shape == exact.shape
        torch.testing.assert_close(mine, exact, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["product", "depthwise", "few weights"])
def test_arguments_may_be_named_as_torch_names_them(name):
    shape, kernel, settings, _ = CASES[name]
    names = dict(zip(("stride", "padding", "dilation", "groups"), settings))
    given = {"input": torch.rand(shape), "weight": torch.rand(kernel), "bias": torch.rand(kernel[0])}
    with FastConvolutions():
        out = F.conv2d(**given, **names)
    torch.testing.assert_close(out, F.conv2d(**given, **names))


def test_outputs_and_gradients_of_weights_keep_the_memory_format():
    _, out, _, of_weight, _ = convolve(FastConvolutions(), *CASES["product"][:3])
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert of_weight.is_contiguous(memory_format=torch.channels_last)


def test_images_without_a_gradient_get_none():
    weight = torch.randn(6, 1, 3, 3, requires_grad=True)
    with FastConvolutions():
        out = F.conv2d(torch.randn(2, 6, 2, 2), weight, None, 1, 1, 1, 6)
    out.sum().backward()
    assert type(out.grad_fn).__name__ == GRADIENT and weight.grad.shape == weight.shape


def test_a_first_convolution_under_autocast_is_in_bfloat16_and_its_weights_gradient_in_float32():
    draw, outs = torch.Generator().manual_seed(0), []
    images = torch.rand((2, 3, 32, 32), generator=draw).requires_grad_()
    weight = torch.randn((8, 3, 7, 7), generator=draw).requires_grad_()
    for context in (FastConvolutions(), nullcontext()):
        with torch.autocast("cpu", torch.bfloat16), context:
            out = F.conv2d(images, weight, None, 2, 3)
        outs.append((out, *torch.autograd.grad(out.float().square().sum(), (images, weight))))
    ours, theirs = outs
    assert (
        [x.dtype for x in ours] == [x.dtype for x in theirs] == [torch.bfloat16, torch.float32, torch.float32]
    )
    for mine, exact in zip(ours, theirs):
        assert (mine - exact).float().norm() < 0.01 * exact.float().norm()


@pytest.mark.parametrize("variant", ["original", "lstn"])
def test_a_step_of_a_whole_network_is_torchs_up_to_rounding(variant):
    torch.manual_seed(0)
    model = build_model("effb0", variant, 10, 64).to(memory_format=torch.channels_last).double().train()
    images, labels, gradients = torch.rand(4, 3, 64, 64).double(), torch.arange(4), []
    for context in (FastConvolutions(), nullcontext()):
        torch.manual_seed(1)  # of dropout
        model.zero_grad()
        with context:
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    ours, theirs = gradients
    assert (ours - theirs).norm() < 1e-9 * theirs.norm()
    assert not torch.equal(ours, theirs)  # some convolutions were replaced
