"""The model card of a run: Markdown with the YAML header that model hubs read; `stn-paper card RUN` prints it.

All values come from the record. The headings are those of Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

import json
from pathlib import Path

from ..analysis import frame
from ..data.datasets import DATASETS
from ..errors import InputError, printable
from ..models import HEADINGS, ORIGINAL, RELEASED
from ..models.backbones import BACKBONES
from ..models.backbones import title as network_title
from ..models.localization import LOCALIZATION_NETS
from ..paths import replace_file, results_dir
from ..training import kept, records
from ..training.presets import PROTOCOLS
from ..training.protocol import BEST_OF_FIVE
from . import run_pages

PAPER = (
    "T.-H. Hsu, “An Improved Spatial Transformer Network based on Lightweight Localization Net and its "
    "Application to Computer Vision”, ISASD 2024"
)
TUTORIAL = "PyTorch's “Spatial Transformer Networks Tutorial”"
JADERBERG = "M. Jaderberg et al., “Spatial Transformer Networks”, NIPS 2015"
SIGNS = "Moodstocks, “The power of spatial transformer networks”, 2015, and the code Moodstocks/gtsrb.torch"
SOURCES = {  # smaller system -> the document that its layers are taken from
    "cifar-cnn": f"the README of a public notebook on CIFAR-10, and {TUTORIAL}",
    "clutter-cnn": "MatConvNet, examples/spatial_transformer (for the output of 20 pixels: Lasagne/Recipes)",
    "lenet": f"{TUTORIAL}, without its dropout",
    "mnist-cnn": TUTORIAL,
    "mnist-cnn-400k": f"{JADERBERG}. We added batch normalization and chose the localization net",
    "placement-cnn": "L. Finnveden et al., “Understanding when spatial transformer networks do not support "
    "invariance, and what to do about it”, ICPR 2020",
    "sequence-cnn": "S. K. Sønderby et al., “Recurrent Spatial Transformer Networks”, 2015, arXiv 1509.05329",
    "sign-cnn-bn": f"{SIGNS}. We added batch normalization",
}


def find_record(run):
    """The record of `run`: a run's name, or the path of its JSON file. InputError if there is none."""
    path = Path(run)
    if not path.is_file():
        path = next((p for p in results_dir().glob("*/*.json") if run in (p.stem, p.name)), None)
    if path is None:
        raise InputError(f"Run {run!r} has no record in {results_dir()}: give a record's name or its file.")
    return records.read_named_record(path)


def write_kept():
    """Write the card of each network with kept weights as a .md file beside its weights; return the paths."""
    paths = []
    for name, spec in kept.NETWORKS.items():
        record, weights = records.find(spec), kept.weights_path(spec)
        if record is not None and weights.exists():
            path = weights.with_suffix(".md")
            with replace_file(path) as part:
                part.write_text(f"{model_card(record)}\n{_loading(name)}", encoding="utf-8")
            paths.append(path)
    return paths


def _loading(name):
    """How the kept network `name` is loaded and used, as Markdown."""
    return (
        "## To use it\n\nIn a clone, which has the weights; `images` are of the type uint8, (B, 3, S, S), grey images "
        f"with three equal channels:\n\n```python\nimport stn_paper\n\nnetwork = stn_paper.load({json.dumps(name)})\n"
        "logits = network(network.transform(images))\n```\n"
    )


def model_card(record):
    """The model card of a record, as text that ends in one line break."""
    spec, chosen = records.spec_of(record), records.selected_result(record)
    tables = {
        "Training data": run_pages.labelled_values(record["data"], run_pages.DATA_NAMES),
        "Training settings": run_pages.named_settings(record),
        "Machine": run_pages.labelled_values(record["environment"], run_pages.ENVIRONMENT_NAMES)
        + run_pages.labelled_values(record["measured"], run_pages.MEASURED_NAMES),
    }
    parts = [
        _header(spec, chosen),
        f"# {run_pages.run_title(record['spec'])}",
        f"{_network(spec)} The network has {record['parameters']:,} parameters. Its input images have "
        f"{spec.image_size} x {spec.image_size} pixels. The training started from random weights. {_sources(spec)}",
        "## Results",
        f"The test accuracy is {chosen['test']:.2f} %{run_pages.of_the_labels(spec.dataset)} "
        f"({record['data'].get('test', 0):,} images). This number comes from one run (seed {spec.seed}), after epoch "
        f"{chosen['epoch']} of {len(record['epochs'])} ({run_pages.RULE_NAMES[spec.protocol.selection]}).",
        *_limits_section(record, spec),
        *(part for heading, rows in tables.items() for part in (f"## {heading}", _markdown_table(rows))),
        "## To train it again",
        *_again(record),
    ]
    return "\n\n".join(parts) + "\n"


def _header(spec, chosen):
    """The YAML header for model hubs; strings and numbers of JSON are valid YAML."""
    kind = {"name": "Image classification", "type": "image-classification"}
    dataset = {"name": DATASETS[spec.dataset].title, "type": spec.dataset, "split": "test"}
    accuracy = {
        "type": "accuracy",
        "name": f"Top-1 accuracy (%){run_pages.of_the_labels(spec.dataset)}",
        "value": chosen["test"],
    }
    result = {"task": kind, "dataset": dataset, "metrics": [accuracy]}
    fields = {
        "license": "mit",
        "library_name": "stn-paper",
        "pipeline_tag": "image-classification",
        "tags": ["spatial-transformer", spec.backbone, spec.variant],
        "model-index": [{"name": spec.name, "results": [result]}],
    }
    return "\n".join(["---", *(f"{name}: {json.dumps(value)}" for name, value in fields.items()), "---"])


def _network(spec):
    """The network of the run, in two sentences."""
    name = network_title(spec.backbone)
    if spec.variant == ORIGINAL:
        return f"The backbone is {name}. The network has no spatial transformer."
    return (
        f"The backbone is {name}. The network has a spatial transformer (variant {HEADINGS[spec.variant]})."
    )


def _sources(spec):
    """The documents that the network and its localization net are taken from, in a sentence each."""
    if spec.backbone in BACKBONES:
        return f"Source: {PAPER}."
    source = SOURCES.get(spec.backbone, "the package timm")
    sentence = f"Source of the {'network' if spec.variant == ORIGINAL else 'classifier'}: {source}."
    net = spec.variant.removesuffix(RELEASED)
    return f"{sentence} Source of the localization net: {PAPER}." if net in LOCALIZATION_NETS else sentence


def _limits_section(record, spec):
    """The limits of the run's accuracy, as paragraphs under a heading."""
    own = "that of the book's playground" if spec.protocol == kept.PLAYGROUND else "the user's own"
    limits = [f"Protocol `{spec.protocol.name}`: {PROTOCOLS.get(spec.protocol.name, own)}."]
    limits += frame.image_notes([record])
    if not spec.protocol.test_once and spec.protocol.selection == BEST_OF_FIVE:
        limits.append("The test images choose the epoch, so that the accuracy is biased upwards.")
    return ["## Limits", " ".join(limits)]


def _markdown_table(rows):
    """Pairs of a name and a text as a Markdown table; each text is on one line."""
    cells = [(name, printable(text).replace("|", "\\|")) for name, text in rows]
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in cells)])


def _again(record):
    """How to repeat the run: its command, or a sentence if no command exists, and the commit."""
    line = run_pages.training_command(record)
    code = f"The code was at {run_pages.commit_in_words(record)}."
    if line:
        return [f"```sh\n{line}\n```", code]
    if records.spec_of(record).protocol == kept.PLAYGROUND:
        return [
            "`stn_paper.training.kept.train_playground()` trains the runs of the playground without a record.",
            code,
        ]
    return ["Use RunSpec in Python with the settings above.", code]
