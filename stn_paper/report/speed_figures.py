"""The figures of the pages on speed; `speed` reads the measurements and has the tables."""

from types import MappingProxyType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ..analysis.statistics import MISSING
from ..models import HEADINGS, ORIGINAL, VARIANTS
from ..models.backbones import title
from ..paths import AUTHORS_LOOP, BENCHMARKS
from .figures import COLORS, LEGEND_ABOVE, MARKERS, OTHER_COLORS, close_figure
from .speed import OURS, STEP, added_share, benchmark_rows

FILLS = {"tf32": {"fillstyle": "full"}, "bfloat16": {"fillstyle": "none"}}
PART_TITLES = {  # part of a step, as measured -> its name on the axis
    "localization": "localization, forward",
    "grid": "grid, forward",
    "sampling": "sampling, forward",
    "backward": "backward, all three",
}
FORMS = {form: {"marker": marker} for form, marker in zip(("eager", "compiled", "folded"), "os^")}


def throughput_plot():
    """The ratios at the paper's batch sizes: a panel a machine and other program, whiskers quartiles."""
    measured = benchmark_rows("throughput", paper=True)
    figure, axes = _machine_panels(measured, 2, 3.8)
    for (_, mine), line in zip(_by_machine(measured), axes):
        ours = mine[mine["program"].str.startswith("ours") & mine["ratios"].notna()]
        labels = list(dict.fromkeys(f"{title(r.backbone)}, {r.mode}" for r in ours.itertuples()))
        for axis, opponent in zip(line, (AUTHORS_LOOP, "timm")):
            for row in ours.itertuples():
                against = AUTHORS_LOOP if opponent == AUTHORS_LOOP else f"timm {row.mode}"
                low, middle, high = row.ratios[against]
                place = labels.index(f"{title(row.backbone)}, {row.mode}") + 0.2 * (row.variant != ORIGINAL)
                whiskers = [[middle - low], [high - middle]]
                style = {"color": COLORS[row.variant], "marker": MARKERS[row.variant], "capsize": 3}
                axis.errorbar(middle, place, xerr=whiskers, **style)
            axis.axvline(1, color="black", linewidth=1)
            axis.set_yticks(range(len(labels)), labels)
            whose = "the author's loop" if opponent == AUTHORS_LOOP else "timm's step"
            axis.set(xlabel=f"times as fast\nas {whose}", ylim=(len(labels) - 0.5, -0.5))
        line[1].set_yticklabels([])
    return _with_legend(figure, measured)


def parts_plot():
    """The time of each part of a transformer: a bar a part and variant, in percent of the step.

    `rest` is the time of a step minus the original's step and these parts. Most of it is the gradient of the backbone's
    input, which the original does not compute.
    """
    found, width = benchmark_rows("transformer", what="part"), 0.27
    steps = benchmark_rows("transformer", what=STEP, mode=OURS)
    figure, axes = _machine_panels(found, 1, 2.7)
    for (machine, mine), (axis,) in zip(_by_machine(found), axes):
        for i, (variant, parts) in enumerate(mine.groupby("variant", sort=False)):
            shares = {part.program: 1 / part.ratios[STEP][1] for part in parts.itertuples()}
            (step,) = steps[(steps["machine"] == machine) & (steps["variant"] == variant)]["ratios"]
            shares["rest"] = added_share(step)[1] - sum(shares.values())
            places = np.arange(len(shares)) + width * (i - 1)
            heights = [100 * share for share in shares.values()]
            axis.barh(places, heights, 0.9 * width, color=COLORS[variant], label=HEADINGS[variant])
        axis.set_yticks(range(len(shares)), [PART_TITLES.get(part, part) for part in shares])
        axis.invert_yaxis()
        axis.set(xlabel="share of the training step (%)")
    handles = axes[0, 0].get_legend_handles_labels()
    if handles[0]:
        figure.legend(*handles, loc="outside upper center", ncols=3, fontsize=11, frameon=False)
    return close_figure(figure)


def flops_plot():
    """Time and memory against FLOPS, all as shares of STN's in the same form; on the line both shares are equal."""
    measured = benchmark_rows("transformer", "nets")
    figure, axes = _machine_panels(measured, 3, 3)
    for (_, mine), line in zip(_by_machine(measured), axes):
        for (batch, form), group in mine.groupby(["batch", "form"], sort=False):
            stn = group[group["variant"] == "stn"].iloc[0]
            for row in group.itertuples():
                low, middle, high = sorted(1 / ratio for ratio in row.ratios[f"stn {form}"])
                look = {"color": COLORS[row.variant], "linestyle": "", "alpha": 0.7, **FORMS[form]}
                share = row.gflops / stn["gflops"]
                line[int(batch > 1)].errorbar(share, middle, [[middle - low], [high - middle]], **look)
                if batch > 1:
                    line[2].plot(share, row.peak_mib / stn["peak_mib"], **look)
        for axis, quantity in zip(line, ("latency", "time of a batch", "peak memory")):
            axis.axline((0, 0), slope=1, color="0.6", linewidth=1)
            axis.margins(x=0.15)
            axis.set(xlabel="FLOPS / STN's", ylabel=f"{quantity} / STN's", xlim=(0, None), ylim=(0, None))
    return _with_legend(figure, measured, FORMS)


def roofline_plot():
    """Arithmetic a second against arithmetic a byte: the machine's peaks and our training steps.

    Each network has its own marker. An open marker shows a step in bfloat16.
    """
    measured, peaks = benchmark_rows("limit"), benchmark_rows("limit", "peaks")
    figure, axes = _machine_panels(measured, 1, 3.4)
    networks = list(dict.fromkeys(measured.get("backbone", ())))
    shapes = {backbone: {"marker": "osDv"[i]} for i, backbone in enumerate(networks)}
    for (machine, mine), (axis,) in zip(_by_machine(measured), axes):
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
    return _with_legend(figure, measured, forms | fills)


def _by_machine(found):
    return found.groupby("machine", sort=False) if len(found) else []


def _with_legend(figure, found, forms=MappingProxyType({})):
    """Close the figure with a legend of the variants in `found` and of `forms`, {label: look}."""
    drawn = [v for v in VARIANTS if v in set(found.get("variant", ()))]
    looks: dict[str, dict[str, Any]] = {
        HEADINGS[v]: {"color": COLORS[v], "marker": "o" if forms else MARKERS[v]} for v in drawn
    }
    looks |= {form: {"color": "0.5", **look} for form, look in forms.items() if drawn}
    handles = [Line2D([], [], linestyle="", label=label, **look) for label, look in looks.items()]
    if handles:
        figure.legend(handles=handles, ncols=3, **LEGEND_ABOVE)
    return close_figure(figure)


def _machine_panels(found, across, height):
    """A figure with a titled row of axes for each machine; without a machine, one row with the title "not yet run"."""
    down = max(found["machine"].nunique(), 1)
    figure, axes = plt.subplots(down, across, figsize=(5.8, height * down), squeeze=False)
    for axis in axes.flat:
        axis.tick_params(labelsize=11)
        axis.xaxis.label.set_size(11)
        axis.yaxis.label.set_size(11)
    for line, machine in zip(axes, [machine for machine, _ in _by_machine(found)] or [MISSING]):
        line[0].set_title(machine, loc="left", fontsize=11)
    return figure, axes


def growth_plot():
    """Seconds of work on all records against their number, a line a task; `benchmarks.growth` measures them."""
    found = pd.read_csv(BENCHMARKS / "growth.csv")
    figure, axis = plt.subplots(figsize=(5.8, 3.4))
    for (task, rows), marker, color in zip(found.groupby("task", sort=False), "osD^vX", OTHER_COLORS):
        axis.plot(rows["records"], rows["seconds"], color=color, marker=marker, markersize=5, label=task)
    ends = found["records"].agg(["min", "max"]).to_numpy()
    axis.plot(
        ends, found["seconds"].max() * ends / ends[1], "--", color="0.6", label="as the number of records"
    )
    axis.set(xscale="log", yscale="log", xlabel="records", ylabel="seconds of a processor")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize=11)
    return close_figure(figure)
