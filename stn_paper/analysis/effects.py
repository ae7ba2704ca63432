"""What a transformer changes in our runs: differences between runs of the same seed, and what they show.

The verdicts of Tables 6 and 8, of the claims, of the experiment and of the first page all come from here.
"""

import math

import pandas as pd

from ..data.datasets import DATASETS
from ..models import HEADINGS, ORIGINAL, RELEASED
from ..models.backbones import title
from ..training.spec import OTHER_SEEDS, PROTOCOLS, preset
from . import frame, statistics

APPLIED = ("stn", "vstn", "lstn")
ARMS = (ORIGINAL, *APPLIED, *(v + RELEASED for v in APPLIED))
SAME, FEW, NONE = "the same in every digit", "too few pairs", "no difference shown"
BETTER, WORSE = "better", "worse"
NO_MORE = "by no more than other seeds alone"  # what is added where the noise is as large
LEARNED = 0.8  # of guessing's loss; see `hardly_learned`


def differences(dataset, backbone, protocol, column="test", against=ORIGINAL):
    """Accuracy of each arm minus that of `against` with the same seed, in points: {arm: Series by seed}.

    Arms are names of variants, and against the original "original" is the original with other seeds. Only
    pairs that were run.
    """
    ours = frame.runs(dataset, protocol, backbone)
    cells = ours.pivot_table(index="seed", columns="variant", values=column)
    if against not in cells:
        return {}
    pairs = cells[cells.index < OTHER_SEEDS]
    arms = {arm: pairs[arm] for arm in ARMS[1:] if arm in cells and arm != against}
    if against == ORIGINAL:
        other = cells[ORIGINAL][cells.index >= OTHER_SEEDS]
        arms = {ORIGINAL: other.set_axis(other.index - OTHER_SEEDS), **arms}
    found = {arm: (values - pairs[against]).dropna() for arm, values in arms.items()}
    return {arm: values for arm, values in found.items() if len(values)}


def judge(values):
    """What paired differences show, in plain words: better or worse where Student's 95 % interval leaves out zero."""
    if len(values) < statistics.FEWEST:
        return FEW  # equal ones too: two unlike networks can have the same number of images right
    if (values == 0).all():
        return SAME
    half, mean = statistics.interval(values), values.mean()
    if mean - half > 0:
        return BETTER
    return WORSE if mean + half < 0 else NONE


def beside_noise(found, arm, shown):
    """What `judge` says of an arm of `differences`, and whether other seeds alone move the mean as far."""
    as_far = arm != ORIGINAL and ORIGINAL in found and abs(found[ORIGINAL].mean()) >= abs(found[arm].mean())
    return f"{shown}, yet {NO_MORE}" if shown in (BETTER, WORSE) and as_far else shown


def gains(dataset, protocol, against=ORIGINAL):
    """`differences` of all networks: a row a network and arm, in points of test accuracy.

    Columns: backbone, variant, mean, half (of Student's 95 % interval, NaN for one seed), seeds, shown. Left
    out are networks of which a run of either side has hardly learned: a mean over runs that learned and runs
    that did not says nothing of either (see `hardly_learned`).
    """
    slow, rows = hardly_learned(dataset, protocol), []
    for backbone in frame.ordered(frame.runs(dataset, protocol)["backbone"]):
        found = differences(dataset, backbone, protocol, against=against)
        for arm, values in found.items():
            if arm != ORIGINAL and not {(backbone, arm), (backbone, against)} & slow.keys():
                shown = beside_noise(found, arm, judge(values))
                rows.append([backbone, arm, values.mean(), statistics.interval(values), len(values), shown])
    return pd.DataFrame(rows, columns=["backbone", "variant", "mean", "half", "seeds", "shown"])


def hardly_learned(dataset, protocol):
    """Networks of which a run ends near guessing: {(backbone, variant): (such runs, all runs, highest loss)}.

    Guessing gives a loss of the logarithm of the number of classes, in nats. Where the last training loss is
    above LEARNED of it, the network has not begun to learn, or has lost again what it had learned.
    """
    ours, found = frame.runs(dataset, protocol), {}
    for key, mine in ours.groupby(["backbone", "variant"]):
        last = [record["epochs"][-1]["train_loss"] for record in mine["record"]]
        slow = [loss for loss in last if loss > LEARNED * guessing(dataset)]
        if slow:
            found[key] = len(slow), len(last), max(slow)
    return found


def guessing(dataset):
    """The loss of guessing among a dataset's classes, in nats."""
    return math.log(DATASETS[dataset].num_classes)


def in_words(dataset, protocol, variant, against=ORIGINAL):
    """The `gains` of one variant over another, network by network, and which are not compared."""
    found, slow = gains(dataset, protocol, against), hardly_learned(dataset, protocol)
    left_out = []
    for backbone in frame.ordered(backbone for backbone, _ in slow):
        if arm := next((arm for arm in (against, variant) if (backbone, arm) in slow), None):
            runs, of, _ = slow[backbone, arm]
            where = "alone" if arm == ORIGINAL else f"with {HEADINGS[arm]}"
            left_out.append(f"{title(backbone)} ({where}, {runs} of {of} runs hardly learned)")
    parts = [listed(found[found["variant"] == variant])]
    parts += [f"not compared: {' and '.join(left_out)}"] * bool(left_out)
    versus = "the network alone" if against == ORIGINAL else HEADINGS[against]
    return f"{HEADINGS[variant]} against {versus}: {'; '.join(filter(None, parts)) or statistics.MISSING}"


def listed(found):
    """Rows of `gains` as text: in points, with half of the 95 % interval, and whether it is a difference."""
    texts = []
    for row in found.itertuples():
        half = "" if pd.isna(row.half) else f" ± {row.half:.2f}"
        shown = f", {row.shown}" if row.shown.startswith((BETTER, WORSE)) else ""
        texts.append(f"{title(row.backbone)} {row.mean:+.2f}{half} (n={row.seeds}{shown})")
    return ", ".join(texts)


def verdict(dataset, protocol):
    """What our runs say of the transformers, in plain sentences computed from the records."""
    if protocol == "smoke":
        return "Everything runs. Nothing follows from a smoke run's accuracies."
    ours = frame.runs(dataset, protocol)
    if ours.empty:
        return f"At the protocol `{protocol}`: {statistics.MISSING}."
    if set(ours["variant"]) == {ORIGINAL}:
        return _plain_verdict(ours, protocol)
    slow = hardly_learned(dataset, protocol)
    heading = (
        f"Test accuracy, the epoch chosen by `{preset(protocol, dataset, ORIGINAL).selection}`, against the "
        f"original network with the same seeds, protocol `{protocol}` ({PROTOCOLS[protocol]}):"
    )
    found = gains(dataset, protocol)
    sentences = [f"{_named(row.backbone, row.variant)}: {_told(row)}" for row in found.itertuples()]
    sentences += [
        f"{_named(*network)} has hardly learned: in {runs} of {of} runs the training loss ends above "
        f"{100 * LEARNED:.0f} % of guessing's {guessing(dataset):.2f}, at {loss:.2f} at most. Its accuracies "
        "are not compared."
        for network, (runs, of, loss) in slow.items()
        if network[1] == ORIGINAL or (network[0], ORIGINAL) not in slow
    ]
    return "\n".join([heading, "", *(f"- {s}" for s in sentences)])


def _named(backbone, variant):
    return title(backbone) if variant == ORIGINAL else f"{title(backbone)} with {HEADINGS[variant]}"


def _told(row):
    """A row of `gains` in words."""
    if row.shown == SAME:
        return f"{SAME} ({row.seeds} seeds)"
    if pd.isna(row.half):
        return f"{row.mean:+.2f} points (one seed, so no interval)"
    low, high = row.mean - row.half, row.mean + row.half
    return f"{row.mean:+.2f} points (95 % interval {low:+.2f} to {high:+.2f}, {row.seeds} seeds): {row.shown}"


def _plain_verdict(ours, protocol):
    """Which of the networks without a transformer does best, in one sentence."""
    means = ours.groupby("backbone")["test"].mean().sort_values(ascending=False)
    texts = [f"{title(b)} {statistics.mean_text(ours[ours['backbone'] == b]['test'])}" for b in means.index]
    heading = f"Test accuracy in percent of the networks alone, protocol `{protocol}`, best first"
    return f"{heading}: {', '.join(texts)}."
