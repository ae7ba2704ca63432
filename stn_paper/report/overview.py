"""The protocols and selection rules as tables, what was reproduced in numbers, and the findings for the README."""

from itertools import product

import pandas as pd

from ..analysis import copies, frame
from ..analysis.cost_tables import TOLERANCE, compare_costs, lstn_against_stn
from ..analysis.experiment import STUDIES
from ..analysis.frame import runs
from ..analysis.grid import SYSTEM_DATASETS
from ..analysis.paper import DATASET_OF, networks
from ..analysis.statistics import MISSING
from ..data.datasets import DATASETS
from ..models import ORIGINAL, RELEASED, VARIANTS
from ..models.backbones import title
from ..training import records
from ..training.presets import COMPARABLE, PAPER_SIZE, PROTOCOLS, SYSTEM, preset
from ..training.protocol import BEST_OF_FIVE, BEST_VALIDATION
from . import accuracy_verdicts
from .sentences import table_or_missing

# --- the protocols ------------------------------------------------------------------------------


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
    """The settings of the protocol `system`: a column a dataset and smaller system, or a study of the experiment."""
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
    found = pd.concat([runs(*study) for study in product(DATASETS, COMPARABLE)])
    found = found[~found["variant"].str.endswith(RELEASED)]
    bias = (found[BEST_OF_FIVE] - found[BEST_VALIDATION]).dropna()  # NaN if test images were evaluated once
    if bias.empty:
        return f"{MISSING.capitalize()}."
    return (
        f"In {len(bias)} runs of the paper's networks in float32, choosing the epoch by test accuracy adds "
        f"{bias.mean():.2f} points on average and {bias.max():.2f} at most."
    )


# --- what was found -----------------------------------------------------------------------------


def count_reproduced():
    """How much of the paper was rebuilt and trained: {name: number}.

    Of the `cells` of Tables 4, 5, 7 and 9, `exact` have our number of parameters and `close` our GFLOPS. Of the
    `networks` of Tables 4, 6 and 8, `trained` have a run at the paper's scale.
    """
    cells, tables = compare_costs(4, 5, 7, 9), {d: networks(number) for number, d in DATASET_OF.items()}
    trained = 0
    for dataset, printed in tables.items():
        found = pd.concat([runs(dataset, protocol) for protocol in PAPER_SIZE])[["backbone", "variant"]]
        trained += len(printed.merge(found.drop_duplicates(), on=["backbone", "variant"]))
    return {
        "cells": len(cells),
        "exact": int(cells["exact"].sum()),
        "close": int(cells["close"].sum()),
        "trained": trained,
        "networks": sum(map(len, tables.values())),
    }


def findings():
    """The findings so far as a table: the paper's claim, our finding, and the page that shows it."""
    cells, (ratio, extra) = compare_costs(4, 5, 7, 9), lstn_against_stn()
    copied = copies.test_images_with_copy("tsrd")
    rows = [
        (
            "Parameters and GFLOPS of Tables 4, 5, 7 and 9",
            f"{cells['exact'].sum()} of {len(cells)} parameter counts agree to the unit, "
            f"{cells['close'].sum()} of {len(cells)} GFLOPS figures within {TOLERANCE}",
            "Tables 4, 5, 7, 9",
        ),
        (
            "L-STN costs “almost one third” of STN's FLOPS with “slightly more parameters”",
            f"{ratio.min():.3f} to {ratio.max():.3f} of STN's GFLOPS; {extra.max()} parameters more",
            "Table 9",
        ),
        (
            "“No single model performs worse after adding the spatial transformer network”; "
            "“L-STN leads in both validation and test accuracy”",
            accuracy_verdicts.ahead_in_words(6),
            "Table 6",
        ),
        (
            "On TSRD “the accuracy of all models is well above 98%”",
            f"{copied[0]:,} of {copied[1]:,} test images have an identical training image. "
            f"{accuracy_verdicts.above_98_in_words()}",
            "Table 4",
        ),
        (
            "On CIFAR-10 “all of the models has higher accuracy when spatial transform layers were added”",
            accuracy_verdicts.ahead_in_words(8),
            "Table 8",
        ),
    ]
    return pd.DataFrame(rows, columns=["The paper", "Found here", "Page"], index=range(1, len(rows) + 1))


def as_markdown(view):
    """A table of strings as a Markdown table, without its index."""
    rows = [view.columns, ["---"] * len(view.columns), *view.to_numpy()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
