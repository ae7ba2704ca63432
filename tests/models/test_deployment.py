"""Compiled, traced and exported transformers give the same output as in torch, at any batch size."""

import subprocess
import sys
import warnings

import pytest
import torch
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

from stn_paper import SpatialTransformer, with_stn
from stn_paper.models.localization import localization_net
from stn_paper.models.transforms import TRANSFORMS
from stn_paper.paths import ROOT

OPTIONS = {
    "sizes": {"transform": "affine", "output_size": (9, 12), "antialias": True, "padding": "border"},
    "bounds": {"transform": "similarity", "max_scale": 2, "max_angle": 30, "padding": (0.1, 0.2, 0.3)},
    "copy": {"transform": "affine", "localization_size": 20, "padding": 0.5},
    "steps": {"transform": "similarity", "steps": 3, "padding": "border"},
    "glimpses": {"transform": "attention", "glimpses": 2, "output_size": (9, 12), "antialias": True},
    "returns": {"transform": "projective", "return_theta": True, "return_grid": True},
}
CASES = {transform: {"transform": transform} for transform in TRANSFORMS} | OPTIONS
# Each export takes seconds. OPTIONS has affine, similarity, attention and projective maps already.
EXPORTED = {"tps": {"transform": "tps"}} | OPTIONS


def moving(transform, localization_size=24, glimpses=None, **options):
    """A transformer for (B, 3, 24, 24) whose maps differ between images."""
    torch.manual_seed(0)
    net = localization_net("stn", localization_size, transform=transform, glimpses=glimpses)
    torch.nn.init.normal_(getattr(net.head[-1], "linear", net.head[-1]).weight, std=0.1)
    size = localization_size if localization_size != 24 else None
    return SpatialTransformer(net, transform, localization_size=size, **options).eval()


@pytest.mark.parametrize("case", CASES)
def test_fx_traces_and_jit_traces_take_any_batch(case):
    stn = moving(**CASES[case])
    one, seven = torch.rand(1, 3, 24, 24), torch.rand(7, 3, 24, 24)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about sizes
        traced = torch.jit.trace(stn, (seven,))
        programs = [torch.fx.symbolic_trace(stn), traced]
        if case != "returns":  # the next layer takes images alone
            programs.append(torch.jit.script(torch.nn.Sequential(traced, torch.nn.Identity())))
    for images in (one, seven):
        for program in programs:
            torch.testing.assert_close(program(images), stn(images), atol=1e-5, rtol=0)


def test_torchvision_extracts_features_behind_a_transformer():
    model = with_stn(resnet18(num_classes=4), "lstn", 32).eval()
    features = create_feature_extractor(model, ["backbone.layer2"])
    images = torch.rand(2, 3, 32, 32)
    assert features(images)["backbone.layer2"].shape == (2, 128, 4, 4)


def test_fx_traces_a_network_with_a_transformer_before_a_layer():
    model = with_stn(resnet18(num_classes=4), "stn", 96, before="layer1").eval()
    torch.nn.init.normal_(model.transformer.localization.head[-1].weight, std=0.1)
    program, images = torch.fx.symbolic_trace(model), torch.rand(2, 3, 96, 96)
    torch.testing.assert_close(program(images), model(images))


EXPORTS = """
import sys, torch, onnxruntime
from collections import OrderedDict
from stn_paper import with_stn
from tests.models.test_deployment import EXPORTED, Several, few_and_more, moving

few, more = few_and_more()
stns = {case: moving(**options) for case, options in EXPORTED.items()}
stem, flat = torch.nn.Conv2d(3, 8, 3, 2, 1), (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
body = torch.nn.Sequential(torch.nn.BatchNorm2d(8), torch.nn.ReLU(), *flat, torch.nn.Linear(8, 4))
small = torch.nn.Sequential(OrderedDict(stem=stem, body=body))
stns["inside"] = with_stn(small, "constant", 24, before="body").eval()
every = Several(*stns.values()).eval()
program = torch.export.export(every, (more,), dynamic_shapes=({0: torch.export.Dim("batch")},))
for images in (few, more):
    torch.testing.assert_close(program.module()(images), every(images), atol=1e-5, rtol=0)

torch.onnx.export(program, f=f"{sys.argv[1]}/newer.onnx", verbose=False)
del stns["copy"]  # the older exporter has no anti-aliased resizing
older = Several(*stns.values()).eval()
names = {"input_names": ["images"], "dynamic_axes": {"images": {0: "batch"}}}
torch.onnx.export(older, (more,), f"{sys.argv[1]}/older.onnx", dynamo=False, opset_version=18, verbose=False, **names)
one_thread = onnxruntime.SessionOptions()
one_thread.intra_op_num_threads = 1
for name, network in {"newer": every, "older": older}.items():
    path = f"{sys.argv[1]}/{name}.onnx"
    session = onnxruntime.InferenceSession(path, one_thread, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    for images in (few, more):
        outputs = [torch.from_numpy(output) for output in session.run(None, {given.name: images.numpy()})]
        torch.testing.assert_close(outputs, network(images), atol=1e-5, rtol=0)
"""


class Several(torch.nn.ModuleList):
    """Networks for the same images as one, as each export starts slowly; gives the list of all their outputs."""

    def __init__(self, *networks):
        super().__init__(networks)

    def forward(self, images):
        outputs = []
        for network in self:
            output = network(images)
            outputs += output if isinstance(output, tuple) else [output]
        return outputs


def few_and_more():
    """One image, and seven others."""
    return torch.rand(1, 3, 24, 24), torch.rand(7, 3, 24, 24)


def run_alone(code, *arguments):
    """Run the function in a process of its own: after an export, a process cannot be forked to train."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_compiled_network_takes_any_batch():
    torch.manual_seed(0)
    model = with_stn(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 24 * 24, 4)), "stn", 24)
    torch.nn.init.normal_(model.transformer.localization.head[-1].weight, std=0.1)
    compiled = torch.compile(model, backend="aot_eager")
    for batch in (3, 5, 2, 8):
        images = torch.rand(batch, 3, 24, 24)
        gradients = []
        for network in (model, compiled):
            model.zero_grad()
            network(images).square().sum().backward()
            gradients.append([p.grad.clone() for p in model.parameters()])
        torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)
        assert model.transformer.last_theta.shape == (batch, 2, 3)
    torch.compiler.reset()


def test_an_exported_program_and_both_onnx_exporters_agree_with_torch(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run_alone(EXPORTS, tmp_path)
