"""Does the transformer cause the gain? Arms under one budget, and what else moves an accuracy.

The arms share budget, batch size, seeds and split: the network alone (`original`), behind a transformer that
is *applied*, behind one that is *bypassed*, whose output is discarded as in most of the released notebooks,
behind a *constant map*, six learned numbers without a localization net, and alone again with other seeds, the
*seed control*. `effects` compares them; here is which studies there
are, how much of a gain is budget and selection, and how accuracy falls with the strength of a distortion.
"""

import pandas as pd

from ..data.datasets import DATASETS
from ..errors import check_whole_number
from ..models import CONSTANT, ORIGINAL, RELEASED
from ..models.backbones import title
from ..training import records
from ..training.examples import STRENGTHS
from ..training.spec import BEST_OF_FIVE, BEST_VALIDATION, OTHER_SEEDS, RunSpec
from . import authors_runs, effects, frame, statistics
from .effects import APPLIED, ARMS

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


def study_specs(dataset, backbone, protocol, seeds):
    """The runs of all arms with seeds 0 to `seeds` - 1, at most 5; InputError for another number."""
    check_whole_number("Number of seeds", seeds, most=OTHER_SEEDS)
    pairs = [(v, s) for s in range(seeds) for v in (*ARMS, CONSTANT)]
    pairs += [(ORIGINAL, s + OTHER_SEEDS) for s in range(seeds)]
    return [RunSpec(dataset, backbone, v, protocol, s) for v, s in pairs]


def shown_studies(asked=None, backbone=PUBLISHED):
    """STUDIES and those of LARGER with a record; with `backbone` given, the studies that the Request `asked` names."""
    if asked is not None and backbone != PUBLISHED:
        return [(asked.dataset, backbone, protocol) for protocol in asked.protocols]
    return [*STUDIES, *(s for s in LARGER if len(study_runs(*s)))]


SIZES = {"system": "", "reduced": ", few images of 64 pixels", "equal": ", the paper's image size"}


def study_title(dataset, backbone, protocol):
    """How a page calls a study: network, dataset, and what size of images its protocol has."""
    return f"{title(backbone)} on {DATASETS[dataset].title}{SIZES.get(protocol, f', `{protocol}`')}"


def study_runs(dataset, backbone, protocol):
    """The rows of `frame.runs` of one backbone."""
    return frame.runs(dataset, protocol, backbone)


def shared_seed_runs(dataset, backbone, protocol):
    """The runs of the seeds that all arms share, without the original's other ones."""
    found = study_runs(dataset, backbone, protocol)
    return found[found["seed"] < OTHER_SEEDS]


def drawn_variants(found):
    """The original and the applied variants that `found` holds."""
    return [v for v in (ORIGINAL, *APPLIED) if v in set(found["variant"])]


# --- the arms -----------------------------------------------------------------------------------


def comparisons_by_study(chosen):
    """`effects.comparisons` of each of these studies: {study: frame}."""
    return {study: effects.compare_arms(study_runs(*study)) for study in chosen}


def seed_pairing(chosen):
    """Whether seeds pair, a row a study that has runs: seeds, correlation of the arms over them, p, paired.

    `p` is that of "the seed has no effect", see `statistics.seed_effect`.
    """
    rows = []
    for study in chosen:
        cells = effects.accuracies_by_seed(study_runs(*study))
        if len(cells):
            row = {"study": study, "seeds": len(cells.dropna()), "correlation": statistics.correlation(cells)}
            rows.append(
                row | {"p": statistics.seed_effect(cells), "paired": bool(statistics.seeds_pair(cells))}
            )
    return pd.DataFrame(rows, columns=["study", "seeds", "correlation", "p", "paired"])


def untrained_arms(chosen):
    """The arms without a recorded run: {variant: studies}, of the original, the applied and the constant map."""
    recorded = {study: set(study_runs(*study)["variant"]) for study in chosen}
    arms = (ORIGINAL, *APPLIED, CONSTANT)
    missing = {arm: [study for study, variants in recorded.items() if arm not in variants] for arm in arms}
    return {arm: studies for arm, studies in missing.items() if studies}


def environment_differences(dataset, backbone, protocol):
    """Why bypassed transformers differ from the original in some digit: a list, a set of names a run.

    A set holds the fields of the environment that are not the same; it is empty where all are, which is an
    error. Under one code on one machine the list is empty, as a bypassed transformer changes no digit.
    """
    stored = study_runs(dataset, backbone, protocol).set_index(["variant", "seed"])["record"]
    apart = []
    for (variant, seed), record in stored.items():
        alone = stored.get((ORIGINAL, seed))
        if alone and variant.endswith(RELEASED) and _test_results(alone) != _test_results(record):
            here, there = record["environment"], alone["environment"]
            apart.append({k for k in here.keys() & there.keys() if here[k] != there[k]})
    return apart


def count_mixed_pairs(dataset, backbone, protocol):
    """Counts of the study's pairs: all, those of two commits, those of two devices.

    A pair is a run of an applied transformer and the original's run of the same seed.
    """
    stored = study_runs(dataset, backbone, protocol).set_index(["variant", "seed"])["record"]
    both = [
        (record["environment"], stored[ORIGINAL, seed]["environment"])
        for (variant, seed), record in stored.items()
        if variant in APPLIED and (ORIGINAL, seed) in stored
    ]
    return len(both), *(sum(one[name] != other[name] for one, other in both) for name in ("commit", "device"))


def _test_results(record):
    """All that the run's test images said: an accuracy an epoch, or the answers of the one test."""
    return [epoch.get("test_accuracy") for epoch in record["epochs"]], record.get("test")


def with_test_curves(found):
    """The runs of `found` that have a test accuracy after each epoch."""
    return found[found["record"].map(lambda record: "test_accuracy" in record["epochs"][0]).astype(bool)]


# --- how much is budget and selection -----------------------------------------------------------


def accuracy_at_budget(record, epochs, rule=BEST_VALIDATION):
    """Test accuracy in percent that a selection rule reports of a run had it ended after so many epochs.

    As nothing is scheduled, a shorter run is the beginning of a longer one.
    """
    return records.select_by_test(record["epochs"][:epochs])[rule]["test"]


GAIN_PARTS = (
    "worst",
    "selection",
    "budget",
    "rest",
)  # of `gain_parts`: a gain and the three parts that add up to it


def gain_parts(dataset, backbone, protocol):
    """A variant's gain in the comparison that is worst for the original, and its three parts, in points.

    A row a variant and a pair of seeds: variant, seed, PARTS, epochs, shorter. `worst` is the gain of a
    variant chosen by `best-of-five` over an original chosen by `best-validation` with the shorter budget that
    the original had as released. It is the sum of what `selection` adds to the variant, of what the missing
    epochs (`budget`) take from the original, and of the difference under one budget and one rule (`rest`).
    """
    ours, rows = with_test_curves(study_runs(dataset, backbone, protocol)), []
    alone = ours[ours["variant"] == ORIGINAL].set_index("seed")["record"]
    for variant in APPLIED:
        mine = ours[ours["variant"] == variant].set_index("seed")["record"]
        for seed in sorted(set(mine.index) & set(alone.index)):
            epochs = len(alone[seed]["epochs"])
            shorter = max(1, round(epochs * authors_runs.budget_share(dataset, variant)))
            with_it, full = accuracy_at_budget(mine[seed], epochs), accuracy_at_budget(alone[seed], epochs)
            chosen = accuracy_at_budget(mine[seed], epochs, BEST_OF_FIVE)
            parts = chosen - with_it, full - accuracy_at_budget(alone[seed], shorter), with_it - full
            rows.append([variant, seed, sum(parts), *parts, epochs, shorter])
    return pd.DataFrame(rows, columns=["variant", "seed", *GAIN_PARTS, "epochs", "shorter"])


# --- where a transformer helps ------------------------------------------------------------------


STRENGTH_STUDIES = (*STUDIES[:2], ("digits", "mnist-cnn", "system"))  # whose records hold it
AS_THEY_COME = (0, 1)  # strengths that leave an image as it is: no shift or rotation, its own scale
UNITS = {"rotation": "rotation (degrees)", "scale": "scale (ratio)", "shift": "shift (image sides)"}


def strength_accuracies(dataset, backbone, protocol):
    """Accuracy in percent against the strength of distortions at test time; a row a run, strength and kind.

    Columns: variant, seed, distortion, strength, accuracy. Only records of the arms' seeds that hold it.
    """
    rows = []
    for run in shared_seed_runs(dataset, backbone, protocol).itertuples():
        kept = run.record.get("probes", {}).get("strength", {})
        for distortion, values in kept.items():
            rows += [[run.variant, run.seed, distortion, s, v] for s, v in zip(STRENGTHS[distortion], values)]
    return pd.DataFrame(rows, columns=["variant", "seed", "distortion", "strength", "accuracy"])


def strength_comparisons(dataset, backbone, protocol):
    """`effects.compare_arms` of a run's mean accuracy over the strengths of a distortion, a distortion at a time.

    Images as they come are left out. Column `distortion` is added.
    """
    kept = strength_accuracies(dataset, backbone, protocol)
    kept = kept[~kept["strength"].isin(AS_THEY_COME)]
    views = []
    for distortion in UNITS:
        mine = kept[kept["distortion"] == distortion]
        means = mine.groupby(["variant", "seed"], as_index=False)["accuracy"].mean()
        view = effects.compare_arms(means.assign(collapsed=False, failed=False), "accuracy")
        views.append(view.assign(distortion=distortion))
    known = [view for view in views if len(view)]
    return (
        pd.concat(known, ignore_index=True)
        if known
        else pd.DataFrame(columns=[*effects.COMPARISON_COLUMNS, "distortion"])
    )
