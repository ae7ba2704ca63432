"""The front page: the answers to its title, the numbers of its findings, its figure, and the README's table."""

from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..analysis import accuracy, author_runs, claims, copies, effects, experiment, frame, statistics, theta
from ..analysis.cost_tables import TOLERANCE, compare_costs, lstn_against_stn, saved_by_lstn
from ..analysis.paper import DATASET_OF, networks
from ..data.datasets import DATASETS
from ..models.backbones import title
from ..training.presets import PAPER_SIZE
from . import accuracy_verdicts, experiment_verdicts, small_systems, speed, theta_page
from .figures import COLORS, PAPER_COLOR, close_figure
from .sentences import join_words

# the studies on distorted digits and on traffic signs, where a transformer helps
HELPED_STUDY, SIGNS_STUDY = experiment.STUDIES[:2]


class Gain(NamedTuple):
    """L-STN minus STN in one study, in points of test accuracy: a row of the figure."""

    label: str
    values: pd.Series  # differences: by network in the paper, by seed in our runs
    mean: float
    half: float  # half width of the 95 % interval of the mean
    collapsed: int  # runs left out because they collapsed
    runs: int
    shown: str = ""  # the verdict
    shown_alone: str = ""  # the verdict of the study alone


def network_gains(source):
    """Return {6: the Gain over the networks of Table 6, 8: that of Table 8}, with a value a network.

    `source` is "paper" or "ours". Ours have the networks that `accuracy.differences` keeps; a table of which fewer than
    FEWEST_BACKBONES networks are kept has no Gain.
    """
    gains = {}
    for number in (6, 8):
        pairs = effects.rows_of_pair(accuracy.differences(number), "lstn", "stn").set_index("backbone")
        values = pairs[source] if source == "paper" else pairs.loc[pairs["kept"], source]
        if len(values) >= accuracy.FEWEST_BACKBONES:
            of_all = "" if source == "paper" else f" of {len(pairs)}"
            label = f"{DATASETS[DATASET_OF[number]].title}, {len(values)}{of_all} networks"
            half = statistics.half_width(values)
            gains[number] = Gain(label, values, values.mean(), half, 0, len(values))
    return gains


def _network_gains_in_words():
    """Our Gains over the networks of Tables 6 and 8 beside the paper's, as a sentence and a space; "" without any."""
    ours, printed = network_gains("ours"), network_gains("paper")
    if not ours:
        return ""
    texts = [
        f"{gain.mean:+.2f} ± {gain.half:.2f} points (the paper: {printed[number].mean:+.2f}) over {len(gain.values)} "
        f"networks on {DATASETS[DATASET_OF[number]].title}"
        for number, gain in ours.items()
    ]
    cells = pd.concat([accuracy.kept_cells(number, "lstn", "stn") for number in ours])
    runs = accuracy_verdicts.runs_in_words(cells["n"])
    settings = f"{accuracy_verdicts.sizes_in_words(cells)}, {runs} each"
    return f"On average, L-STN minus STN is {join_words(texts)} ({settings}). "


def lstn_comparisons():
    """The comparison of L-STN with STN in each study with FEWEST_RUNS runs or more of each, a row each.

    A study is all runs of one network on one dataset at one protocol, collapsed runs included. The rows are in the
    order of DATASETS. Columns: those of `effects.compare_arms`, dataset, protocol, and `enough`: whether a verdict is
    possible, because enough runs did not collapse and the network alone was trained.
    """
    every = frame.runs()
    every = every[(every["variant"] == "lstn") & (every["preset"] != "")]
    found = [
        effects.comparisons_by_backbone(dataset, protocol).assign(dataset=dataset, protocol=protocol)
        for dataset in DATASETS
        for protocol in every.loc[every["dataset"] == dataset, "preset"].unique()
    ]
    found = [view for view in found if len(view)]
    if not found:
        return pd.DataFrame(columns=[*effects.COMPARISON_COLUMNS, "enough"])
    rows = effects.rows_of_pair(pd.concat(found), "lstn", "stn")
    rows = rows[rows[["runs", "runs_against"]].min(axis=1) >= statistics.FEWEST_RUNS]
    inside = rows[["n", "n_against"]].min(axis=1) >= statistics.FEWEST_RUNS
    return rows.assign(enough=inside & ~rows["left_out"].astype(bool))


def our_gains(rows):
    """Return a Gain for each of the `lstn_comparisons` for which a verdict is possible.

    For `shown`, Holm's correction is made over all Gains; for `shown_alone`, within the Gain's study.
    """
    gains: list[Gain] = []
    rows = rows[rows["enough"].astype(bool)]
    for row, alone in zip(effects.judge_together(rows).itertuples(), rows["shown"]):
        values = effects.single_differences(frame.runs(row.dataset, row.protocol, row.backbone), row)
        label = f"{DATASETS[row.dataset].title}, {title(row.backbone)}"
        label += f", {row.protocol}" if label in {gain.label for gain in gains} else ""
        lost, runs = row.collapsed + row.collapsed_against, row.runs + row.runs_against
        gains.append(Gain(label, values, row.mean, row.half, lost, runs, row.shown, alone))
    return gains


def count_gains(gains):
    """Return in how many Gains L-STN is better than STN, worse and equal, and the number of all Gains."""
    verdicts = [gain.shown for gain in gains]
    kinds = (statistics.BETTER, statistics.WORSE, statistics.EQUAL)
    return *(statistics.count_verdicts(verdicts, kind) for kind in kinds), len(verdicts)


def lstn_answers():
    """The answers to "Does L-STN improve a spatial transformer?" in costs, time and accuracy: {name: Markdown}."""
    (ratio, _), rows, takes = lstn_against_stn(), lstn_comparisons(), speed.shares_of_step()
    operations, memory = statistics.range_text(ratio, "{:.3f}"), speed.memory_by_stn()
    whole = statistics.range_text(100 * saved_by_lstn(), "{:.1f}")
    costs = (
        f"**In operations, yes.** L-STN's localization net needs {operations} of the operations of STN's"
        f"{f', and {memory} of its peak memory in evaluation' if memory else ''}; a whole network saves {whole} % of "
        "its operations."
    )
    time = f"**In the time of a training step on a CPU:** {statistics.MISSING}."
    if takes:
        less = np.mean(takes["lstn"]) < np.mean(takes["stn"])
        lstn, stn = (speed.percent_text(takes[variant]) for variant in ("lstn", "stn"))
        time = (
            f"**In the time of a training step on a CPU, {'yes' if less else 'no'}.** With images of 64 pixels, L-STN "
            f"takes {lstn} of a step, and STN takes {stn}."
        )
    gains = our_gains(rows)
    better, worse, equal, number = count_gains(gains)
    equal_alone = statistics.count_verdicts([gain.shown_alone for gain in gains], statistics.EQUAL)
    shown = [f"over {gain.label}" for gain in network_gains("ours").values() if gain.mean > gain.half]
    shown += [f"in {better} of {number} studies"] if better else []
    accuracies = (
        f"**In accuracy, {f'yes {join_words(shown)}' if shown else 'our runs show no gain'}.** "
        f"{_network_gains_in_words()}Of our {len(rows)} studies with {statistics.FEWEST_RUNS} runs or more of "
        f"L-STN and of STN, {number} can be compared{_left_out(rows)}: L-STN is better in {better}, worse in {worse}, "
        f"equal within {statistics.MARGIN:g} point in {equal}, and {number - better - worse - equal} are undecided "
        f"(p-values corrected for {number} tests; corrected within each study, {equal_alone} are equal)."
    )
    return {"answer_costs": costs, "answer_time": time, "answer_accuracy": accuracies}


def _left_out(rows):
    """Why some of the `lstn_comparisons` have no verdict, in brackets; "" if all have one."""
    lost = rows[~rows["enough"].astype(bool)]
    failed = lost["left_out"].astype(bool).sum()
    reasons = {"the network alone failed to train": failed, "transformers collapsed": len(lost) - failed}
    texts = [f"in {number}, {reason}" for reason, number in reasons.items() if number]
    return f" ({join_words(texts)})" if texts else ""


def count_costs():
    """Of the `cells` of Tables 4, 5, 7 and 9, `exact` have our number of parameters and `close` our GFLOPS."""
    cells = compare_costs(4, 5, 7, 9)
    return {"cells": len(cells), "exact": int(cells["exact"].sum()), "close": int(cells["close"].sum())}


def _sizes_in_words():
    """The image sizes of our runs of the paper's networks in the page's figure, in words."""
    rows = lstn_comparisons()
    rows = rows[rows["enough"].astype(bool) & rows["dataset"].isin(DATASET_OF.values())]
    runs = [frame.runs(*study) for study in zip(rows["dataset"], rows["protocol"], rows["backbone"])]
    runs += [accuracy.kept_cells(number, "lstn", "stn") for number in (6, 8)]
    return accuracy_verdicts.sizes_in_words(pd.concat(runs))


def front_page_texts():
    """The texts that fill the front page's sentences: {name: text}."""
    bypassed, transformers, chosen, logs = author_runs.release_totals()
    copied, thetas = copies.test_images_with_copy("tsrd"), theta.theta_by_run()
    moved = theta.count_outcomes(thetas).loc[True]
    quick = speed.benchmark_rows("everyday", program="papermill", device="cpu").get(
        "seconds", pd.Series(dtype=float)
    )
    missing = accuracy.count_missing(6)
    hours = (
        f"about {missing['hours']:.0f} hours of an {missing['device']}"
        if missing["hours"]
        else "hours of a GPU"
    )
    values = {
        "within": TOLERANCE,
        "claims": len(claims.CLAIMS),
        "bypassed": f"{bypassed} of {transformers}",
        "chosen": f"{chosen} of {logs}",
        "copied": f"{copied[0]:,} of {copied[1]:,}",
        "still": f"{moved['still']} of {moved['runs']}",
        "collapsed": theta_page.collapses_in_words(thetas),
        "gain": experiment_verdicts.gain_in_words(HELPED_STUDY),
        "gain_signs": experiment_verdicts.gain_in_words(SIGNS_STUDY),
        "equal": experiment_verdicts.gain_in_words(HELPED_STUDY, against="stn"),
        "part": experiment_verdicts.gain_in_words(HELPED_STUDY, against="lstn-no-bn"),
        "undone": small_systems.recovery_verdict(HELPED_STUDY[0]).removesuffix("."),
        "part_still": experiment_verdicts.count_still(HELPED_STUDY, "lstn-no-bn"),
        "missing": f"{missing['lacking']} of {missing['cells']}",
        "quick": f"{quick.max():.0f} seconds" if len(quick) else "a minute",
        "hours": hours,
        "sizes": _sizes_in_words(),
    }
    return lstn_answers() | {name: str(value) for name, value in (values | count_costs()).items()}


def gains_plot():
    """The front page's figure: a line a Gain, the paper's above ours, with dots, mean and Student's 95 % interval."""
    printed = [*network_gains("paper").values()]
    ours = [*network_gains("ours").values(), *our_gains(lstn_comparisons())]
    rows = [(gain, PAPER_COLOR) for gain in printed] + [(gain, COLORS["lstn"]) for gain in ours]
    figure, axis = plt.subplots(figsize=(5.4, 0.8 + 0.33 * len(rows)))
    for place, (gain, color) in enumerate(rows):
        dots: dict[str, Any] = {"color": color, "markersize": 5, "markeredgecolor": "white", "zorder": 3}
        axis.plot(gain.values, [place] * len(gain.values), "o", **dots)
        bar: dict[str, Any] = {"color": color, "linewidth": 5, "alpha": 0.4, "solid_capstyle": "butt"}
        axis.plot([gain.mean - gain.half, gain.mean + gain.half], [place, place], **bar)
        axis.plot(gain.mean, place, "|", color=color, markersize=13, markeredgewidth=2.2)
    axis.axvline(0, color="black", linewidth=1, zorder=0)
    axis.axvspan(-statistics.MARGIN, statistics.MARGIN, color="black", alpha=0.08, linewidth=0)
    axis.axhline(len(printed) - 0.5, color="0.8", linewidth=1)
    for place, text in ((0, "paper"), (len(printed), "ours")):
        corner: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "top"}
        axis.annotate(text, (0.01, place - 0.42), **corner, fontsize=11, fontweight="bold")
    axis.set_yticks(range(len(rows)), [_row_label(gain) for gain, _ in rows])
    axis.set(ylim=(len(rows) - 0.4, -0.6), xlabel="test accuracy: L-STN minus STN (points)")
    axis.tick_params(labelsize=11)
    axis.grid(axis="y", visible=False)
    return close_figure(figure)


def _row_label(gain):
    return f"{gain.label}\n({gain.collapsed} of {gain.runs} runs collapsed)" if gain.collapsed else gain.label


# --- the README's table ---------------------------------------------------------------------------


def count_reproduced():
    """How much of the paper was rebuilt and trained: {name: number}.

    The numbers are those of `count_costs`; `networks`, the number of networks in Tables 4, 6 and 8; and `trained`, how
    many of these networks have a run at the paper's scale.
    """
    tables = {d: networks(number) for number, d in DATASET_OF.items()}
    trained = 0
    for dataset, printed in tables.items():
        found = pd.concat([frame.runs(dataset, protocol) for protocol in PAPER_SIZE])[["backbone", "variant"]]
        trained += len(printed.merge(found.drop_duplicates(), on=["backbone", "variant"]))
    return count_costs() | {"trained": trained, "networks": sum(map(len, tables.values()))}


def findings():
    """Return the findings as a table: each row has the paper's claim, our finding, and the name of the page."""
    counts, (ratio, extra) = count_costs(), lstn_against_stn()
    copied = copies.test_images_with_copy("tsrd")
    rows = [
        (
            "Parameters and GFLOPS of Tables 4, 5, 7 and 9",
            f"{counts['exact']} of {counts['cells']} parameter counts agree to the unit, {counts['close']} of "
            f"{counts['cells']} GFLOPS figures within {TOLERANCE}",
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
