"""The smaller systems: the numbers that their documents publish, beside the numbers of our records.

The notebooks `small_cnn`, `distorted_mnist`, `traffic_signs` and `known_truth` show them; pictures are in
`system_pictures`. The published numbers are in `analysis/printed/`, each with its source.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..analysis import frame, theta
from ..analysis.effects import APPLIED
from ..analysis.grid import SAME_ALONE
from ..analysis.statistics import (
    BETTER,
    FEW,
    FEWEST_RUNS,
    MISSING,
    NO_NUMBER,
    compare,
    count_verdicts,
    half_width,
    judge_family,
    mean_text,
    range_text,
)
from ..models import HEADINGS, ORIGINAL, RELEASED
from ..paths import PRINTED
from ..training.presets import SYSTEM
from .figures import COLORS, close_figure
from .sentences import difference_text, join_words, table_or_missing

SIGNS = "sign-cnn-bn"
SIGNS_ENSEMBLE = 99.46  # percent; test accuracy of the ensemble of 25 networks that the document names
DISTORTED = "mnist-cnn-400k"
VALUE_OF_CURVE = {  # published quantity -> the same quantity from a run's test accuracies after each epoch
    "test accuracy at epoch 50": lambda epochs: epochs[49:50],
    "highest test accuracy": lambda epochs: [max(epochs)],
}
QUANTITIES = {"rotation": "rotation (degrees)", "scale": "scale (ratio)", "shift": "shift (pixels)"}


def system_runs(dataset, system):
    """Our runs of a smaller system at the protocol `system`; columns as `frame.runs`.

    For a system of SAME_ALONE, the runs without a transformer are those of the other system.
    """
    ours = frame.runs(dataset, SYSTEM, system)
    if system in SAME_ALONE:
        alone = frame.runs(dataset, SYSTEM, SAME_ALONE[system])
        ours = pd.concat(
            [alone[alone["variant"] == ORIGINAL], ours[ours["variant"] != ORIGINAL]], ignore_index=True
        )
    return ours


def published_values(system):
    """The numbers that the system's documents publish: dataset, variant, quantity, value (percent) and source."""
    rows = pd.read_csv(PRINTED / "systems.csv")
    return rows[rows["system"] == system].drop(columns="system").reset_index(drop=True)


def published_and_ours(system):
    """Each published number (percent) beside the same quantity of our runs, and ours minus theirs in points.

    If the document says only "test accuracy", our number is the test accuracy by the run's own selection rule. Without
    any run of ours, the table has only the published numbers.
    """
    view = published_values(system)
    ours = [our_values(system, *row) for row in zip(view["dataset"], view["variant"], view["quantity"])]
    view["ours"] = [mean_text(o).replace(" ± ", "\u00a0±\u00a0") for o in ours]
    view["difference"] = [
        f"{np.mean(o) - v:+.2f}" if len(o) else NO_NUMBER for o, v in zip(ours, view["value"])
    ]
    view["value"] = view["value"].map("{:.2f}".format)
    view = view.set_index(view["variant"].map(HEADINGS).rename(None))
    names = {
        "quantity": "Published quantity",
        "value": "Published",
        "ours": "Ours",
        "difference": "Difference",
    }
    names |= {"source": "Source"}
    if not any(ours):
        names = {name: names[name] for name in ("quantity", "value", "source")}
    return view[list(names)].rename(columns=names)


def our_values(system, dataset, variant, quantity):
    """Our values (percent) of a published quantity of a system: a list with a value a run."""
    ours = system_runs(dataset, system)
    mine = ours[ours["variant"] == variant]
    if quantity not in VALUE_OF_CURVE:
        return mine["test"].tolist()
    return [value for curve in _test_curves(mine) for value in VALUE_OF_CURVE[quantity](curve)]


def _test_curves(ours):
    """The test accuracies after each epoch: a list a run."""
    return [[epoch["test_accuracy"] for epoch in record["epochs"]] for record in ours["record"]]


def system_runs_table(dataset, system):
    """Our runs of a system, a row for each variant: parameters, training images, accuracies in percent."""
    ours = system_runs(dataset, system)
    rows = {}
    for variant in frame.variants_of(ours):
        mine = ours[ours["variant"] == variant]
        rows[HEADINGS[variant]] = {
            "Parameters": f"{mine['record'].iloc[0]['parameters']:,}",
            "Training images": f"{mine['record'].iloc[0]['data']['train']:,}",
            "Validation": mean_text(mine["validation"]),
            "Test": mean_text(mine["test"]),
        }
    return table_or_missing(rows)


def gains_in_words(dataset, system):
    """Whether the transformers of a smaller system are better than the network alone: a few sentences of Markdown.

    Each is compared with the network alone, and two transformers with one, by Welch's test with Holm's correction.
    Collapsed runs are left out.
    """
    every = system_runs(dataset, system)
    ours = every[~every["collapsed"].astype(bool)]
    tests = {variant: part.set_index("seed")["test"] for variant, part in ours.groupby("variant")}
    trained = [v for v in HEADINGS if v in tests and not v.endswith(RELEASED)]
    behind = [v for v in trained if v != ORIGINAL]
    if ORIGINAL not in trained or not behind:
        names = join_words([HEADINGS[v] for v in trained])
        reason = f"Only {names} {'has' if len(trained) == 1 else 'have'} runs, so nothing can be compared."
        return f"**Open.** {reason if trained else 'None of these networks has a run yet.'}"
    pairs = [(variant, ORIGINAL) for variant in behind]
    pairs += [("two", "one")] if {"two", "one"} <= set(behind) else []
    verdicts, texts = judge_pairs(tests, pairs)
    better, few = (count_verdicts(verdicts[: len(behind)], kind) for kind in (BETTER, FEW))
    verb = "is" if better == 1 else "are"
    lead = f"{better} of {len(behind)} variants with a transformer {verb} better than the network alone"
    lead += f"; {few} of them cannot be judged yet" if few else ""
    if set(verdicts) == {FEW}:
        lead = f"Open: a verdict needs {FEWEST_RUNS} runs of each network"
    parts = [f"{HEADINGS[variant]} {text}" for (variant, _), text in zip(pairs, texts)]
    alone, one = ", ".join(parts[: len(behind)]), ", ".join(parts[len(behind) :])
    more = f" Against one transformer: {one}." if one else ""
    lost = len(every) - len(ours)
    note = f" Left out: {lost} of {len(every)} runs, which collapsed." if lost else ""
    return f"**{lead}.** In points of test accuracy against the network alone: {alone}.{more}{note}"


def judge_pairs(tests, pairs):
    """Test each pair of arms by Welch's t-test, with Holm's correction; return a verdict and a text for each pair.

    `tests` is {arm: accuracies indexed by seed}. A text has the difference of the means, its interval, the verdict, and
    the number of runs of each arm.
    """
    gains = [compare(tests[arm], tests[against], paired=False) for arm, against in pairs]
    verdicts = [verdict for _, _, verdict in judge_family(gains)]
    texts = [
        f"{difference_text(gain)} ({verdict}, n={gain.n} and {gain.n_against})"
        for gain, verdict in zip(gains, verdicts)
    ]
    return verdicts, texts


def theta_in_words(dataset, system):
    """For each variant that has runs, whether theta depends on the image in their last epochs, as a Markdown list."""
    ours, lines = system_runs(dataset, system), []
    for variant in (v for v in HEADINGS if v != ORIGINAL and not v.endswith(RELEASED)):
        mine = ours[(ours["variant"] == variant) & ours["spread"].notna()]
        if not len(mine):
            continue
        still = [max(record["epochs"][-1]["theta"]["std"]) < theta.STILL_BELOW for record in mine["record"]]
        kind = "is nearly the same for every image" if all(still) else "depends on the image"
        if any(still) and not all(still):
            kind = "depends on the image in some runs only"
        pixels = range_text(mine["spread"], "{:.2f}")
        lines.append(
            f"- {HEADINGS[variant]}: theta {kind}. The corners of the region that it reads move by {pixels} pixels "
            f"from image to image (median; n={len(mine)}).{_zoom_in_words(mine)}"
        )
    return "\n".join(lines)


def _zoom_in_words(mine):
    """Return a sentence on the side of the region that the runs' mean map reads; "" if the map is not affine."""
    if len(mine["record"].iloc[0]["epochs"][-1]["theta"]["mean"]) != 6:
        return ""
    return f" On average, the sides of the region are {mean_side(mine['record']):.0%} of the image's."


def mean_side(records):
    """The side of the region that the mean affine map of these records reads, as a share of the image's."""
    means = [record["epochs"][-1]["theta"]["mean"] for record in records]
    a, b, _, c, d, _ = np.mean(means, axis=0)
    return math.sqrt(abs(a * d - b * c))


# --- the small CNN on CIFAR-10 ------------------------------------------------------------------


def published_curve():
    """The log of the small CNN's document: test accuracy in percent after each of 50 epochs."""
    return pd.read_csv(PRINTED / "cifar_cnn.csv")["test_correct"] / 100


def small_cnn_plot():
    """Test accuracy after each epoch: the document's log and our runs."""
    figure, axis = plt.subplots(figsize=(5.8, 4))
    log = published_curve()
    axis.plot(log.index + 1, log, color="black", linestyle=":", label="published, with transformer")
    ours = system_runs("cifar10", "cifar-cnn")
    for variant in frame.variants_of(ours):
        for number, values in enumerate(_test_curves(ours[ours["variant"] == variant])):
            label = f"ours, {'without' if variant == ORIGINAL else 'with'} transformer"
            label = label if number == 0 else None  # one line of the legend for all seeds
            axis.plot(range(1, len(values) + 1), values, color=COLORS[variant], label=label)
    axis.set(xlabel="epoch", ylabel="test accuracy (%)")
    axis.legend(loc="lower right")
    if ours.empty:
        axis.set_title(f"ours: {MISSING}")
    return close_figure(figure)


def small_cnn_verdict():
    """Compare our network with the transformer with ours without it and with the published log: two sentences."""
    ours, log = system_runs("cifar10", "cifar-cnn"), published_curve()
    last = {
        variant: pd.Series([curve[-1] for curve in _test_curves(mine)], mine["seed"])
        for variant, mine in ours.groupby("variant")
    }
    if "affine" not in last:
        return f"Ours with the transformer: {MISSING}."
    points = last["affine"].mean() - log.iloc[-1]
    side = "above" if points >= 0 else "below"
    text = f"With the transformer, it is {abs(points):.2f} points {side} the published log."
    if ORIGINAL not in last:
        return text
    (verdict,), (difference,) = judge_pairs(last, [("affine", ORIGINAL)])
    few = f"Open: a verdict needs {FEWEST_RUNS} runs of each. " if verdict == FEW else ""
    means = [f"{last[variant].mean():.2f} %" for variant in ("affine", ORIGINAL)]
    return (
        f"**{few}After the last epoch, our network's test accuracy is {means[0]} with the transformer and {means[1]} "
        f"without; the difference in points is {difference}.** {text}"
    )


# --- traffic signs ------------------------------------------------------------------------------


def signs_verdict():
    """Whether our network with two transformers is as accurate on GTSRB as the ensemble, in two sentences."""
    ours = system_runs("gtsrb", SIGNS)
    two = ours.loc[ours["variant"] == "two", "test"]
    if two.empty:
        return f"**Open.** With two transformers, at this system's settings: {MISSING}."
    mean, half = two.mean(), half_width(two)
    answer = "Open"
    if abs(mean - SIGNS_ENSEMBLE) > half:  # never with one run, whose interval is unknown
        answer = "Yes" if mean > SIGNS_ENSEMBLE else "Not in our smaller copy"
    best = published_values(SIGNS)["value"].max()
    return (
        f"**{answer}: with two transformers its test accuracy is {mean_text(two, '')} % (n={len(two)}), "
        f"the ensemble's is {SIGNS_ENSEMBLE} %.** The highest accuracy of the published networks is {best} %."
    )


# --- known truth --------------------------------------------------------------------------------

KNOWN_TRUTH = {"digits": "mnist-cnn", "mnist-rts": DISTORTED}  # dataset -> the network that the page shows


def recovery_table(dataset):
    """The distortion that remains after each transformer, a row each; the first row is without a transformer.

    It is the distance of each test image, or of the transformer's output, from the median pose of its class. Each cell
    shows the median distance and, in brackets, the 90th percentile; both are means over the seeds.
    """
    rows = {}
    for variant, recoveries in _recovery_by_variant(dataset).items():
        if not rows:
            cells = {QUANTITIES[q]: _median_and_high(recoveries, q, "before") for q in QUANTITIES}
            rows["Input (no transformer)"] = cells | {"Seeds": ""}
        cells = {QUANTITIES[q]: _median_and_high(recoveries, q, "after") for q in QUANTITIES}
        rows[HEADINGS[variant]] = cells | {"Seeds": len(recoveries)}
    return table_or_missing(rows)


def recovery_verdict(dataset):
    """The share of each distortion that the transformers undo, as means over the seeds, in one sentence."""
    by_variant, parts = _recovery_by_variant(dataset), []
    for quantity in QUANTITIES:
        shares = [
            [share_removed(r[quantity], quantity) for r in recoveries] for recoveries in by_variant.values()
        ]
        means = [np.mean(share) for share in shares if None not in share]
        if means:
            parts.append(f"{range_text(means, '{:.0%}')} of the {quantity}")
    if not parts:
        return f"{MISSING.capitalize()}."
    names = join_words([HEADINGS[variant] for variant in by_variant])
    return f"{names} undo{'es' if len(by_variant) == 1 else ''} {join_words(parts)} (medians)."


def still_runs_in_words(dataset):
    """Return a sentence that names the runs with nearly the same theta for every image; "" if there is none."""
    found = theta.theta_by_run()
    mine = found["run"].isin(_known_truth_runs(dataset)["run"]) & (found["std"] < theta.STILL_BELOW)
    still = [f"{HEADINGS[run.variant]} with seed {run.seed}" for run in found[mine].itertuples()]
    verb = "gives" if len(still) == 1 else "give"
    return f"{join_words(still)} {verb} every image nearly the same theta." if still else ""


def _known_truth_runs(dataset):
    """Our runs of the network KNOWN_TRUTH behind affine maps; columns as `frame.runs`."""
    ours = frame.runs(dataset, SYSTEM, KNOWN_TRUTH[dataset])
    return ours[ours["variant"].isin(APPLIED)]


def _recovery_by_variant(dataset):
    """{variant: a list with the recovery of each run}, see `examples.measure_recovery`; only variants with runs."""
    ours = _known_truth_runs(dataset)
    records = {v: ours[ours["variant"] == v]["record"] for v in APPLIED}
    return {
        v: [r["probes"]["recovered_in_class"] for r in found] for v, found in records.items() if len(found)
    }


def _median_and_high(recoveries, quantity, moment):
    median, high = np.mean([recovery[quantity][moment] for recovery in recoveries], axis=0)
    return f"{median:.2f} ({high:.2f})"


def share_removed(distances, quantity):
    """The share of the median distance that is removed, for scale of its logarithm; None without a distance."""
    medians = distances["before"][0], distances["after"][0]
    before, after = (np.log(m) if quantity == "scale" else m for m in medians)
    return None if before < 1e-3 else 1 - after / before
