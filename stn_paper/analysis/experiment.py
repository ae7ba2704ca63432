"""Does the transformer cause the gain? Four arms under one budget, and what else moves an accuracy.

The arms share budget, batch size, seeds and split: the network alone (`original`), behind a transformer that
is *applied*, behind one whose output is thrown away *as released*, and alone again with *other seeds*, which
shows the noise. The notebooks `experiment` and `strength` show what is computed here from the records.
"""

from collections import Counter

import numpy as np
import pandas as pd

from ..data.datasets import DATASETS
from ..errors import whole
from ..models import HEADINGS, ORIGINAL, RELEASED
from ..models.backbones import title
from ..training import records
from ..training.examples import STRENGTHS
from ..training.spec import BEST_OF_FIVE, BEST_VALIDATION, OTHER_SEEDS, RunSpec
from . import authors_runs, frame, statistics
from .effects import (
    APPLIED,
    ARMS,
    BETTER,
    FEW,
    NO_MORE,
    NONE,
    SAME,
    WORSE,
    beside_noise,
    differences,
    judge,
)

STUDIES = (  # dataset, backbone, protocol of what two processor cores can train
    ("mnist-rts", "mnist-cnn", "system"),
    ("gtsrb", "mnist-cnn", "system"),
    ("caltech101", "resnet18", "reduced"),
    ("cifar10", "resnet18", "reduced"),
)
LARGER = (  # and of a GPU, at the paper's sizes: shown as soon as there are records
    ("caltech101", "resnet50", "equal"),
    ("caltech101", "effb0", "equal"),
    ("cifar10", "resnet18", "equal"),
    ("cifar10", "effb0", "equal"),
)


PUBLISHED = "published"  # a notebook's parameter `backbone`: show what is recorded, train nothing


def specs(dataset, backbone, protocol, seeds):
    """The runs of all arms with seeds 0 to `seeds` - 1, at most 5; InputError for another number."""
    whole("Number of seeds", seeds, most=OTHER_SEEDS)
    pairs = [(v, s) for s in range(seeds) for v in ARMS] + [(ORIGINAL, s + OTHER_SEEDS) for s in range(seeds)]
    return [RunSpec(dataset, backbone, v, protocol, s) for v, s in pairs]


def studies(asked=None, backbone=PUBLISHED):
    """STUDIES and those of LARGER that have a record; for a backbone those that `asked`, a Request, is of."""
    if backbone != PUBLISHED:
        return [(asked.dataset, backbone, protocol) for protocol in asked.protocols]
    return [*STUDIES, *(s for s in LARGER if len(runs(*s)))]


def name(dataset, backbone, protocol):
    """How a page calls a study."""
    return f"{title(backbone)} on {DATASETS[dataset].title}, `{protocol}`"


def runs(dataset, backbone, protocol):
    """The rows of `frame.runs` of one backbone."""
    return frame.runs(dataset, protocol, backbone)


def same_seeds(dataset, backbone, protocol):
    """The runs of the seeds that all arms share, without the original's other ones."""
    found = runs(dataset, backbone, protocol)
    return found[found["seed"] < OTHER_SEEDS]


def drawn_variants(found):
    """The original and the applied variants, those that there are in `found`."""
    return [v for v in (ORIGINAL, *APPLIED) if v in set(found["variant"])]


# --- the four arms ------------------------------------------------------------------------------


def effects(dataset, backbone, protocol):
    """The arms against the original with the same seeds: a row an arm, in points of test accuracy."""
    found = differences(dataset, backbone, protocol)
    view = compared({arm_title(arm): values for arm, values in found.items()})
    if found:
        view["Verdict"] = [beside_noise(found, *row) for row in zip(found, view["Verdict"])]
    return view


def compared(pairs):
    """Paired differences {what: Series in points} as a table: means, intervals and what they show."""
    rows = {}
    for what, values in pairs.items():
        mean, half = values.mean(), statistics.interval(values)
        interval = "–" if half is None else _between(mean - half, mean + half)
        rows[what] = [f"{mean:+.2f}", interval, len(values), judge(values)]
    return _table(rows, ["Difference", "95 % interval", "Pairs", "Verdict"])


def _between(low, high):
    return f"{low:+.2f} to {high:+.2f}"


def _table(rows, columns):
    """Rows {name: cells} as a table, or one row that says that there are none."""
    rows = rows or {"": [statistics.MISSING] + [""] * (len(columns) - 1)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def stacked(view, chosen):
    """A view, of (dataset, backbone, protocol), of each study, one below the other."""
    return pd.concat({name(*study).replace("`", ""): view(*study) for study in chosen})


def arm_title(arm):
    return frame.OTHERS if arm == ORIGINAL else HEADINGS[arm]


def verdict(chosen):
    """What the arms show in each study, as Markdown."""
    lines = []
    for study in chosen:
        found = differences(*study)
        parts = [
            f"{arm_title(arm)}: {values.mean():+.2f}, {beside_noise(found, arm, judge(values))} "
            f"(n={len(values)})"
            for arm, values in found.items()
        ]
        told = f"{'; '.join(parts) or statistics.MISSING.capitalize()}.{_unlike(*study)}"
        lines.append(_told(study, told))
    return "\n".join(lines)


def _told(study, text):
    """A study's line in a verdict, with what is known of its images where they are not the official files."""
    return " ".join([f"- **{name(*study)}.**", text, *frame.copies(runs(*study)["record"])])


def _unlike(dataset, backbone, protocol):
    """What sets records as released apart from the original's, where they are not the same in every digit."""
    records = runs(dataset, backbone, protocol).set_index(["variant", "seed"])["record"]
    apart = []
    for (variant, seed), record in records.items():
        alone = records.get((ORIGINAL, seed))
        if alone and variant.endswith(RELEASED) and _tests(alone) != _tests(record):
            here, there = record["environment"], alone["environment"]
            apart.append({k for k in here.keys() & there.keys() if here[k] != there[k]})
    if not apart:
        return ""
    fields = set().union(*apart)
    told = f"another {', '.join(sorted(fields))}" if fields else "the same environment, which is an error"
    return (
        f" A thrown output changes no digit under one code on one machine; here the original's are of {told}."
    )


def _tests(record):
    """All that the run's test images said: an accuracy an epoch, or the answers of the one test."""
    return [epoch.get("test_accuracy") for epoch in record["epochs"]], record.get("test")


def with_test_curves(found):
    """Those of the runs that have a test accuracy after each epoch."""
    return found[found["record"].map(lambda record: "test_accuracy" in record["epochs"][0]).astype(bool)]


def summary():
    """How often an applied transformer is better than the network alone, over all studies, in words."""
    found = [differences(*study) for study in studies()]
    judged = [(one, v, judge(one[v])) for one in found for v in APPLIED if v in one]
    applied = Counter(shown for *_, shown in judged)
    small = sum(NO_MORE in beside_noise(*case) for case in judged)
    thrown = [(values == 0).all() for one in found for arm, values in one.items() if arm.endswith(RELEASED)]
    if not applied:
        return f"{statistics.MISSING.capitalize()}."
    return (
        f"In {applied.total()} pairs of a network and a variant, under one budget with the same seeds, the "
        f"applied transformer is better in {applied[BETTER]}, worse in {applied[WORSE]}, shows no difference "
        f"in {applied[NONE] + applied[SAME]} and has too few seeds in {applied[FEW]}. "
        + (f"In {small} of these it is better or worse {NO_MORE}. " if small else "")
        + (
            f"Thrown away as released, it leaves the same accuracy in every digit in {sum(thrown)} of "
            f"{len(thrown)}."
            if thrown
            else f"Thrown away as released: {statistics.MISSING}."
        )
    )


# --- how much is budget and selection -----------------------------------------------------------


def at_budget(record, epochs, rule=BEST_VALIDATION):
    """Test accuracy in percent that a selection rule reports of a run had it ended after so many epochs.

    As nothing is scheduled, a shorter run is the beginning of a longer one.
    """
    return records.select(record["epochs"][:epochs])[rule]["test"]


def shares(dataset, backbone, protocol):
    """A variant's gain in the comparison that is worst for the original, and its three parts, in points.

    A row a variant. The gain is of a variant chosen by `best-of-five` over an original chosen by
    `best-validation` with the shorter budget that the original had as released. It is the sum of what
    selection adds to the variant, of what the missing epochs take from the original, and of the difference
    under one budget and one rule. With two pairs or more, each with half of its 95 % interval.
    """
    ours, rows = with_test_curves(runs(dataset, backbone, protocol)), {}
    alone = ours[ours["variant"] == ORIGINAL].set_index("seed")["record"]
    for variant in APPLIED:
        mine = ours[ours["variant"] == variant].set_index("seed")["record"]
        seeds = sorted(set(mine.index) & set(alone.index))
        parts = []
        for seed in seeds:
            budget = len(alone[seed]["epochs"])
            shorter = max(1, round(budget * authors_runs.budget_share(dataset, variant)))
            with_it, full = at_budget(mine[seed], budget), at_budget(alone[seed], budget)
            chosen = at_budget(mine[seed], budget, BEST_OF_FIVE)
            parts.append([chosen - with_it, full - at_budget(alone[seed], shorter), with_it - full])
        if parts:
            each = np.sum(parts, axis=1), *np.transpose(parts)
            cells = [statistics.mean_text(values, "", "+") for values in each]
            rows[HEADINGS[variant]] = [*cells, f"{budget} against {shorter}", len(seeds)]
    columns = ["At worst for the original", "by selection", "by budget", "under one rule and budget"]
    return _table(rows, [*columns, "Epochs", "Pairs"])


def all_shares(chosen):
    """The `shares` of each study, one below the other."""
    return stacked(shares, chosen)


# --- where a transformer helps ------------------------------------------------------------------


STRENGTH_STUDIES = (*STUDIES[:2], ("digits", "mnist-cnn", "system"))  # whose records hold it
AS_THEY_COME = (0, 1)  # strengths that leave an image as it is: no shift or rotation, its own scale
UNITS = {"rotation": "rotation (degrees)", "scale": "scale (ratio)", "shift": "shift (image sides)"}


def strengths(dataset, backbone, protocol):
    """Accuracy in percent against the strength of distortions at test time; a row a run, strength and kind.

    Columns: variant, seed, distortion, strength, accuracy. Only records of the arms' seeds that hold it.
    """
    rows = []
    for run in same_seeds(dataset, backbone, protocol).itertuples():
        kept = run.record.get("probes", {}).get("strength", {})
        for distortion, values in kept.items():
            rows += [[run.variant, run.seed, distortion, s, v] for s, v in zip(STRENGTHS[distortion], values)]
    return pd.DataFrame(rows, columns=["variant", "seed", "distortion", "strength", "accuracy"])


def strength_verdict(chosen=STRENGTH_STUDIES):
    """Each variant against the original, distortion by distortion, without the images as they come.

    Markdown: the mean over the strengths and, unless all of them show the same, where it is better or worse.
    """
    lines = []
    for study in chosen:
        found = strengths(*study)
        found = found[~found["strength"].isin(AS_THEY_COME)]
        parts = []
        for distortion in UNITS if ORIGINAL in set(found["variant"]) else ():
            mine = found[found["distortion"] == distortion]
            cells = mine.pivot_table(index="seed", columns=["variant", "strength"], values="accuracy")
            gains = {v: (cells[v] - cells[ORIGINAL]).dropna() for v in APPLIED if v in cells}
            parts.append(f"{distortion}: {', '.join(_gain(v, gain) for v, gain in gains.items())}")
        lines.append(_told(study, f"{'; '.join(parts) or statistics.MISSING.capitalize()}."))
    return "\n".join(lines)


def _gain(variant, gains):
    """The gains in points, a row a seed and a column a strength, in words."""
    mean, at = gains.mean(axis=1), {}
    for strength, values in gains.items():
        at.setdefault(judge(values), []).append(f"{strength:g}")
    where = [f"{shown} at {_listed(at[shown])}" for shown in (BETTER, WORSE) if len(at) > 1 and shown in at]
    told = "; ".join([f"{judge(mean)}, n={len(mean)}", *where])
    return f"{HEADINGS[variant]} {mean.mean():+.2f} ({told})"


def _listed(texts):
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


# --- at a glance --------------------------------------------------------------------------------


def gain(study, variant="lstn"):
    """Test accuracy of a variant against the original in a study, in points, with its verdict, as text."""
    found = differences(*study)
    if variant not in found:
        return statistics.MISSING
    values = found[variant]
    return f"{values.mean():+.2f} points ({beside_noise(found, variant, judge(values))}, n={len(values)})"
