"""results/results.csv: every recorded run in one table that anyone can load, a row a run."""

import pandas as pd

from ..paths import replacing, results_dir
from ..training import records
from .estimates import gflops

FILE = "results.csv"


def table():
    """A row a record but those of smoke runs, sorted by name; accuracies in percent, of the run's own rule.

    Columns: dataset, backbone, variant, protocol, seed, image_size (pixels of a side), epochs, validation, test,
    class_accuracy (mean over classes; empty in older records), parameters, gflops (the paper's counting, at this
    image size, for 10 classes), device, seconds (of all epochs), commit, run (the record's name).
    """
    rows = []
    for name, record in records.everything().items():
        spec, chosen = record["spec"], records.chosen(record)
        size = record["data"]["image_size"]
        rows.append(
            {
                **{field: spec[field] for field in ("dataset", "backbone", "variant")},
                "protocol": spec["protocol"]["name"],
                "seed": spec["seed"],
                "image_size": size,
                "epochs": len(record["epochs"]),
                "validation": round(chosen["validation"], 2),
                "test": round(chosen["test"], 2),
                "class_accuracy": record.get("test", {}).get("class_accuracy"),
                "parameters": record["parameters"],
                "gflops": round(gflops(spec["backbone"], spec["variant"], size), 4),
                "device": record["environment"]["device"],
                "seconds": record["measured"]["seconds"],
                "commit": record["environment"]["commit"],
                "run": name,
            }
        )
    return pd.DataFrame(rows)


def write():
    """Write the table to the results folder; return its path."""
    path = results_dir() / FILE
    with replacing(path) as part:
        table().to_csv(part, index=False)
    return path
