"""How fast it is: tables and figures of the JSON files that `python -m benchmarks` writes.

Every number stands beside its machine. A ratio is the median of rounds in which the programs took turns, with
its quartiles; above 1 ours is faster. Files of the quick size are named and never shown as a result.
"""

import json
import math
import re
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ..analysis import frame
from ..analysis.statistics import MISSING
from ..data.datasets import DATASETS
from ..models import HEADINGS, ORIGINAL, VARIANTS
from ..models.backbones import title
from ..paths import BENCHMARKS, PLAIN, UNFINISHED
from ..training import records
from . import experiment_page
from .figures import COLORS, MARKERS, closed

STEP = "step"
OURS = "ours tf32"  # our step with the paper protocol's precision
PRECISIONS = {"tf32": "at the paper protocol's precision", "bfloat16": "in bfloat16"}
FILLS = {"tf32": {"fillstyle": "full"}, "bfloat16": {"fillstyle": "none"}}
FORMS = {form: {"marker": marker} for form, marker in zip(("eager", "compiled", "folded"), "os^")}
MET, MISSED = "met", "missed"
GOALS = {
    "plain": {"cpu": 1.5, "cuda": 5},  # times as fast as the authors' loop, at the paper's batch sizes
    "transformer": {"cpu": 0.15, "cuda": 0.05},  # share of the step
    "data": {"cuda": 0.03},  # share of the step
    "everyday": {"papermill": 60, "jb build book": 60, "tests": 300, "import": 2},  # seconds
}


def files():
    """The contents of all JSON files, those of the quick size included, without unfinished parts.

    Their machines have short names, as a table's first column takes its room from the others.
    """
    found = [
        {"file": path.name} | json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(BENCHMARKS.glob("*.json"))
    ]
    for file in found:
        for name in {"name", "processor"} & set(file["machine"]):
            file["machine"][name] = re.sub(r"\(R\)| Processor", "", file["machine"][name])
        file["parts"] = {name: part for name, part in file["parts"].items() if UNFINISHED not in part}
    return found


def rows(part, of="rows", **where):
    """What the files hold of a part, of all machines; only rows with these values. Empty if not yet run."""
    name = "processor" if part == "everyday" else "name"  # those commands see no GPU
    found = [
        {"machine": file["machine"][name], "device": file["device"], **row}
        for file in files()
        if not file["quick"]
        for row in file["parts"].get(part, {}).get(of, [])
    ]
    kept = [row for row in found if all(row.get(key) == value for key, value in where.items())]
    return pd.DataFrame(kept, columns=None if kept else ["machine", "device"])


def machines():
    """What was measured on which machine, with which versions."""
    table = {}
    for file in files():
        machine, parts = file["machine"], file["parts"]
        what = "quick sizes: no result" if file["quick"] else ", ".join(parts)
        images = {part["images"] for part in parts.values() if "images" in part}
        commits = dict.fromkeys(part["commit"] for part in parts.values())
        table[file["file"]] = {
            "Machine": machine["name"],
            "Cores": machine["cores"],
            "Threads": machine["threads"],
            "torch": machine["torch"],
            "timm": machine["timm"],
            "Image files": ", ".join(sorted(images)) or "–",
            "Commit": ", ".join(commits),
            "Measured": what,
        }
    return _table(table)


def throughput(paper=True):
    """Our training step against the others: a row a machine, network, variant and mode.

    `paper` takes the paper's batch size, else our best one.
    """
    table = {}
    for row in rows("throughput", **{"paper" if paper else "best": True}).to_dict("records"):
        if row["program"].startswith("ours"):
            name = row["machine"], title(row["backbone"]), HEADINGS[row["variant"]], row["batch"], row["mode"]
            ratios = row["ratios"] if isinstance(row.get("ratios"), dict) else {}
            table[name] = {
                "Images a second": f"{row['rate']:.1f}" if ratios else row["failed"],
                "× the authors' loop": spread(ratios.get(PLAIN)),
                "× timm's step": spread(ratios.get(f"timm {row['mode']}")),
                "× timm with its loader": spread(ratios.get(f"timm loader {row['mode']}")),
            }
    return _table(table, ["Machine", "Network", "Variant", "Batch", "Mode"])


def spread(quartiles, form="{:.2f}"):
    """A median with its quartiles, of [first quartile, median, third quartile]."""
    if quartiles is None:
        return "–"
    low, middle, high = (form.format(value) for value in quartiles)
    return f"{middle} ({low} to {high})"


def precision():
    """Test accuracy in bfloat16 less that of the same run in float32, from the run records, in points."""
    found: dict[str, Any] = {}
    for record in frame.records().values():
        spec = records.spec_of(record)
        if spec.changes == {"precision": "bfloat16"}:
            twin = records.find(replace(spec, protocol=spec.protocol.name))
            if twin:
                name = f"{title(spec.backbone)} {HEADINGS[spec.variant]}, {DATASETS[spec.dataset].title}"
                tests = (records.chosen(r)["test"] for r in (record, twin))
                found.setdefault(f"{name}, {spec.protocol.name}", []).append(np.subtract(*tests))
    if len(found) > 1:
        found["all pairs"] = np.concatenate(list(found.values()))
    return experiment_page.paired_table({name: pd.Series(values) for name, values in found.items()})


def throughput_plot():
    """The ratios at the paper's batch sizes: a panel a machine and opponent, whiskers the quartiles."""
    found = rows("throughput", paper=True)
    figure, axes = _panels(found, 2, 3.8)
    for (_, mine), line in zip(_by_machine(found), axes):
        ours = mine[mine["program"].str.startswith("ours") & mine["ratios"].notna()]
        labels = list(dict.fromkeys(f"{title(r.backbone)}, {r.mode}" for r in ours.itertuples()))
        for axis, opponent in zip(line, (PLAIN, "timm")):
            for row in ours.itertuples():
                against = PLAIN if opponent == PLAIN else f"timm {row.mode}"
                low, middle, high = row.ratios[against]
                place = labels.index(f"{title(row.backbone)}, {row.mode}") + 0.2 * (row.variant != ORIGINAL)
                whiskers = [[middle - low], [high - middle]]
                style = {"color": COLORS[row.variant], "marker": MARKERS[row.variant], "capsize": 3}
                axis.errorbar(middle, place, xerr=whiskers, **style)
            axis.axvline(1, color="black", linewidth=1)
            axis.set_yticks(range(len(labels)), labels)
            whose = "the authors' loop" if opponent == PLAIN else "timm's step"
            axis.set(xlabel=f"times as fast\nas {whose}", ylim=(len(labels) - 0.5, -0.5))
        line[1].set_yticklabels([])
    return _explained(figure, found)


# --- the transformer ----------------------------------------------------------------------------


def added():
    """What each transformer adds to a step, as a share of the step with it: a row a machine and mode."""
    table = {}
    for row in rows("transformer", what=STEP).to_dict("records"):
        if row["variant"] != ORIGINAL:
            name = row["machine"], title(row["backbone"]), row["mode"].removeprefix("ours ")
            table.setdefault(name, {})[HEADINGS[row["variant"]]] = spread(_added(row["ratios"]), "{:.1%}")
    return _table(table, ["Machine", "Network", "Mode"])


def _added(ratios):
    """Quartiles of the share that is not the original's, of a step's ratio to the original's step."""
    return [1 - ratio for ratio in reversed(ratios[ORIGINAL])]


def parts_plot():
    """Where a transformer's time goes: a bar a part and variant, in percent of the step.

    The rest is what a step takes beyond the original's and these parts: most of it is the gradient of the
    backbone to its input, which the original does not need.
    """
    found, width = rows("transformer", what="part"), 0.27
    steps = rows("transformer", what=STEP, mode=OURS)
    figure, axes = _panels(found, 1, 2.7)
    for (machine, mine), (axis,) in zip(_by_machine(found), axes):
        for i, (variant, parts) in enumerate(mine.groupby("variant", sort=False)):
            shares = {part.program: 1 / part.ratios[STEP][1] for part in parts.itertuples()}
            (step,) = steps[(steps["machine"] == machine) & (steps["variant"] == variant)]["ratios"]
            shares["rest"] = _added(step)[1] - sum(shares.values())
            places = np.arange(len(shares)) + width * (i - 1)
            heights = [100 * share for share in shares.values()]
            axis.barh(places, heights, 0.9 * width, color=COLORS[variant], label=HEADINGS[variant])
        axis.set_yticks(range(len(shares)), shares)
        axis.invert_yaxis()
        axis.set(xlabel="share of the training step (%)")
        axis.legend(fontsize=11)
    return closed(figure)


def nets():
    """The localization nets alone: latency, throughput and peak memory of each form, beside the FLOPS."""
    table = {}
    for row in rows("transformer", "nets").to_dict("records"):
        cells = table.setdefault((row["machine"], HEADINGS[row["variant"]], row["form"]), {})
        one = row["batch"] == 1
        cells["MFLOPS"] = f"{1000 * row['gflops']:.1f}"
        cells["Latency (ms)" if one else f"Images a second, {row['batch']} at once"] = (
            f"{1000 * row['seconds']:.3g}" if one else f"{row['rate']:,.0f}"
        )
        cells["Peak memory (MiB)" + (" of one" if one else "")] = f"{row['peak_mib']:.4g}"
        cells["Batch norms folded"] = row["norms_folded"] if row["form"] == "folded" else ""
        cells["1 x 1 convolutions merged"] = f"{row['merged']}: {row['why_not_merged']}"
    return _table(table, ["Machine", "Net", "Form"])


def flops_plot():
    """FLOPS against time and memory, all as shares of STN's in the same form; on the line both agree."""
    found = rows("transformer", "nets")
    figure, axes = _panels(found, 3, 3)
    for (_, mine), line in zip(_by_machine(found), axes):
        for (batch, form), group in mine.groupby(["batch", "form"], sort=False):
            stn = group[group["variant"] == "stn"].iloc[0]
            for row in group.itertuples():
                low, middle, high = sorted(1 / ratio for ratio in row.ratios[f"stn {form}"])
                look = {"color": COLORS[row.variant], "linestyle": "", "alpha": 0.7, **FORMS[form]}
                share = row.gflops / stn["gflops"]
                line[int(batch > 1)].errorbar(share, middle, [[middle - low], [high - middle]], **look)
                if batch > 1:
                    line[2].plot(share, row.peak_mib / stn["peak_mib"], **look)
        for axis, what in zip(line, ("latency", "time of a large batch", "peak memory of it")):
            axis.axline((0, 0), slope=1, color="0.6", linewidth=1)
            axis.set(xlabel="FLOPS / STN's", ylabel=f"{what} / STN's", xlim=(0, None), ylim=(0, None))
    return _explained(figure, found, FORMS)


# --- data, limit, small batches, commands ---------------------------------------------------------


def data():
    """The data path alone: seconds an epoch of Caltech-101, and the share of a training step."""
    table = {}
    for row in rows("data").to_dict("records"):
        shares = sorted(1 / ratio for ratio in row["ratios"][STEP])
        table[row["machine"], "training step" if row["program"] == STEP else row["program"]] = {
            f"Seconds an epoch ({row['epoch_images']:,} images)": f"{row['epoch_seconds']:.3g}",
            "Share of a step": spread(shares, "{:.2%}"),
        }
    return _table(table, ["Machine", "From"])


def roofline():
    """Arithmetic a second against arithmetic a byte: the machine's peaks and our training steps.

    A network has its marker, which is open in bfloat16.
    """
    found, peaks = rows("limit"), rows("limit", "peaks")
    figure, axes = _panels(found, 1, 3.4)
    networks = list(dict.fromkeys(found.get("backbone", ())))
    shapes = {backbone: {"marker": "osDv"[i]} for i, backbone in enumerate(networks)}
    for (machine, mine), (axis,) in zip(_by_machine(found), axes):
        rate = peaks[peaks["machine"] == machine].set_index("program")["rate"]
        places = mine["flops"] / mine["bytes"]
        intensity = np.geomspace(min(places) / 5, max(places) * 5, 200)  # operations a byte
        for product in rate.index.drop("copy"):
            roof = np.minimum(rate[product], intensity * rate["copy"])
            axis.plot(intensity, roof, color="black", linewidth=1)
            axis.annotate(product, (intensity[-1], roof[-1]), (2, 2), textcoords="offset points", ha="right")
        for row, place in zip(mine.itertuples(), places):
            look = {"color": COLORS[row.variant], "markersize": 8, **shapes[row.backbone]}
            axis.plot(place, row.flops / row.seconds, **look, **FILLS[row.precision])
        axis.margins(y=0.1)
        axis.set(
            xscale="log",
            yscale="log",
            xlabel="operations a byte, each operation's tensors counted once",
            ylabel="operations a second",
        )
    forms = {title(backbone): look for backbone, look in shapes.items()}
    fills = {precision: {"marker": "o", **look} for precision, look in FILLS.items()}
    return _explained(figure, found, forms | fills)


def limit():
    """How near our step comes to the rate of the machine's own large matrix product.

    `× theirs` is its ratio to the authors' loop, `at most` what that would be at
    that rate, with nothing but products.
    """
    peaks = rows("limit", "peaks").to_dict("records")
    rate = {(peak["machine"], peak["program"]): peak["rate"] for peak in peaks}
    ours = _ours(rows("throughput", paper=True))
    ahead = {(r.machine, r.backbone, r.variant, r.program): r.ratios[PLAIN][1] for r in ours}
    table = {}
    for row in rows("limit").to_dict("records"):
        machine, precision = row["machine"], row["precision"]
        peak = rate.get((machine, precision)) or rate[machine, "float32"]  # a CPU has no TF32
        share = row["flops"] / row["seconds"] / peak
        ratio = ahead.get((machine, row["backbone"], row["variant"], row["program"]))
        table[machine, title(row["backbone"]), HEADINGS[row["variant"]], precision] = {
            "Of the peak": f"{share:.0%}",
            "× theirs": f"{ratio:.2f}" if ratio else "–",
            "at most": f"{ratio / share:.2f}" if ratio else "–",
        }
    return _table(table, ["Machine", "Network", "Variant", "Precision"])


def small():
    """Small batches: our step compiled against eager."""
    table = {}
    for row in rows("small").to_dict("records"):
        name = row["machine"], title(row["backbone"]), row["batch"], row["program"].removeprefix("ours ")
        table[name] = {"Images a second": f"{row['rate']:.1f}", "× eager": spread(row["ratios"][OURS])}
    return _table(table, ["Machine", "Network", "Batch", "Mode"])


def sharing():
    """Processes that share a device: runs finished an hour, a run being so many training images."""
    images = {
        f["machine"]["name"]: f["parts"]["small"]["run_images"] for f in files() if "small" in f["parts"]
    }
    table = {}
    for row in rows("small", "sharing").to_dict("records"):
        run = images[row["machine"]]
        table[row["machine"], row["batch"], row["processes"]] = {
            "Images a second, all together": f"{row['rate']:.1f}",
            f"Runs of {run:,} images an hour": f"{3600 * row['rate'] / run:.3g}",
            "× one process": spread(row["ratios"]["1"]),
        }
    return _table(table, ["Machine", "Batch", "Processes"])


def everyday():
    """The everyday commands: seconds on the machine's processor, and the goal."""
    table = {}
    for row in rows("everyday").to_dict("records"):
        cells = {"Seconds": f"{row['seconds']:.3g}", "Goal": f"at most {GOALS['everyday'][row['program']]}"}
        table[row["machine"], row["program"]] = cells | {"Ended well": "yes" if row["ended_well"] else "no"}
    return _table(table, ["Machine", "Command"])


# --- the goals ----------------------------------------------------------------------------------


def goals():
    """Each goal, the worst of what came out, on which machine, and whether it is met."""
    return _table({i: goal for i, goal in enumerate(_goals(), 1)})


def verdict():
    """How many goals are met, missed and not yet run, and what bfloat16 costs: two sentences."""
    found = _goals()
    counts = {v: sum(goal["Verdict"] == v for goal in found) for v in (MET, MISSED, MISSING)}
    text = f"Of {len(found)} goals: {', '.join(f'{n} {v}' for v, n in counts.items() if n)}."
    accuracy = precision().iloc[-1]
    if accuracy["Pairs"]:
        told = "bfloat16 in place of float32 changes test accuracy by {Difference} points in {Pairs} pairs: {Verdict}."
        text += f" {told.format(**accuracy)}"
    return text


def _goals():
    lines = []
    for device in GOALS["plain"]:
        steps = rows("throughput", paper=True, device=device)
        bound = GOALS["plain"][device]
        for precision, called in PRECISIONS.items():
            goal = f"at least {bound} times the authors' loop, {called}"
            lines.append(_goal(goal, device, _to_plain(steps, precision), least=bound))
        close = "not below timm's step: median of the ratio at least 1"
        lines.append(_goal(close, device, _to_timm(rows("throughput", device=device)), least=1))
    for device, bound in GOALS["transformer"].items():
        found = rows("transformer", what=STEP, variant="lstn", mode=OURS, device=device).itertuples()
        cases = [(_added(row.ratios)[1], title(row.backbone), row.machine) for row in found]
        lines.append(_goal(f"L-STN at most {bound:.0%} of a step", device, cases, most=bound, form="{:.1%}"))
    for device, bound in GOALS["data"].items():
        found = rows("data", program="memory", device=device).itertuples()
        cases = [(1 / row.ratios[STEP][1], "from memory", row.machine) for row in found]
        lines.append(
            _goal(f"data path at most {bound:.0%} of a step", device, cases, most=bound, form="{:.2%}")
        )
    for command, bound in GOALS["everyday"].items():
        found = rows("everyday", program=command, device="cpu").itertuples()
        cases = [(row.seconds if row.ended_well else math.inf, "seconds", row.machine) for row in found]
        lines.append(_goal(f"{command} within {bound} seconds", "cpu", cases, most=bound, form="{:.3g}"))
    return lines


def _to_plain(steps, precision):
    """(ratio, whose, machine) of each network at a precision, eager or compiled, as is faster."""
    best, ours = {}, f"ours {precision}"
    for row in _ours(steps):
        if row.program in (ours, f"{ours} compiled"):
            name = f"{title(row.backbone)} {HEADINGS[row.variant]}", row.machine
            best[name] = max(best.get(name, 0), row.ratios[PLAIN][1])
    return [(ratio, *name) for name, ratio in best.items()]


def _to_timm(steps):
    """(median of the ratio to timm's step, whose, machine) of each of our rows."""
    return [
        (
            row.ratios[f"timm {row.mode}"][1],
            f"{title(row.backbone)} {HEADINGS[row.variant]}, {row.mode}",
            row.machine,
        )
        for row in _ours(steps)
    ]


def _ours(steps):
    """The rows of our own programs that did not fail."""
    return [r for r in steps.itertuples() if r.program.startswith("ours") and isinstance(r.ratios, dict)]


def _goal(goal, device, cases, least=-math.inf, most=math.inf, form="{:.2f}"):
    """A row of `goals` from the worst of the cases (value, whose, machine), where there are any."""
    if not cases:
        kind = {"cpu": "a CPU", "cuda": "a GPU"}[device]
        return {"Goal": goal, "Machine": kind, "Came out": MISSING, "Verdict": MISSING}
    value, whose, machine = min(cases) if most == math.inf else max(cases)
    came_out = f"{form.format(value)} ({whose})"
    met = least <= value <= most
    return {"Goal": goal, "Machine": machine, "Came out": came_out, "Verdict": MET if met else MISSED}


# --- what the views share -----------------------------------------------------------------------


def _table(cells, names=None):
    """{row: {column: text}} as a table, its rows named by tuples of `names`; one that says so if empty."""
    if not cells:
        return pd.DataFrame({"": [MISSING]}, index=[""])
    table = pd.DataFrame.from_dict(cells, orient="index").fillna("")
    return table.rename_axis(names) if names else table


def _by_machine(found):
    return found.groupby("machine", sort=False) if len(found) else []


def _explained(figure, found, forms=MappingProxyType({})):
    """The figure, closed, with a legend of the variants that rows are of and of `forms`, {label: look}."""
    drawn = [v for v in VARIANTS if v in set(found.get("variant", ()))]
    looks: dict[str, dict[str, Any]] = {
        HEADINGS[v]: {"color": COLORS[v], "marker": "o" if forms else MARKERS[v]} for v in drawn
    }
    looks |= {form: {"color": "0.5", **look} for form, look in forms.items() if drawn}
    handles = [Line2D([], [], linestyle="", label=label, **look) for label, look in looks.items()]
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=11, frameon=False)
    return closed(figure)


def _panels(found, across, height):
    """A figure with a line of axes for each machine, named above it; without any, one that says so."""
    down = max(found["machine"].nunique(), 1)
    figure, axes = plt.subplots(down, across, figsize=(5.8, height * down), squeeze=False)
    for axis in axes.flat:
        axis.tick_params(labelsize=9)
        axis.xaxis.label.set_size(9.5)
        axis.yaxis.label.set_size(9.5)
    for line, machine in zip(axes, [machine for machine, _ in _by_machine(found)] or [MISSING]):
        line[0].set_title(machine, loc="left", fontsize=11)
    return figure, axes


def growth():
    """Seconds of work on all records against their number, a line a task; `benchmarks.growth` measures them."""
    found = pd.read_csv(BENCHMARKS / "growth.csv")
    figure, axis = plt.subplots(figsize=(5.8, 3.4))
    for task, rows in found.groupby("task", sort=False):
        axis.plot(rows["records"], rows["seconds"], marker="o", markersize=4, label=task)
    ends = found["records"].agg(["min", "max"]).to_numpy()
    axis.plot(
        ends, found["seconds"].max() * ends / ends[1], "--", color="0.6", label="as the number of records"
    )
    axis.set(xscale="log", yscale="log", xlabel="records", ylabel="seconds of a processor")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize=11)
    return closed(figure)


def gpu_steps():
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
