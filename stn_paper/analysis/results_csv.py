"""results/results.csv: all recorded runs in one table, a row a run."""

from ..paths import replace_file, results_dir
from . import frame
from .estimates import gflops

FILE = "results.csv"
CSV_COLUMNS = [
    *("dataset", "backbone", "variant", "protocol", "seed", "image_size", "epochs", "validation", "test"),
    *("class_accuracy", "parameters", "gflops", "device", "seconds", "commit", "run"),
]


def results_table():
    """All runs except smoke runs, a row each, sorted by name; accuracies in percent, by the run's own selection rule.

    Columns: dataset, backbone, variant, protocol, seed, image_size (pixels of a side), epochs, validation, test,
    class_accuracy (mean over classes; empty in older records), parameters, gflops (the paper's counting, at this
    image size, for 10 classes), device, seconds (of all epochs), commit, run (the record's name).
    """
    every = frame.runs()
    operations = [
        round(gflops(*network), 4)
        for network in every[["backbone", "variant", "image_size"]].itertuples(index=False, name=None)
    ]
    return every.assign(gflops=operations).round({"validation": 2, "test": 2})[CSV_COLUMNS]


def write_results():
    """Write the table to the results folder; return its path."""
    path = results_dir() / FILE
    with replace_file(path) as part:
        results_table().to_csv(part, index=False)
    return path
