"""Compare the smaller systems with their published results: differences in points, and sentences on theta.

The notebooks `distorted_mnist`, `traffic_signs` and `small_cnn` show these beside the tables of `small_systems`.
"""

import json
import math

import numpy as np
import pandas as pd

from ..analysis import grid
from ..analysis.statistics import (
    BETTER,
    EQUAL,
    FEW,
    FEWEST_RUNS,
    MISSING,
    WORSE,
    compare,
    count_verdicts,
    judge_family,
    mean_text,
)
from ..models import HEADINGS, ORIGINAL, RELEASED
from ..paths import BENCHMARKS, PRINTED
from ..training.records import find, selected_result
from . import small_systems
from .sentences import join_words

NEAR_POINTS = 0.5  # points; an error this close to the published error counts as reached
STILL_PIXELS = 0.5  # pixels; if the corners move less from image to image, the map counts as constant


# --- distorted MNIST ----------------------------------------------------------------------------


# distortion -> its second reading: p moves the corners of the canvas, e a grid over the digit; see `DISTORTIONS`
OTHER_READINGS = {"p": "canvas", "e": "digit"}


def _distorted_cells():
    """The cells of Jaderberg et al. 2015, Table 1, a row each: distortion, network, variant, published, ours, other.

    Errors are in percent. `ours` is a list with an error for each run; `other` is this list for the second reading of P
    and E.
    """
    printed, rows = pd.read_csv(PRINTED / "distorted_mnist.csv"), []
    for name in printed.columns.drop(["network", "variant"]):
        reading = OTHER_READINGS.get(name)
        readings = [_errors(name), _errors(f"{name}-{reading}") if reading else {}]
        for network, variant, published in printed[["network", "variant", name]].itertuples(
            index=False, name=None
        ):
            rows.append(
                [name, network, variant, published, *(errors.get(variant, []) for errors in readings)]
            )
    return pd.DataFrame(rows, columns=["distortion", "network", "variant", "published", "ours", "other"])


def _errors(distortion):
    """Our test errors in percent on a distortion: {variant: an error a run}."""
    ours = small_systems.system_runs(f"mnist-{distortion}", small_systems.DISTORTED)
    return (100 - ours["test"]).groupby(ours["variant"]).agg(list).to_dict()


def distorted_errors_table():
    """Test error in percent on R, RTS, P and E: Jaderberg et al. 2015, Table 1, beside ours."""
    view = {}
    for name, cells in _distorted_cells().groupby("distortion", sort=False):
        cells = cells.set_index(cells["network"].str.removeprefix("ST-CNN ").rename(None))
        view[name.upper(), "paper"] = cells["published"].map("{:.1f}".format)
        view[name.upper(), "ours"] = cells["ours"].map(mean_text)
        if reading := OTHER_READINGS.get(name):
            view[name.upper(), f"other, {reading}"] = cells["other"].map(mean_text)
    return pd.DataFrame(view)


def readings_verdict():
    """Return a sentence that compares the two readings of P and E by the number of errors near the published errors."""
    cells = _distorted_cells()
    both = cells[(cells["other"].str.len() > 0) & (cells["ours"].str.len() > 0)]
    if both.empty:
        return f"**Open.** The other reading: {MISSING}."
    ours, other = (_count_near(both[reading], both["published"]) for reading in ("ours", "other"))
    return (
        f"**In the other reading, {other} of {len(both)} errors lie within {NEAR_POINTS} points of the published "
        f"errors; under “ours”, {ours} of the same {len(both)}** (n={both['other'].str.len().min()})."
    )


def _count_near(errors, published):
    """How many means of our errors, a list a cell, lie within NEAR_POINTS of the published errors."""
    return ((errors.map(np.mean) - published).abs() <= NEAR_POINTS).sum()


def distorted_verdict():
    """Return two sentences: how far transformers lower the error, and how our errors differ from published errors."""
    cells = _distorted_cells()
    trained = cells[cells["ours"].str.len() > 0]
    if trained.empty:
        return f"{MISSING.capitalize()}."
    trained = trained.assign(error=trained["ours"].map(np.mean))
    differences = trained["error"] - trained["published"]
    near = _count_near(trained["ours"], trained["published"])
    where = f"On {join_words(trained['distortion'].str.upper().unique().tolist())}, "
    text = (
        f"{near} of {len(trained)} errors of ours lie within {NEAR_POINTS} points of the published errors; the "
        f"differences are {differences.min():+.2f} to {differences.max():+.2f} points."
    )
    alone = trained[trained["variant"] == ORIGINAL].set_index("distortion")["error"]
    behind = trained[trained["variant"] != ORIGINAL]
    gains = (behind["distortion"].map(alone) - behind["error"]).dropna()
    if gains.empty:
        return where + text
    gains_text = f"{(gains > 0).sum()} of {len(gains)} combinations of distortion and map"
    gains_text += f", by {gains.min():.2f} to {gains.max():.2f} points"
    runs_text = f" (n={behind['ours'].str.len().min()} behind each transformer)"
    return f"**{where}the error is lower behind a transformer in {gains_text}**{runs_text}. {text}"


def gains_in_words(dataset, system):
    """Whether the transformers of a smaller system are better than the network alone: a few sentences of Markdown.

    Each is compared with the network alone, and two transformers with one, by Welch's test with Holm's correction.
    Collapsed runs are left out.
    """
    every = small_systems.system_runs(dataset, system)
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
    verdicts, texts = _judge_pairs(tests, pairs)
    better = count_verdicts(verdicts[: len(behind)], BETTER)
    lead = f"{better} of {len(behind)} variants with a transformer are better than the network alone"
    if set(verdicts) == {FEW}:
        lead = f"Open: a verdict needs {FEWEST_RUNS} runs of each network"
    parts = [f"{HEADINGS[variant]} {text}" for (variant, _), text in zip(pairs, texts)]
    alone, one = ", ".join(parts[: len(behind)]), ", ".join(parts[len(behind) :])
    more = f" Against one transformer: {one}." if one else ""
    lost = len(every) - len(ours)
    note = f" Left out: {lost} of {len(every)} runs, which collapsed." if lost else ""
    return f"**{lead}.** In points of test accuracy against the network alone: {alone}.{more}{note}"


def _judge_pairs(tests, pairs):
    """Compare accuracies in pairs of arms by Welch's test with Holm's correction: the verdicts, and a text for each.

    `tests` is {arm: accuracies indexed by seed}. A text has the difference, its interval, the verdict and the runs.
    """
    gains = [compare(tests[arm], tests[against], paired=False) for arm, against in pairs]
    verdicts = [verdict for _, _, verdict in judge_family(gains)]
    halves = ["" if math.isnan(gain.half) else f" ± {gain.half:.2f}" for gain in gains]
    texts = [
        f"{gain.mean:+.2f}{half} ({verdict}, n={gain.n} and {gain.n_against})"
        for gain, half, verdict in zip(gains, halves, verdicts)
    ]
    return verdicts, texts


# --- padding: values outside the image ----------------------------------------------------------

# settings of `grid.padding_specs` -> names
PADDINGS = {"zeros": "zeros (grey)", "border": "border", -1.0: "fill value -1 (black)"}
OPTIMIZERS = {"adam": "Adam", "sgd": "SGD"}


def padding_runs():
    """The runs of `grid.padding_specs`, a row each, with the columns padding, optimizer, seed, test and side.

    `test` is the test accuracy in percent. `side` is the side of the region that the mean map reads, in percent of the
    image's side.
    """
    rows = []
    for spec in grid.padding_specs():
        if record := find(spec):
            test, side = selected_result(record)["test"], 100 * _mean_side([record])
            rows.append([spec.protocol.padding, spec.protocol.optimizer, spec.seed, test, side])
    return pd.DataFrame(rows, columns=["padding", "optimizer", "seed", "test", "side"])


def padding_table():
    """A table with a row for each padding: test error and `side` of `padding_runs`, in percent, for each optimizer."""
    runs, rows = padding_runs(), {}
    for padding, name in PADDINGS.items():
        for optimizer, title in OPTIMIZERS.items():
            mine = runs[(runs["padding"] == padding) & (runs["optimizer"] == optimizer)]
            row = rows.setdefault(name, {})
            row["Error (%)", title] = mean_text(100 - mine["test"])
            row["Side read (%)", title] = f"{mine['side'].mean():.0f}" if len(mine) else MISSING
    return pd.DataFrame(rows).T.sort_index(axis=1)


def padding_verdict():
    """Whether the accuracy with another padding differs from that with zeros, as Markdown; see `_judge_pairs`."""
    runs = padding_runs().set_index("seed")
    tests = dict(iter(runs.groupby(["optimizer", "padding"])["test"]))
    arms = [
        (o, p) for o in OPTIMIZERS for p in PADDINGS if p != "zeros" and {(o, p), (o, "zeros")} <= set(tests)
    ]
    if not arms:
        return f"**Open.** {MISSING.capitalize()}."
    verdicts, texts = _judge_pairs(tests, [(arm, (arm[0], "zeros")) for arm in arms])
    judged = len(verdicts) - count_verdicts(verdicts, FEW)
    differ, equal = count_verdicts(verdicts, BETTER, WORSE), count_verdicts(verdicts, EQUAL)
    lead = (
        f"{differ} of {judged} comparisons with zeros show a difference, and {equal} show that the two are equal "
        "within 1 point"
    )
    if not judged:
        lead = f"Open: a verdict needs {FEWEST_RUNS} runs of each padding"
    parts = [f"{PADDINGS[p]} with {OPTIMIZERS[o]} {text}" for (o, p), text in zip(arms, texts)]
    return f"**{lead}.** In points of test accuracy against zeros: {', '.join(parts)}."


# --- what theta does ----------------------------------------------------------------------------


def theta_in_words(dataset, system):
    """For each variant that has runs, whether theta depends on the image in their last epochs, as a Markdown list."""
    ours, lines = small_systems.system_runs(dataset, system), []
    for variant in (v for v in HEADINGS if v != ORIGINAL and not v.endswith(RELEASED)):
        mine = ours[(ours["variant"] == variant) & ours["spread"].notna()]
        if not len(mine):
            continue
        low, high = mine["spread"].min(), mine["spread"].max()
        between = f"{low:.2f}" if len(mine) == 1 else f"{low:.2f} to {high:.2f}"
        kind = "depends on the image" if low > STILL_PIXELS else "is nearly the same for all images"
        if low <= STILL_PIXELS < high:
            kind = "depends on the image in some runs only"
        lines.append(
            f"- {HEADINGS[variant]}: theta {kind}. The corners of the region that it reads move by {between} pixels "
            f"from image to image (median; n={len(mine)}).{_zoom_in_words(mine)}"
        )
    return "\n".join(lines)


def _zoom_in_words(mine):
    """The size of the region that the mean map of these runs reads, in words; "" if the map is not affine."""
    if len(mine["record"].iloc[0]["epochs"][-1]["theta"]["mean"]) != 6:
        return ""
    return f" On average, the sides of the region are {_mean_side(mine['record']):.0%} of the image's."


def _mean_side(records):
    """The side of the region that the mean affine map of these records reads, as a share of the image's."""
    means = [record["epochs"][-1]["theta"]["mean"] for record in records]
    a, b, _, c, d, _ = np.mean(means, axis=0)
    return math.sqrt(abs(a * d - b * c))


# --- time ---------------------------------------------------------------------------------------


def step_times_in_words():
    """How much longer a training step takes with a transformer than without, from `benchmarks.digit_steps`."""
    path = BENCHMARKS / "digits/cpu.json"
    if not path.exists():
        return f"{MISSING.capitalize()}."
    found = json.loads(path.read_text(encoding="utf-8"))
    low, middle, high = found["ratio"]
    alone, with_it = (found["seconds"][name] * found["steps_an_epoch"] for name in ("original", "stn"))
    return (
        "The example's README says that an epoch takes 11 to 12 seconds with and without the transformer. On one core "
        f"of {found['machine']['name']}, an epoch's steps take {alone:.0f} seconds of processor time without and "
        f"{with_it:.0f} with it: {middle:.2f} times as long (quartiles {low:.2f} to {high:.2f} over "
        f"{found['rounds']} rounds)."
    )
