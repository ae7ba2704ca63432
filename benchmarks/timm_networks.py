"""Which timm networks take a transformer: `python -m benchmarks.timm_networks` writes `timm_networks.csv`.

L-STN is put before each network; weights are random. A cell of the table is "yes" if the network passed the check, else
the first line of the error.
"""

import argparse
import csv
import io
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import timm
import torch
from torch import nn

from stn_paper import with_stn
from stn_paper.models import param_groups
from stn_paper.paths import replace_file

from .measuring import commit

OUT = Path(__file__).with_suffix(".csv")
BATCH, CLASSES = 2, 5
TOLERANCE = 1e-3  # between outputs that must agree, relative to the largest number


class Network(NamedTuple):
    """A network of timm and the side of its images in pixels."""

    name: str
    family: str
    image_size: int
    arguments: dict = {}  # noqa: RUF012 (read only)


NETWORKS = (
    Network("resnet10t", "convolutional", 64),
    Network("resnext26ts", "convolutional", 64),
    Network("densenet121", "convolutional", 64),
    Network("efficientnet_lite0", "convolutional", 64),
    Network("mobilenetv3_small_050", "convolutional", 64),
    Network("regnetx_002", "convolutional", 64),
    Network("convnext_atto", "convolutional", 64),
    Network("ghostnet_050", "convolutional", 64),
    Network("repvgg_a0", "convolutional", 64),
    Network("vgg11_bn", "convolutional", 64),
    Network("vit_tiny_patch16_224", "transformer", 64, {"img_size": 64}),
    Network("deit_tiny_patch16_224", "transformer", 64, {"img_size": 64}),
    Network("swin_tiny_patch4_window7_224", "transformer", 64, {"img_size": 64, "window_size": 2}),
    Network("pvt_v2_b0", "transformer", 64),
    Network("mixer_s32_224", "mixer", 224),
    Network("poolformerv2_s12", "hybrid", 64),
    Network("coatnet_pico_rw_224", "hybrid", 64, {"img_size": 64}),
    Network("levit_128s", "hybrid", 224),
    Network("mobilevit_xxs", "hybrid", 64),
    Network("edgenext_xx_small", "hybrid", 64),
)


def images_of(network, channels=3):
    """A batch of random images (B, channels, S, S)."""
    return torch.rand(BATCH, channels, network.image_size, network.image_size)


def behind_lstn(network, channels=3, **arguments):
    """The network behind L-STN, in evaluation mode."""
    torch.manual_seed(0)
    model = timm.create_model(
        network.name, in_chans=channels, **network.arguments, **({"num_classes": CLASSES} | arguments)
    )
    return with_stn(model.eval(), "lstn", network.image_size, channels, keep_graph=True)


def agree(ours, expected):
    """Raise an error unless both outputs, tensors or lists of tensors, agree."""
    for output, reference in zip(_list(ours), _list(expected), strict=True):
        difference = (output - reference).abs().max().item() / max(1.0, reference.abs().max().item())
        if not difference <= TOLERANCE:
            raise RuntimeError(f"The outputs differ by {difference:.1e}.")


def _list(output):
    return list(output) if isinstance(output, (list, tuple)) else [output]


# --- checks -------------------------------------------------------------------------------------


def starts_as_before(network, channels=3, **arguments):
    """Check that a network behind an untrained transformer gives the same output as without."""
    model, images = behind_lstn(network, channels, **arguments), images_of(network, channels)
    with torch.no_grad():
        agree(model(images), model.backbone(images))


def trains(network):
    """Check that two steps of AdamW change the localization net's last weight, which is 0 at the start.

    Weight decay and batch norm leave this weight at 0, so that only a gradient can change it. In the first step there
    is no gradient if the network's own last layer is 0 at the start, as in MLP-Mixer.
    """
    model, images = behind_lstn(network).train(), images_of(network)
    weight = model.transformer.localization.head[-1].weight
    optimizer = torch.optim.AdamW(param_groups(model, 1e-3))
    for _ in range(2):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), torch.arange(BATCH)) + model.transformer.penalty()
        loss.backward()
        optimizer.step()
    if not loss.isfinite() or not weight.any():
        raise RuntimeError(f"Two steps, the last of loss {loss.item()}, changed nothing.")


def moved(network):
    """Return a network whose maps differ from the identity and from image to image."""
    model = behind_lstn(network)
    nn.init.normal_(model.transformer.localization.head[-1].weight, std=0.05)
    return model


def loads(network):
    """Check that a new network with the saved weights gives the same output."""
    model, file = moved(network), io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    loaded = behind_lstn(network)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    images = images_of(network)
    with torch.no_grad():
        agree(loaded(images), model(images))


def exports(network):
    """Check that the program of `torch.export` gives the same output for another batch size."""
    model, images = moved(network), images_of(network)
    batch = ({0: torch.export.Dim("batch", min=1)},)
    program = torch.export.export(model, (images,), dynamic_shapes=batch).module()
    with torch.no_grad():
        for some in (images, images[:1]):
            agree(program(some), model(some))


def exports_onnx(network):
    """Check that onnxruntime gives the same output as torch."""
    import onnxruntime

    model, images = moved(network), images_of(network)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/network.onnx"
        torch.onnx.export(model, (images,), path, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        output = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    with torch.no_grad():
        agree(torch.from_numpy(np.asarray(output)), model(images))


CHECKS = {
    "starts as before": starts_as_before,
    "trains": trains,
    "saves and loads": loads,
    "1 channel": partial(starts_as_before, channels=1),
    "4 channels": partial(starts_as_before, channels=4),
    "num_classes=0": partial(starts_as_before, num_classes=0),
    "features_only": partial(starts_as_before, features_only=True),
    "torch.export": exports,
    "ONNX": exports_onnx,
}


def run_check(check, network):
    """Run a check on a network; return "yes" or the first line of the error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(network)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {lines[0][:160]}"
    return "yes"


def main():
    """Run all checks on all networks; write the table at the end."""
    argparse.ArgumentParser(prog="python -m benchmarks.timm_networks", description=__doc__).parse_args()
    torch.set_num_threads(1)
    versions = {"timm": timm.__version__, "torch": torch.__version__, "commit": commit()}
    columns = ["network", "family", "image size", *CHECKS, *versions]
    with replace_file(OUT) as path, path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        for network in NETWORKS:
            row = {"network": network.name, "family": network.family, "image size": network.image_size}
            row |= {name: run_check(check, network) for name, check in CHECKS.items()}
            table.writerow(row | versions)
            failed = [name for name in CHECKS if row[name] != "yes"]
            print(network.name, "without", ", ".join(failed) or "nothing", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
