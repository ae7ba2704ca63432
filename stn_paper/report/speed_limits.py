"""Tables of other limits of the speed: data path, the machine's peak, small batches, everyday commands, GPUs.

Tables as in `speed`.
"""

import json

import pandas as pd

from ..analysis.statistics import NO_NUMBER
from ..models import HEADINGS
from ..models.backbones import title
from ..paths import AUTHORS_LOOP, BENCHMARKS
from .sentences import table_or_missing
from .speed import (
    GOALS,
    OURS,
    STEP,
    benchmark_files,
    benchmark_rows,
    median_and_quartiles,
    our_rows,
    share_of_peak,
)


def data_path_table():
    """Seconds that loading an epoch of Caltech-101 takes from each place, and their share of a training step."""
    table = {}
    for row in benchmark_rows("data").to_dict("records"):
        shares = sorted(1 / ratio for ratio in row["ratios"][STEP])
        table[row["machine"], "training step" if row["program"] == STEP else row["program"]] = {
            f"Seconds an epoch ({row['epoch_images']:,} images)": f"{row['epoch_seconds']:.3g}",
            "Share of a step": median_and_quartiles(shares, "{:.2%}"),
        }
    return table_or_missing(table, ["Machine", "From"])


def limit_table():
    """The rate of our step as a share of the peak, which is the rate of a large matrix product on the machine.

    The last column is the ratio to the author's loop of a step that would run at the peak.
    """
    peaks = benchmark_rows("limit", "peaks")
    ours = our_rows(benchmark_rows("throughput", paper=True))
    ahead = {(r.machine, r.backbone, r.variant, r.program): r.ratios[AUTHORS_LOOP][1] for r in ours}
    table = {}
    for row in benchmark_rows("limit").to_dict("records"):
        machine, precision = row["machine"], row["precision"]
        share = share_of_peak(row, peaks)
        ratio = ahead.get((machine, row["backbone"], row["variant"], row["program"]))
        table[machine, title(row["backbone"]), HEADINGS[row["variant"]], precision] = {
            "Share of the peak": f"{share:.0%}",
            "× the author's loop": f"{ratio:.2f}" if ratio else NO_NUMBER,
            "× the author's loop, at the peak": f"{ratio / share:.2f}" if ratio else NO_NUMBER,
        }
    return table_or_missing(table, ["Machine", "Network", "Variant", "Precision"])


def small_batches_table():
    """Small batches: the speed of our compiled step against the eager step."""
    table = {}
    for row in benchmark_rows("small").to_dict("records"):
        name = row["machine"], title(row["backbone"]), row["batch"], row["program"].removeprefix("ours ")
        table[name] = {
            "Images a second": f"{row['rate']:.1f}",
            "× eager": median_and_quartiles(row["ratios"][OURS]),
        }
    return table_or_missing(table, ["Machine", "Network", "Batch", "Mode"])


def sharing_table():
    """Processes that share a device: images a second, and runs an hour of the stated number of training images."""
    images = {
        f["machine"]["name"]: f["parts"]["small"]["run_images"]
        for f in benchmark_files()
        if "small" in f["parts"]
    }
    table = {}
    for row in benchmark_rows("small", "sharing").to_dict("records"):
        run = images[row["machine"]]
        table[row["machine"], row["batch"], row["processes"]] = {
            "Images a second, all together": f"{row['rate']:.1f}",
            f"Runs an hour, of {run:,} images each": f"{3600 * row['rate'] / run:.3g}",
            "× one process": median_and_quartiles(row["ratios"]["1"]),
        }
    return table_or_missing(table, ["Machine", "Batch", "Processes"])


def everyday_table():
    """The everyday commands: seconds on the machine's processor, and the goal."""
    table = {}
    for row in benchmark_rows("everyday").to_dict("records"):
        most = GOALS["everyday"][row["program"]]
        cells = {"Seconds": f"{row['seconds']:.3g}", "Goal": f"at most {most}"}
        cells["Within the goal"] = "yes" if row["seconds"] <= most else "no"
        table[row["machine"], row["program"]] = cells | {
            "Exit status 0": "yes" if row["ended_well"] else "no"
        }
    return table_or_missing(table, ["Machine", "Command"])


def gpu_steps_table():
    """Images a second of a training step behind L-STN on measured GPUs, and the ratio to the eager float32 step.

    `workflow/lease.py measure` writes the files under benchmarks/gpu. A graph is a CUDA graph of the whole step.
    """
    rows = []
    for path in sorted((BENCHMARKS / "gpu").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        table = pd.DataFrame(found["rows"])
        keys = ["backbone", "image_size", "batch_size"]
        eager = table[table["mode"] == "eager float32"].set_index(keys)["images_per_second"]
        for row in found["rows"]:
            speed, base = row["images_per_second"], eager.get(tuple(row[key] for key in keys))
            ratio = round(speed / base, 2) if base else None
            size = f"{row['image_size']} pixels, batches of {row['batch_size']}"
            rows.append([found["device"], title(row["backbone"]), size, row["mode"], speed, ratio])
    columns = ["Device", "Network", "Images", "Step", "Images a second", "Ratio to eager float32"]
    return pd.DataFrame(rows, columns=columns).set_index("Device")
