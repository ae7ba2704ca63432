"""Tables and figures of the page "Which networks take it, and is it fast?", from committed measurements.

`python -m benchmarks.timm_networks`, `benchmarks.timm_training` and `benchmarks.warps` write their files.
"""

import json

import matplotlib.pyplot as plt
import pandas as pd

from ..analysis import effects, experiment
from ..analysis.statistics import NO_NUMBER, range_text
from ..data.datasets import DATASETS
from ..models import ORIGINAL
from ..models.backbones import title
from ..paths import BENCHMARKS
from ..training.presets import SYSTEM
from .experiment_page import runs_text
from .figures import OTHER_COLORS, close_figure
from .speed import median_and_quartiles

# the protocol of each dataset whose gains are shown
GAIN_PROTOCOLS = {"digits": SYSTEM} | {dataset: protocol for dataset, _, protocol in experiment.STUDIES}
WORK_TITLES = {
    "forward": "warp: forward",
    "forward and backward": "warp: forward and backward",
    "module": "whole module, STN: forward and backward",
}
PROGRAM_TITLES = {"kornia": "kornia", "monai": "MONAI", "PyTorch tutorial": "PyTorch tutorial"}


def timm_networks_table():
    """Twenty timm networks behind L-STN, a row each; a column a check: yes, or the error."""
    table = pd.read_csv(BENCHMARKS / "timm_networks.csv")
    return table.drop(columns=["timm", "torch", "commit"]).set_index("network")


def timm_networks_in_words():
    """How many of the twenty timm networks pass all checks, in one sentence."""
    passed = (timm_networks_table().drop(columns=["family", "image size"]) == "yes").all(axis=1)
    return f"**{passed.sum()} of {len(passed)} networks pass all checks.**"


def timm_training_table():
    """The epochs of `lstn_resnet50` on the digits by timm's `train.py`; the last row is the loaded checkpoint."""
    table = pd.read_csv(BENCHMARKS / "timm_training.csv", dtype={"epoch": str})
    versions = ["model", "timm", "torch", "train.py", "commit"]
    return table.drop(columns=versions).set_index("epoch").astype(object).fillna(NO_NUMBER)


def lstn_gains_table():
    """What L-STN adds to test accuracy in our runs, in points: a row a dataset and network."""
    rows = []
    for dataset, protocol in GAIN_PROTOCOLS.items():
        found = effects.comparisons_by_backbone(dataset, protocol)
        found = effects.rows_of_pair(found, "lstn", ORIGINAL)
        for row in found[~found["left_out"].astype(bool)].itertuples():
            half = NO_NUMBER if pd.isna(row.half) else f"± {row.half:.1f}"
            gain = f"{row.mean:+.1f}", half, runs_text(row), row.collapsed, row.shown
            rows.append([DATASETS[dataset].title, title(row.backbone), protocol, *gain])
    columns = ["Dataset", "Network", "Protocol", "Gain (points)", "95 %", "Runs", "Collapsed", "Verdict"]
    return pd.DataFrame(rows, columns=columns).set_index("Dataset")


def _read_warps():
    return json.loads((BENCHMARKS / "warps/cpu.json").read_text(encoding="utf-8"))


def warp_ratios():
    """Our speed divided by that of `other`: columns image_size, work, other, low, middle, high (quartiles)."""
    rows = [
        [row["image_size"], row["work"], program, *quartiles]
        for row in _read_warps()["rows"]
        if row["program"] == "stn_paper"
        for program, quartiles in row["ratios"].items()
        if program != "stn_paper"
    ]
    return pd.DataFrame(rows, columns=["image_size", "work", "other", "low", "middle", "high"])


def warp_ratios_table():
    """The lowest and the highest median of `warp_ratios` over the image sizes: a row a work and program."""
    found = warp_ratios()
    rows = {}
    for (work, program), mine in found.groupby(["work", "other"], sort=False):
        lowest = mine.loc[mine["middle"].idxmin()]
        rows[WORK_TITLES[work], PROGRAM_TITLES[program]] = {
            "Lowest": median_and_quartiles(lowest[["low", "middle", "high"]]),
            "At (pixels)": lowest["image_size"],
            "Highest": f"{mine['middle'].max():.2f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["Work", "Against"])


def warp_verdict():
    """How our warp and the whole module compare with the fastest other program, over the image sizes: one sentence."""
    found = warp_ratios()
    module = found["work"] == "module"
    alone, whole = found.loc[~module, "middle"], found.loc[module, "middle"]
    fastest = (
        "at every size" if alone.min() >= 1 else f"at all but {(alone < 1).sum()} of {len(alone)} comparisons"
    )
    return (
        f"**The warp alone is the fastest {fastest}; the whole module is {whole.min():.2f} to {whole.max():.2f} times "
        "as fast as the tutorial's.**"
    )


def warp_machine_in_words():
    """A sentence on the machine of `warp_ratios`."""
    found = _read_warps()
    loads, host = [row["load"] for row in found["rows"]], found["machine"]
    versions = ", ".join(f"{name} {host[name]}" for name in ("torch", "kornia", "monai") if name in host)
    return (
        f"{host['name']}, {host['threads']} thread, {versions}, commit `{host['commit']}`. Batches of "
        f"{found['batch']} images of {found['channels']} channels. Other programs shared the machine: its load "
        f"was {range_text([round(load) for load in loads])}."
    )


def warp_ratios_plot():
    """Our speed divided by that of other programs against the image size: a panel a work, whiskers quartiles."""
    ratios = warp_ratios()
    figure, axes = plt.subplots(len(WORK_TITLES), figsize=(5.8, 2.6 * len(WORK_TITLES)), sharex=True)
    for axis, (work, heading) in zip(axes, WORK_TITLES.items()):
        axis.set_title(heading, fontsize=11)
        for (program, mine), marker, color in zip(
            ratios[ratios["work"] == work].groupby("other", sort=False), "osD", OTHER_COLORS
        ):
            whiskers = [mine["middle"] - mine["low"], mine["high"] - mine["middle"]]
            look = {"marker": marker, "markersize": 4, "capsize": 2, "label": PROGRAM_TITLES[program]}
            axis.errorbar(mine["image_size"], mine["middle"], whiskers, color=color, **look)
        axis.axhline(1, color="0.4", linewidth=1)
        axis.set(ylabel="times as fast", xscale="log", yscale="log")
        axis.set_xticks([28, 64, 128, 224], ["28", "64", "128", "224"], minor=False)
        axis.set_yticks([1, 1.5, 2, 3, 4], ["1", "1.5", "2", "3", "4"])
        axis.minorticks_off()
    axes[-1].set_xlabel("side of the image (pixels)")
    axes[0].legend(fontsize=11)
    return close_figure(figure)
