"""The page of the protocols: their settings, pilot runs, sizes of splits, and what the paper's selection rule adds."""

from itertools import product

import numpy as np
import pandas as pd

from ..analysis import frame
from ..analysis.experiment import STUDIES
from ..analysis.grid import SYSTEM_DATASETS
from ..analysis.paper import DATASET_OF, networks
from ..analysis.statistics import MISSING
from ..data.datasets import DATASETS
from ..models import HEADINGS, ORIGINAL, RELEASED, VARIANTS
from ..models.backbones import title
from ..training import records
from ..training.presets import COMPARABLE, PROTOCOLS, SMALL, SMALL_IN_FLOAT32, SYSTEM, preset
from ..training.protocol import BEST_OF_FIVE, BEST_VALIDATION
from .sentences import join_words, table_or_missing


def protocol_settings(dataset):
    """The settings of the protocols for any network on a dataset, a column each."""
    names = (*COMPARABLE, "smoke")
    presets = {name: [preset(name, dataset, variant) for variant in VARIANTS] for name in names}
    return pd.DataFrame({name: _settings(each) for name, each in presets.items()})


def protocol_meanings():
    """What each protocol is, as a Markdown list."""
    return "\n".join(f"- `{name}`: {meaning}" for name, meaning in PROTOCOLS.items())


def protocol_differences(dataset, other_dataset):
    """The rows of `protocol_settings` in which two datasets differ."""
    view = protocol_settings(dataset)
    return view[(view != protocol_settings(other_dataset)).any(axis=1)]


def system_settings():
    """Return the settings of the protocol `system` as a table.

    Each column has a network and a dataset: those of the smaller systems, and those of the experiment's studies.
    """
    trained = [(system, dataset) for system, datasets in SYSTEM_DATASETS.items() for dataset in datasets]
    trained += [(backbone, dataset) for dataset, backbone, protocol in STUDIES if protocol == SYSTEM]
    columns = {}
    for system, dataset in dict.fromkeys(trained):
        heading = f"{DATASETS[dataset].title}: {title(system)}"
        columns[heading] = _settings([preset(SYSTEM, dataset, ORIGINAL, system)])
    return pd.DataFrame(columns)


def _settings(presets):
    """Return one protocol's settings by name; epochs are listed for the original, STN, V-STN and L-STN."""
    first = presets[0]
    return {
        "Image size": first.image_size or "own",
        "Batch": first.batch_size,
        "Optimizer": first.optimizer,
        "Learning rate": first.learning_rate,
        "Precision of products": first.precision,
        "Schedule": first.schedule,
        "Localization net's share of the rate": f"{first.localization_rate:g}",
        "Epochs at most": _each_once(p.max_epochs for p in presets),
        "Early stop not before": _each_once(p.min_epochs for p in presets),
        "Training images at most": first.train_images or "all",
        "Training images a class at most": first.train_per_class or "all",
        "Validation images held out": first.validation_images or "own",
        "Validation images at most": first.max_validation or first.max_evaluation or "all",
        "Test images at most": first.max_evaluation or "all",
        "Images of each split at most": first.max_images or "all",
        "Normalization": first.normalization,
        "Augmentation of training images": first.augmentation or "no",
        "Selection": first.selection,
        "Test images are looked at": "once" if first.test_once else "each epoch",
    }


def pilot_runs():
    """The pilot runs of `small`, a row a run: networks alone, with other settings than the runs of Tables 6 and 8."""
    every, rows = frame.runs(), []
    for run in every[(every["preset"] == "") & (every["variant"] == ORIGINAL)].itertuples():
        spec = records.spec_of(run.record)
        if spec.protocol.name == "small":
            rows.append(
                {
                    "Dataset": DATASETS[spec.dataset].title,
                    "Network": title(spec.backbone),
                    "Batch": spec.protocol.batch_size,
                    "Peak rate": spec.protocol.learning_rate,
                    "Epochs": spec.protocol.max_epochs,
                    "Precision": spec.protocol.precision,
                    "Training accuracy (%)": round(run.record["epochs"][-1]["train_accuracy"], 1),
                    "Test accuracy (%)": round(run.test, 1),
                    "Device": run.record["environment"]["device"],
                }
            )
    if not rows:
        return table_or_missing({})
    return pd.DataFrame(rows).sort_values(["Dataset", "Network", "Batch", "Peak rate"]).set_index("Dataset")


def _each_once(values):
    """The value if all are the same, else all values with slashes between."""
    values = list(values)
    return " / ".join(map(str, values if len(set(values)) > 1 else values[:1]))


def split_sizes():
    """Number of images of each dataset's splits."""
    rows = {d.title: d.splits for d in DATASETS.values()}
    return pd.DataFrame(rows).T.map("{:,}".format)


def selection_verdict():
    """How much the paper's selection rule adds in our runs, in a sentence.

    Runs with a bypassed transformer are left out, because they are identical to the original's runs.
    """
    found = pd.concat([frame.runs(*study) for study in product(DATASETS, COMPARABLE)])
    found = found[~found["variant"].str.endswith(RELEASED)]
    bias = (found[BEST_OF_FIVE] - found[BEST_VALIDATION]).dropna()  # NaN if test images were evaluated once
    if bias.empty:
        return f"{MISSING.capitalize()}."
    return (
        f"In {len(bias)} runs of the paper's networks in float32, choosing the epoch by test accuracy adds "
        f"{bias.mean():.2f} points on average and {bias.max():.2f} at most."
    )


def small_training_in_words():
    """How well the `small` runs of Tables 6 and 8 learned their training images, and which networks lack one."""
    trained, lacking = [], []
    for number in (6, 8):
        printed, dataset = networks(number), DATASET_OF[number]
        found = pd.concat([frame.runs(dataset, protocol) for protocol in (SMALL, SMALL_IN_FLOAT32)])
        found = found[found["backbone"].isin(printed["backbone"]) & found["variant"].isin(VARIANTS)]
        trained.append(found)
        if without := [b for b in printed["backbone"].unique() if b not in set(found["backbone"])]:
            lacking.append(f"{join_words(list(map(title, without)))} on {DATASETS[dataset].title}")
    runs, texts = pd.concat(trained), []
    if len(runs):
        accuracies = [record["epochs"][-1]["train_accuracy"] for record in runs["record"]]
        lowest = runs.iloc[np.argmin(accuracies)]
        network = f"{HEADINGS[lowest['variant']]} with {title(lowest['backbone'])}"
        texts.append(
            f"Of the {len(runs)} runs of `{SMALL}` in Tables 6 and 8, {network} on "
            f"{DATASETS[lowest['dataset']].title} ends with the lowest training accuracy, {min(accuracies):.1f} %."
        )
    if lacking:
        texts.append(f"Not yet trained at this protocol: {'; '.join(lacking)}.")
    return " ".join(texts)
