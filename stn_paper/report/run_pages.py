"""The page of a run record: settings, results, machine, and how to repeat the run.

`run_page` makes the page of one record from the template `run_page.html.j2`. `book/_extensions/companion.py` adds
the pages to the book.
"""

import json
import math
from collections import Counter
from functools import cache
from shlex import join

import jinja2

from ..analysis import frame
from ..analysis.statistics import NO_NUMBER
from ..data.datasets import DATASETS
from ..models import HEADINGS
from ..models.backbones import title as network_title
from ..models.guards import COLLAPSED_PERCENT
from ..training import records
from ..training.hardware import CHANGED
from ..training.presets import PROTOCOLS
from ..training.protocol import BEST_OF_FIVE, BEST_VALIDATION, LAST_EPOCH
from ..training.record_fields import PARTLY
from .sentences import count_text

SETTING_NAMES = {  # field of Protocol -> its name in words, and the meaning of None
    "name": ("Protocol", ""),
    "image_size": ("Image size (pixels of a side)", "the network's own"),
    "batch_size": ("Batch size", ""),
    "learning_rate": ("Learning rate", ""),
    "max_epochs": ("Epochs at most", ""),
    "min_epochs": ("Early stopping: not before epoch", ""),
    "window": ("Early stopping: number of last epochs that are compared", ""),
    "tolerance": ("Early stopping: largest distance of these epochs from their mean (points)", ""),
    "selection": ("Rule that selects the epoch", ""),
    "split_seed": ("Seed of the split", ""),
    "train_per_class": ("Training images a class", "all"),
    "max_images": ("Images of each split at most", "all"),
    "max_evaluation": ("Images of validation and of test at most", "all"),
    "skip_corrupt": ("Images that cannot be decoded are left out", ""),
    "normalization": ("Normalization of the images", ""),
    "optimizer": ("Optimizer", ""),
    "precision": ("Precision of products", ""),
    "validation_images": ("Validation images", "the split's own number"),
    "probes": ("Pictures of the trained network are kept", ""),
    "schedule": ("Schedule of the learning rate", ""),
    "localization_rate": ("Learning rate of the localization net, as a share", ""),
    "train_images": ("Training images at most", "all"),
    "max_validation": ("Validation images at most", "all"),
    "test_once": ("Test images are looked at once", ""),
    "augmentation": ("Distortion of training images, drawn anew for every batch", "none"),
    "padding": ("What a transformer reads outside the image", ""),
}
RULE_NAMES = {
    LAST_EPOCH: "the last epoch; no epoch is selected",
    BEST_VALIDATION: "the epoch of the highest validation accuracy",
    BEST_OF_FIVE: "the best test accuracy among the five epochs of the highest validation accuracy, biased upwards; "
    "the validation accuracy is the highest of the run",
}
ENVIRONMENT_NAMES = {
    "threads": "CPU threads",
    "compiled": "Through torch.compile",
    "commit": "Commit of the code",
    "command": "Command",
    "started": "Started (UTC)",
    "ended": "Ended (UTC)",
}
MEASURED_NAMES = {
    "seconds": "Duration of all epochs (seconds)",
    "train_images_per_second": "Training images a second",
    "peak_memory_mib": "Peak memory (MiB)",
    "resumed": "Times continued from a checkpoint",
}
DATA_NAMES = {
    "classes": "Classes",
    "image_size": "Image size (pixels of a side)",
    "train": "Training images",
    "validation": "Validation images",
    "test": "Test images",
    "skipped": "Files left out as they cannot be decoded",
    "duplicates": "Images left out as copies of others",
    "fingerprint": "Fingerprint of the images",
}
RELATED = 20  # seeds of a variant that the page of a related run lists at most
SPLITS = {"train": "training", "validation": "validation", "test": "test"}
# not the colours of the paper's variants
SPLIT_COLORS = {"training": "#262626", "validation": "#cc78bc", "test": "#ca9161"}


def run_title(spec):
    """The title of a run: backbone and dataset, then variant, protocol and seed in brackets.

    With changed settings, the hash in the run's name tells it from other runs.
    """
    details = f"variant {HEADINGS[spec['variant']]}, protocol {spec['protocol']['name']}, seed {spec['seed']}"
    if protocol_in_words(spec) != spec["protocol"]["name"]:
        details += f", changed settings {records.spec_of({'spec': spec}).name.rpartition('_')[2]}"
    return f"{network_title(spec['backbone'])} on {DATASETS[spec['dataset']].title} ({details})"


def protocol_in_words(spec):
    """Return the protocol's name and the settings that the run changed. A user's own protocol has its name only."""
    if spec["protocol"]["name"] not in PROTOCOLS:
        return spec["protocol"]["name"]
    changes = records.spec_of({"spec": spec}).changes
    words = (f"{SETTING_NAMES[field][0].lower()}: {value_text(value)}" for field, value in changes.items())
    return ", ".join([spec["protocol"]["name"], *words])


def _protocol_sentence(spec):
    """What the protocol is, and the settings that the run changed."""
    name, words = spec["protocol"]["name"], protocol_in_words(spec)
    text = f"{name}: {PROTOCOLS.get(name, 'settings of its own')}."
    return text if words == name else f"{text} This run changed settings: {words.partition(', ')[2]}."


def training_command(record):
    """The shell command that trains this run again; "" if its settings have no options.

    It writes to another results folder, because otherwise the existing record would be found.
    """
    spec, environment = records.spec_of(record), record["environment"]
    if spec.protocol.name not in PROTOCOLS or environment.get("compiled") == PARTLY:
        return ""
    words = ["python", "-m", "stn_paper", "run", *spec.arguments]
    words += ["--compile"] if environment.get("compiled") else []
    threads = f"OMP_NUM_THREADS={environment['threads']} " if "threads" in environment else ""
    return f"{threads}STN_PAPER_RESULTS=again {join(words)}"


def run_page(name, runs):
    """The HTML of the page of the run `name` of `runs`, {name: record}; its JSON lies beside it."""
    record = runs[name]
    spec, chosen = record["spec"], records.selected_result(record)
    ends = {"budget": "the whole budget", "early": "until early stopping ended it"}
    collapsed = frame.training_outcome(record)["collapsed"]
    lost = " Collapsed: the sampling grid left the image." if collapsed else ""
    return _template().render(
        name=name,
        title=run_title(spec),
        summary=(
            f"Test accuracy {chosen['test']:.2f} %{of_the_labels(spec['dataset'])} at epoch {chosen['epoch']}. Trained "
            f"for {count_text(len(record['epochs']), 'epoch')}, {ends[record['stopped']]}; {record['parameters']:,} "
            f"parameters.{lost}"
        ),
        rules=[
            (r, words, record["selected"][r]) for r, words in RULE_NAMES.items() if record["selected"].get(r)
        ],
        measured=[*_further_results(record), *_theta_diagnostics(record)],
        chart=json.dumps(curves_chart(record)),
        curves=curves_in_words(record),
        relatives=_relatives(name, runs),
        most=RELATED,
        protocol=_protocol_sentence(spec),
        settings=list(named_settings(record)),
        notes=frame.image_notes([record]),
        data=labelled_values(record["data"], DATA_NAMES),
        machine=labelled_values(record["environment"], ENVIRONMENT_NAMES)
        + labelled_values(record["measured"], MEASURED_NAMES),
        command=training_command(record),
        commit=commit_in_words(record),
    )


@cache
def _template():
    loader = jinja2.PackageLoader("stn_paper", "report")
    return jinja2.Environment(loader=loader, autoescape=True).get_template("run_page.html.j2")


def value_text(value):
    """A value as text: words for booleans, commas in lists and large numbers."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def labelled_values(found, labels):
    """The values of a part of a record with their names in words; unknown fields come last."""
    order = [*[field for field in labels if field in found], *[f for f in found if f not in labels]]
    return [
        (labels.get(field, field.replace("_", " ").capitalize()), value_text(found[field])) for field in order
    ]


def _further_results(record):
    """Yield further results on the test images, with their names."""
    if test := record.get("test"):
        yield "Test accuracy, mean over classes (%)", f"{test['class_accuracy']:.2f}"
        for part, preposition in (("with_copy", "with"), ("without_copy", "without")):
            if found := test.get(part):
                accuracy = f"{found['accuracy']:.2f}" if "accuracy" in found else NO_NUMBER
                yield (
                    f"Test accuracy on the {found['images']} images {preposition} an identical training image (%)",
                    accuracy,
                )


def _theta_diagnostics(record):
    """Yield the diagnostics of theta after the last epoch, with their names."""
    if "outside" in (theta := record["epochs"][-1].get("theta", {})):
        if theta["outside"] < COLLAPSED_PERCENT:
            median, high = theta["spread"]
            yield "Corners move from image to image by (pixels, median)", f"{median:.2f}"
            yield "Corners move from image to image by (pixels, 90th percentile)", f"{high:.2f}"
            yield "Mean corners from the image's own (pixels)", f"{theta['from_identity']:.2f}"
        yield "Sampling grid outside the image (%)", f"{theta['outside']:.1f}"


def named_settings(record):
    """Yield the name and the value of each setting of a record, and of its seed, as texts."""
    settings = record["spec"]["protocol"]
    for field, (label, none) in SETTING_NAMES.items():
        yield label, none if settings[field] is None else value_text(settings[field])
    yield "Seed of the weights and of the order of images", value_text(record["spec"]["seed"])


def commit_in_words(record):
    """The commit of a record's code, with a note on uncommitted changes."""
    commit = record["environment"].get("commit", "")
    code = f"commit {commit}" if commit else "an unknown commit"
    return code.replace(CHANGED, " with uncommitted changes")


def _relatives(name, runs):
    """Runs of the same dataset, network and protocol: (variant, [(address, text)]); the page's own has no address."""
    key, rows = _group_key(runs[name]["spec"]), {}
    for relative, record in runs.items():
        spec = record["spec"]
        if _group_key(spec) == key:
            text = f"seed {spec['seed']}: {records.selected_result(record)['test']:.2f}"
            address = "" if relative == name else f"{relative}.html"
            rows.setdefault(spec["variant"], []).append((address, text))
    return [(HEADINGS[variant], rows[variant]) for variant in HEADINGS if variant in rows]


def _group_key(spec):
    """The key of related runs: dataset, backbone, and the name of the preset, else all settings of the protocol."""
    protocol = frame.preset_name(spec) or tuple(spec["protocol"].items())
    return spec["dataset"], spec["backbone"], protocol


def related_runs(runs):
    """For each run of {name: record}, this run and the runs of the same dataset, network and protocol: {name: record}.

    At most RELATED seeds of each variant are listed, so that all pages together grow no faster than the records.
    """
    groups, seeds = {}, Counter()
    for name, record in runs.items():
        key = _group_key(record["spec"])
        group, variant = groups.setdefault(key, {}), (key, record["spec"]["variant"])
        if seeds[variant] < RELATED:
            seeds[variant] += 1
            group[name] = record
    group_of = {name: groups[_group_key(record["spec"])] for name, record in runs.items()}
    return {name: group if name in group else group | {name: runs[name]} for name, group in group_of.items()}


# --- learning curves ----------------------------------------------------------------------------


def curves_chart(record):
    """Loss and accuracy (percent) after each epoch as a Vega-Lite description: a panel each, a line a split."""
    rows = [
        {"epoch": epoch, "quantity": quantity, "split": name, "value": round(values[f"{split}_{part}"], 4)}
        for part, quantity in (("loss", "loss"), ("accuracy", "accuracy (%)"))
        for split, name in SPLITS.items()
        for epoch, values in enumerate(record["epochs"], 1)
        # runs that look at the test images once have no test values
        if math.isfinite(values.get(f"{split}_{part}", math.nan))
    ]
    return _empty_chart(tuple(dict.fromkeys(row["split"] for row in rows))) | {"data": {"values": rows}}


@cache
def _empty_chart(names):
    """`curves_chart` of the splits `names` without its data; only the data differs from run to run."""
    import altair as alt  # here, because it is slow to import and only charts need it

    x = alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d"))
    color = alt.Color(
        "split:N", scale=alt.Scale(domain=names, range=[SPLIT_COLORS[n] for n in names]), title=None
    )
    lines = (
        alt.Chart(alt.Data(values=[]))
        .mark_line(point=True)
        .encode(
            x=x,
            y=alt.Y("value:Q", title=None),
            color=color.legend(orient="top"),
            strokeDash=alt.StrokeDash("split:N", sort=list(names), legend=None),
            tooltip=["split:N", "epoch:Q", alt.Tooltip("value:Q", format=".2f")],
        )
        .properties(width=270, height=190)
    )
    panels = lines.facet(alt.Facet("quantity:N", sort=["loss"], title=None), columns=2).resolve_scale(
        y="independent"
    )
    return panels.properties(
        description="Learning curves: loss and accuracy in percent against the epoch."
    ).to_dict()


def of_the_labels(dataset):
    """The unit of an accuracy, as text: " of the labels, 3 an image"; "" if images have one label."""
    number = DATASETS[dataset].labels
    return "" if number == 1 else f" of the labels, {number} an image"


def curves_in_words(record):
    """The learning curves of `curves_chart` in words."""
    epochs, best = record["epochs"], records.selected_result(record)
    at_best = epochs[best["epoch"] - 1]
    return (
        f"{count_text(len(epochs), 'epoch')}. Training loss from {epochs[0]['train_loss']:.2f} to "
        f"{epochs[-1]['train_loss']:.2f}, validation loss from {epochs[0]['validation_loss']:.2f} to "
        f"{epochs[-1]['validation_loss']:.2f}; at epoch {best['epoch']} validation accuracy is "
        f"{at_best['validation_accuracy']:.2f} % and test accuracy {best['test']:.2f} %."
    )
