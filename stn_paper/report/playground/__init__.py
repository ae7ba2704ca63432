"""The playground: trained digit networks that run in the reader's browser, without a server.

`playground` returns the page's HTML: page.html with network.js (forward pass) and page.js (drawing and controls).
`network_script` writes a trained network as a script, which the book loads only on this page.
"""

import base64
import json
from string import Template

import pandas as pd
import torch
from IPython.display import HTML
from matplotlib.colors import to_hex
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ...analysis import frame
from ...data.datasets import embedded_digits
from ...data.distortions import CANVAS, DIGIT
from ...models import HEADINGS, ORIGINAL, RELEASED
from ...paths import PACKAGE
from ...training import kept, records
from ..figures import COLORS

FOLDER = PACKAGE / "report/playground"
MODULES = ("network.js", "page.js")
# embedded digits, one of each class, that are in the validation split of MNIST
HELD_OUT = [12, 518, 1013, 1511, 2034, 2515, 3011, 3530, 4002, 4511]


def playground():
    """HTML on which readers draw or choose a digit, rotate, scale and move it, and see the answers of three networks.

    The reader's browser computes everything. The book has the networks as the scripts of `network_scripts`; without
    them, for example in Jupyter, the page says so.
    """
    parts = {
        "script": "\n".join((FOLDER / name).read_text(encoding="utf-8").strip() for name in MODULES),
        "digits": json.dumps([base64.b64encode(digit.tobytes()).decode() for digit in real_digits()]),
        "names": json.dumps(_names()),
        "colors": json.dumps({v: to_hex(COLORS[v]) for v in kept.kept_variants()}),
        "canvas": CANVAS,
        "digit": DIGIT,
    }
    return HTML(Template((FOLDER / "page.html").read_text(encoding="utf-8")).substitute(parts))


def network_scripts():
    """The scripts that the page loads: {file name: text}, each below 400 kB."""
    return {
        f"{variant}.js": network_script(variant, kept.load(f"digits-{variant}"))
        for variant in kept.kept_variants()
    }


def network_script(variant, model):
    """JavaScript that adds a network to the page: its layers, and its weights as base64 of float32."""
    parts = export_layers(model)
    return f"(window.PLAYGROUND ??= {{}}).{variant} = {json.dumps(parts, separators=(',', ':'))};\n"


def export_layers(model):
    """{transformer, classifier}: {layers, weights} of a digit CNN, as network.js computes them.

    They are exact up to rounding: batch norms are folded into the convolutions before them, and a first convolution
    takes one channel, because the three channels of a grey image are equal.
    """
    parts = {"transformer": None, "classifier": _layers_and_weights(getattr(model, "backbone", model))}
    if hasattr(model, "transformer"):
        parts["transformer"] = _layers_and_weights(model.transformer.localization)
    return parts


def _layers_and_weights(network):
    layers, weights = [], []
    for module in _folded([m for m in network.modules() if not [*m.children()]]):
        match module:
            case nn.Conv2d():
                weight = module.weight if layers else module.weight.sum(1, keepdim=True)
                (kernel, _), (stride, _), (padding, _) = module.kernel_size, module.stride, module.padding
                layers.append(["conv", module.out_channels, kernel, stride, padding])
                weights += [weight, module.bias]
            case nn.Linear():
                layers.append(["linear", module.out_features])
                weights += [module.weight, module.bias]
            case nn.MaxPool2d(kernel_size=2, stride=2):
                layers.append(["pool"])
            case nn.ReLU():
                layers.append(["relu"])
            case nn.Flatten() | nn.Dropout() | nn.Dropout2d():
                pass
            case _:
                raise TypeError(f"The playground has no layer {module}.")
    numbers = torch.cat([w.detach().flatten() for w in weights]).numpy().astype("<f4")
    return {"layers": layers, "weights": base64.b64encode(numbers.tobytes()).decode()}


def _folded(modules):
    """The layers in order, each batch norm folded into the convolution before it."""
    for module, following in zip(modules, [*modules[1:], None]):
        if isinstance(following, nn.BatchNorm2d):
            yield fuse_conv_bn_eval(module, following)
        elif not isinstance(module, nn.BatchNorm2d):
            yield module


def real_digits():
    """The ten MNIST digits of HELD_OUT, 0 to 9, uint8 (10, 28, 28); the networks were not trained on them."""
    return embedded_digits()[0][HELD_OUT]


def networks_table():
    """The page's networks: parameters, training images, epochs and test accuracy of their records."""
    rows = {}
    for variant, name in _names().items():
        if (record := records.find(kept.playground_spec(variant))) is None:
            continue
        rows[name] = {
            "Parameters": f"{record['parameters']:,}",
            "Training images": f"{record['data']['train']:,}",
            "Epochs": len(record["epochs"]),
            "Test accuracy (%)": f"{record['test']['accuracy']:.2f}",
        }
    return pd.DataFrame(rows).T


def bypass_verdict():
    """Return two sentences on the bypassed runs on GTSRB.

    The first counts the runs that have the same accuracies as the run without a transformer. The second counts the
    epochs after which theta is the identity.
    """
    runs = frame.runs("gtsrb", "system", "mnist-cnn").itertuples()
    found = {(run.variant, run.seed): run.record for run in runs}
    pairs = [(r, found[ORIGINAL, seed]) for (v, seed), r in found.items() if v.endswith(RELEASED)]
    equal = [_accuracies(bypassed) == _accuracies(alone) for bypassed, alone in pairs]
    still = [
        epoch["theta"]["mean"] == [1, 0, 0, 0, 1, 0] for bypassed, _ in pairs for epoch in bypassed["epochs"]
    ]
    return (
        f"On GTSRB, {sum(equal)} of {len(equal)} runs with a bypassed transformer have exactly the "
        f"accuracies of the run without a transformer and with the same seed, after every epoch. Theta is the identity "
        f"after {sum(still)} of {len(still)} epochs."
    )


def _accuracies(record):
    return [(epoch["validation_accuracy"], epoch["test_accuracy"]) for epoch in record["epochs"]]


def _names():
    return {v: HEADINGS[v] if v != ORIGINAL else "Without" for v in kept.kept_variants()}
