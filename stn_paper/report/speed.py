"""How fast the package is: tables of the JSON files that `python -m benchmarks` writes.

Every row names its machine. A ratio is the median, with its quartiles, over rounds in which the programs took turns;
above 1, ours is faster. Files of the quick size are listed but never shown as a result. Figures are in
`speed_figures`, the goals in `speed_goals`.
"""

import json
from collections import Counter

import numpy as np
import pandas as pd

from ..analysis import frame, statistics
from ..analysis.statistics import MISSING, NO_NUMBER, range_text
from ..data.datasets import DATASETS
from ..models import HEADINGS, ORIGINAL
from ..models.backbones import title
from ..paths import AUTHORS_LOOP, BENCHMARKS, IN_FLOAT32, UNFINISHED
from ..training import records
from ..training.spec import in_float32
from . import experiment_page
from .sentences import difference_text, join_words, table_or_missing

STEP = "step"
OURS = "ours tf32"  # our step with the paper protocol's precision
SMALL = "small_protocol"  # the part that measures steps in the protocol `small`
LOOPS = {
    AUTHORS_LOOP: "× the author's loop",
    "timm": "× timm's step",
    "tuned": "× a tuned loop",
    "lightning": "× Lightning",
    IN_FLOAT32: "× ours in float32",
}
GOALS = {  # on a CPU in the protocol `small`, on a GPU at the paper's sizes
    "plain": {"cpu": 1.5, "cuda": 5},  # times as fast as the author's loop
    "timm": {"cpu": 0.97, "cuda": 1},  # times as fast as timm's step
    "transformer": {"cpu": 0.08, "cuda": 0.05},  # L-STN's share of the step
    "peak": {"ResNet": 0.7, "EfficientNet": 0.55},  # share of the rate of a large matrix product
    "data": {"cuda": 0.03},  # share of the step
    "everyday": {  # seconds
        "papermill": 30,
        "papermill beside two busy loops": 60,
        "jb build book": 45,
        "tests": 240,
        "import": 0.3,
        "--help": 1,
    },
}


def benchmark_files():
    """The contents of all JSON files, also of the quick size, without unfinished parts.

    Names of machines are shortened, so that the tables are less wide. If several files have the same machine name, the
    file's name is appended to it.
    """
    files = [
        {"file": path.name} | json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(BENCHMARKS.glob("*.json"))
    ]
    for file in files:
        for name in {"name", "processor"} & set(file["machine"]):
            file["machine"][name] = frame.device_title(file["machine"][name])
        file["parts"] = {name: part for name, part in file["parts"].items() if UNFINISHED not in part}
    for name in ("name", "processor"):
        named = [file for file in files if name in file["machine"]]
        number = Counter(file["machine"][name] for file in named)
        for file in named:
            if number[file["machine"][name]] > 1:
                file["machine"][name] += f", {file['file'].removesuffix('.json')}"
    return files


def benchmark_rows(part, of="rows", **where):
    """The rows of a part, from the files of all machines, that have the given values; empty if not yet run."""
    name = "processor" if part == "everyday" else "name"  # the everyday commands use no GPU
    found = [
        {"machine": file["machine"][name], "device": file["device"], **row}
        for file in benchmark_files()
        if not file["quick"]
        for row in file["parts"].get(part, {}).get(of, [])
    ]
    kept = [row for row in found if all(row.get(key) == value for key, value in where.items())]
    return pd.DataFrame(kept, columns=None if kept else ["machine", "device"])


def machines_table():
    """The machines, a row a file: hardware, versions, commits, and the parts that were measured."""
    table = {}
    for file in benchmark_files():
        machine, parts = file["machine"], file["parts"]
        parts_text = "quick sizes: no result" if file["quick"] else ", ".join(parts)
        images = {part["images"] for part in parts.values() if "images" in part}
        commits = dict.fromkeys(part["commit"] for part in parts.values())
        table[file["file"]] = {
            "Machine": machine["name"],
            "Cores": machine["cores"],
            "Threads": machine["threads"],
            "torch": machine["torch"],
            "timm": machine["timm"],
            "Image files": ", ".join(sorted(images)) or NO_NUMBER,
            "Commit": ", ".join(commits),
            "Parts of python -m benchmarks": parts_text,
        }
    return table_or_missing(table)


def throughput_table(paper=True):
    """Our training step against other programs: a row a machine, network, variant and mode.

    `paper`: rows at the paper's batch size; False: rows at our fastest batch size if that is another.
    """
    table, where = {}, {"paper": True} if paper else {"paper": False, "best": True}
    for row in benchmark_rows("throughput", **where).to_dict("records"):
        if row["program"].startswith("ours"):
            name = row["machine"], title(row["backbone"]), HEADINGS[row["variant"]], row["batch"], row["mode"]
            ratios = row["ratios"] if isinstance(row.get("ratios"), dict) else {}
            table[name] = {
                "Images a second": f"{row['rate']:.1f}" if ratios else row["failed"],
                "× the author's loop": median_and_quartiles(ratios.get(AUTHORS_LOOP)),
                "× timm's step": median_and_quartiles(ratios.get(f"timm {row['mode']}")),
                "× timm with its loader": median_and_quartiles(ratios.get(f"timm loader {row['mode']}")),
            }
    view = table_or_missing(table, ["Machine", "Network", "Variant", "Batch", "Mode"])
    return view.loc[:, (view != NO_NUMBER).any()]


def median_and_quartiles(quartiles, form="{:.2f}"):
    """A median with its quartiles, of [first quartile, median, third quartile]."""
    if quartiles is None:
        return NO_NUMBER
    low, middle, high = (form.format(value) for value in quartiles)
    return f"{middle} ({low} to {high})"


def small_protocol_table():
    """Our step in the protocol `small` against other loops: ratios with their range over the measurements."""
    table = {}
    for (machine, backbone, variant), rows in small_protocol_rows(program="ours").items():
        cells = {"Images a second": f"{np.median([row['rate'] for row in rows]):.1f}"}
        for loop, heading in LOOPS.items():
            cells[heading] = median_and_range(
                [row["ratios"][loop][1] for row in rows if loop in row["ratios"]]
            )
        table[machine, title(backbone), HEADINGS[variant]] = cells
    return table_or_missing(table, ["Machine", "Network", "Variant"])


def small_protocol_rows(of="rows", **where):
    """{(machine, backbone, variant): its row of each measurement} of the steps in the protocol `small`."""
    found: dict[tuple, list] = {}
    for row in benchmark_rows(SMALL, of, **where).to_dict("records"):
        found.setdefault((row["machine"], row["backbone"], row["variant"]), []).append(row)
    return found


def median_and_range(values, form="{:.2f}"):
    """The median of several measurements with the lowest and the highest."""
    return median_and_quartiles([min(values), np.median(values), max(values)] if values else None, form)


def precision_differences():
    """Test accuracy in bfloat16 minus that of the same run in float32, in points: {network: Series of pairs}."""
    found: dict[str, list] = {}
    for record in frame.records_by_name().values():
        spec = records.spec_of(record)
        if spec.protocol.precision == "bfloat16":
            twin = records.find(in_float32(spec))
            if twin:
                name = f"{title(spec.backbone)} {HEADINGS[spec.variant]}, {DATASETS[spec.dataset].title}"
                tests = (records.selected_result(r)["test"] for r in (record, twin))
                found.setdefault(f"{name}, {spec.protocol.name}", []).append(np.subtract(*tests))
    return {name: pd.Series(values) for name, values in found.items()}


def precision_table():
    """The differences of `precision_differences` as a table: means, intervals and verdicts."""
    found = precision_differences()
    tables = [experiment_page.paired_table(found)]
    if len(found) > 1:
        tables.append(experiment_page.paired_table({"all pairs": pd.concat(found)}))
    return pd.concat(tables)


def precision_verdict():
    """Return a sentence that says by how many points bfloat16 changes test accuracy.

    It is "" if no training was run in both precisions.
    """
    found = precision_differences()
    if not found:
        return ""
    pairs = pd.concat(found)
    difference = statistics.compare(pairs, 0 * pairs, paired=True)
    return (
        f"Test accuracy in bfloat16 minus that in float32 is {difference_text(difference)} points "
        f"({difference.n} pairs): {statistics.judge(difference)}."
    )


# --- the transformer ----------------------------------------------------------------------------


def added_time_table():
    """The time that each transformer adds to a step, as a share of the step: a row a machine, network and mode."""
    table = {}
    for row in benchmark_rows("transformer", what=STEP).to_dict("records"):
        if row["variant"] != ORIGINAL:
            name = row["machine"], title(row["backbone"]), row["mode"].removeprefix("ours ")
            table.setdefault(name, {})[HEADINGS[row["variant"]]] = median_and_quartiles(
                added_share(row["ratios"]), "{:.1%}"
            )
    return table_or_missing(table, ["Machine", "Network", "Mode"])


def time_verdict():
    """Whether L-STN's fewer FLOPS save time, and which share of a step is the transformer's, as Markdown."""
    nets, takes = benchmark_rows("transformer", "nets"), shares_of_step()
    if nets.empty or not takes:
        return f"**{MISSING.capitalize()}.**"
    operations = nets.groupby("variant")["gflops"].first()
    batches = join_words([str(batch) for batch in sorted(nets["batch"].unique())])
    times = {}
    for form in ("eager", "compiled"):
        mine = nets[(nets["variant"] == "lstn") & (nets["form"] == form)]
        times[form] = range_text([1 / ratios[f"stn {form}"][1] for ratios in mine["ratios"]], "{:.2f}")
    return (
        f"**In evaluation, L-STN's localization net has {operations['lstn'] / operations['stn']:.2f} of STN's FLOPS "
        f"and {memory_by_stn()} of its peak memory, but takes {times['eager']} times STN's time, and "
        f"{times['compiled']} times when both are compiled** (median ratios for {batches} images). In the protocol "
        f"`small`, L-STN takes {percent_text(takes['lstn'])} of a training step, and STN takes "
        f"{percent_text(takes['stn'])}."
    )


def memory_by_stn():
    """Return L-STN's peak memory divided by STN's, of the nets in evaluation, as text; "" if not measured."""
    nets = benchmark_rows("transformer", "nets")
    if nets.empty:
        return ""
    peaks = nets.pivot_table(index=["machine", "form", "batch"], columns="variant", values="peak_mib")
    return range_text(peaks["lstn"] / peaks["stn"], "{:.2f}")


def shares_of_step():
    """Each transformer's shares of a step of `small` on a CPU, in percent: {variant: a value a machine and network}.

    A value is the median of all measurements, as in `small_added_time_table`.
    """
    shares: dict[str, list] = {}
    for (_, _, variant), rows in small_protocol_rows("variants", device="cpu").items():
        middle = np.median([added_share(row["ratios"])[1] for row in rows])
        shares.setdefault(variant, []).append(100 * middle)
    return shares


def percent_text(shares):
    """The lowest and the highest of some shares in percent, as text: "4 to 12 %"."""
    return f"{range_text(shares, '{:.0f}')} %"


def small_added_time_table():
    """What each transformer adds to a step in the protocol `small`, and how near the step comes to the peak.

    The share added is the median of all measurements, between the lowest and the highest quartile of any of them.
    """
    table, of_peak = {}, shares_of_peak()
    for key, rows in small_protocol_rows("variants").items():
        machine, backbone, variant = key
        low, middle, high = zip(*(added_share(row["ratios"]) for row in rows))
        share = median_and_quartiles([min(low), np.median(middle), max(high)], "{:.1%}")
        table[machine, title(backbone), HEADINGS[variant]] = {
            "Milliseconds": f"{1000 * np.median([row['seconds'] for row in rows]):.3g}",
            "Share added": "" if variant == ORIGINAL else share,
            "Share of the peak": median_and_range(of_peak[key], "{:.0%}"),
        }
    return table_or_missing(table, ["Machine", "Network", "Variant"])


def shares_of_peak(**where):
    """Return the operations a second of each step as a share of those of a large matrix product at the same precision.

    The result has the keys of `small_protocol_rows("variants", **where)`. Each value is a list with one share for each
    measurement.
    """
    peaks = benchmark_rows(SMALL, "peaks")
    return {
        key: [share_of_peak(row, peaks[peaks["measurement"] == row["measurement"]]) for row in rows]
        for key, rows in small_protocol_rows("variants", **where).items()
    }


def share_of_peak(row, peaks):
    """A step's operations a second as a share of the peak of its machine and precision, from rows of `peaks`."""
    rates = peaks[peaks["machine"] == row["machine"]].set_index("program")["rate"]
    peak = rates.get(row["precision"], rates["float32"])  # a CPU has no TF32
    return float(row["flops"] / row["seconds"] / peak)


def added_share(ratios):
    """Quartiles of the share of a step that the transformer adds, from the `ratios` of the step."""
    return [1 - ratio for ratio in reversed(ratios[ORIGINAL])]


def nets_table():
    """The localization nets alone: latency, throughput and peak memory of each form, beside the FLOPS."""
    table = {}
    for row in benchmark_rows("transformer", "nets").to_dict("records"):
        cells = table.setdefault((row["machine"], HEADINGS[row["variant"]], row["form"]), {})
        one = row["batch"] == 1
        cells["MFLOPS"] = f"{1000 * row['gflops']:.1f}"
        cells["Latency (ms)" if one else f"Images a second, {row['batch']} at once"] = (
            f"{1000 * row['seconds']:.3g}" if one else f"{row['rate']:,.0f}"
        )
        cells["Peak memory (MiB)" + (", one image" if one else "")] = f"{row['peak_mib']:.4g}"
        cells["Batch norms folded"] = row["norms_folded"] if row["form"] == "folded" else ""
        cells["1 x 1 convolutions merged"] = f"{row['merged']}: {row['why_not_merged']}"
    return table_or_missing(table, ["Machine", "Net", "Form"])


def our_rows(steps):
    """The rows of our own programs that did not fail."""
    return [r for r in steps.itertuples() if r.program.startswith("ours") and isinstance(r.ratios, dict)]


# --- our convolutions and torch's -----------------------------------------------------------------


def convolutions_table():
    """Return the seconds of a training step with torch's convolutions and with ours, and the ratio of the two speeds.

    `benchmarks.convolutions` measured them. The ratio is the median of the measurements, with the lowest and the
    highest in brackets.
    """
    found = json.loads((BENCHMARKS / "convolutions/cpu.json").read_text(encoding="utf-8"))
    table: dict[tuple, dict] = {}
    measured = pd.DataFrame(found["rows"]).sort_values("precision", kind="stable")
    for _, rows in measured.groupby(["precision", "backbone", "variant"], sort=False):
        precision, backbone, variant = rows.iloc[0][["precision", "backbone", "variant"]]
        ours, torchs = (rows[rows["program"] == program] for program in ("ours", "torch"))
        table[frame.device_title(found["machine"]["name"]), precision, title(backbone), HEADINGS[variant]] = {
            "Seconds, torch's": f"{torchs['seconds'].median():.2f}",
            "Seconds, ours": f"{ours['seconds'].median():.2f}",
            "Speed, ours by torch's": median_and_range([ratios["torch"][1] for ratios in ours["ratios"]]),
        }
    return table_or_missing(table, ["Machine", "Precision", "Network", "Variant"])
