"""The experiment: does the transformer cause the gain, or do budget and selection?

All arms of a study share budget, batch size, seeds and split. The arms are the network alone (`original`); the network
behind an *applied* transformer; behind a *bypassed* transformer, whose output is discarded as in most of the released
notebooks; behind a *constant map*, six learned numbers without a localization net; and the network alone with other
seeds, the *seed control*. `effects` compares the arms. This module lists the studies, divides a gain into its parts,
and computes how accuracy falls with the strength of a distortion.
"""

import pandas as pd

from ..data.datasets import DATASETS
from ..errors import check_whole_number
from ..models import CONSTANT, ORIGINAL, RELEASED
from ..models.backbones import title
from ..training import records
from ..training.examples import STRENGTHS
from ..training.protocol import BEST_OF_FIVE, BEST_VALIDATION, OTHER_SEEDS
from ..training.spec import RunSpec
from . import author_runs, effects, frame, statistics
from .effects import APPLIED, ARMS, BYPASSED

STUDIES = (  # (dataset, backbone, protocol); two processor cores can train these studies
    ("mnist-rts", "mnist-cnn-400k", "system"),
    ("gtsrb", "mnist-cnn", "system"),
    ("caltech101", "resnet18", "reduced"),
    ("cifar10", "resnet18", "reduced"),
)
LARGER = (  # studies for a GPU, at the paper's image sizes; a page shows those that have records
    ("caltech101", "resnet50", "equal"),
    ("caltech101", "effb0", "equal"),
    ("cifar10", "resnet18", "equal"),
    ("cifar10", "effb0", "equal"),
)


COMPARED = {v for pairs in effects.FAMILIES.values() for pair in pairs for v in pair} - {ORIGINAL, *BYPASSED}
PUBLISHED = "published"  # a value of a notebook's parameter `backbone`: show the recorded runs, train nothing


def study_specs(dataset, backbone, protocol, seeds):
    """The RunSpecs of all arms of a study with seeds 0 to `seeds` - 1; InputError unless `seeds` is 1 to 5."""
    check_whole_number("Number of seeds", seeds, most=OTHER_SEEDS)
    pairs = [(v, s) for s in range(seeds) for v in (*ARMS, CONSTANT)]
    pairs += [(ORIGINAL, s + OTHER_SEEDS) for s in range(seeds)]
    return [RunSpec(dataset, backbone, v, protocol, s) for v, s in pairs]


def shown_studies(request=None, backbone=PUBLISHED):
    """The CPU studies, and every GPU study with at least one record.

    With a `backbone`, the studies of the notebook's parameters; `request` is their Request.
    """
    if request is not None and backbone != PUBLISHED:
        return [(request.dataset, backbone, protocol) for protocol in request.protocols]
    return [*STUDIES, *(s for s in LARGER if len(study_runs(*s)))]


# protocol -> suffix of a study's title
SIZES = {"system": "", "reduced": ", few images, 64 pixels", "equal": ", the paper's image size"}


def study_title(dataset, backbone, protocol):
    """The title of a study on a page: network, dataset, and the image size of its protocol."""
    return f"{title(backbone)} on {DATASETS[dataset].title}{SIZES.get(protocol, f', `{protocol}`')}"


def study_runs(dataset, backbone, protocol):
    """The runs of a study: the rows of `frame.runs` of its backbone."""
    return frame.runs(dataset, protocol, backbone)


def shared_seed_runs(dataset, backbone, protocol):
    """The runs of a study without the seed control: only the seeds that all arms share."""
    found = study_runs(dataset, backbone, protocol)
    return found[found["seed"] < OTHER_SEEDS]


def drawn_variants(found):
    """Names of the original and the applied variants that have a run in `found`."""
    return [v for v in (ORIGINAL, *APPLIED) if v in set(found["variant"])]


# --- the arms -----------------------------------------------------------------------------------


def comparisons_by_study(chosen):
    """The comparisons of each study, as `effects.compare_arms` makes them: {study: frame}."""
    return {study: effects.comparisons(*study) for study in chosen}


def seed_pairing(chosen):
    """Whether the runs of a study are compared seed by seed; a row a study that has runs.

    Columns: study, seeds (without a gap), correlation (of the arms over the seeds), p (of "the seed has no effect",
    see `statistics.seed_effect`), paired.
    """
    rows = []
    for study in chosen:
        cells = effects.accuracies_by_seed(study_runs(*study))
        if len(cells):
            row = {"study": study, "seeds": len(cells.dropna()), "correlation": statistics.correlation(cells)}
            rows.append(row | {"p": statistics.seed_effect(cells), "paired": statistics.seeds_pair(cells)})
    return pd.DataFrame(rows, columns=["study", "seeds", "correlation", "p", "paired"])


def untrained_arms(chosen):
    """Arms without a run: {variant: studies without it}, of the original, the applied variants and the constant map."""
    recorded = {study: set(study_runs(*study)["variant"]) for study in chosen}
    arms = (ORIGINAL, *APPLIED, CONSTANT)
    missing = {arm: [study for study, variants in recorded.items() if arm not in variants] for arm in arms}
    return {arm: studies for arm, studies in missing.items() if studies}


def environment_differences(dataset, backbone, protocol):
    """Why runs with a bypassed transformer differ from the original's runs: a list with a set of field names a run.

    A bypassed transformer changes no digit, so with the same code on the same machine the list is empty. Each set
    names the fields of the environment in which the two runs differ. An empty set would be an error of this package.
    """
    stored = study_runs(dataset, backbone, protocol).set_index(["variant", "seed"])["record"]
    differences = []
    for (variant, seed), record in stored.items():
        original = stored.get((ORIGINAL, seed))
        if original and variant.endswith(RELEASED) and _test_results(original) != _test_results(record):
            fields, original_fields = record["environment"], original["environment"]
            differences.append(
                {k for k in fields.keys() & original_fields.keys() if fields[k] != original_fields[k]}
            )
    return differences


def count_mixed_pairs(dataset, backbone, protocol):
    """(pairs, of two commits, on two devices): counts of the study's pairs.

    A pair has two runs with the same seed: the original's, and the run of another variant. Bypassed variants do not
    count, nor do variants that the experiment does not compare.
    """
    stored = study_runs(dataset, backbone, protocol).set_index(["variant", "seed"])["record"]
    both = [
        (record["environment"], stored[ORIGINAL, seed]["environment"])
        for (variant, seed), record in stored.items()
        if variant in COMPARED and (ORIGINAL, seed) in stored
    ]
    return len(both), *(sum(a[name] != b[name] for a, b in both) for name in ("commit", "device"))


def _test_results(record):
    """The run's results on test images: the accuracy after each epoch, and the record's field `test`."""
    return [epoch.get("test_accuracy") for epoch in record["epochs"]], record.get("test")


def with_test_curves(found):
    """The runs of `found` that have a test accuracy after each epoch."""
    return found[found["record"].map(lambda record: "test_accuracy" in record["epochs"][0]).astype(bool)]


# --- how much is budget and selection -----------------------------------------------------------


def accuracy_at_budget(record, epochs, rule=BEST_VALIDATION):
    """Test accuracy in percent that a selection rule would report if the run had ended after so many epochs.

    This holds for a constant learning rate: a shorter run is then the beginning of a longer run.
    """
    return records.select_by_test(record["epochs"][:epochs])[rule]["test"]


# columns of `gain_parts`: a gain, and the three parts whose sum is the gain
GAIN_PARTS = ("worst", "selection", "budget", "rest")


def gain_parts(dataset, backbone, protocol):
    """A variant's gain in the comparison that is least fair to the original, and its three parts, in points.

    A row a variant and seed; columns variant, seed, GAIN_PARTS, epochs (of the run) and shorter (the original's budget
    in the released notebooks). `worst` is the variant, selected by `best-of-five`, minus the original after `shorter`
    epochs, selected by `best-validation`. It is the sum of three parts: the variant's gain by the rule (`selection`),
    the original's loss through the missing epochs (`budget`), and the difference under one budget and one rule
    (`rest`).
    """
    ours, rows = with_test_curves(study_runs(dataset, backbone, protocol)), []
    alone = ours[ours["variant"] == ORIGINAL].set_index("seed")["record"]
    for variant in APPLIED:
        mine = ours[ours["variant"] == variant].set_index("seed")["record"]
        for seed in sorted(set(mine.index) & set(alone.index)):
            epochs = len(alone[seed]["epochs"])
            shorter = max(1, round(epochs * author_runs.budget_share(dataset, variant)))
            with_it, full = accuracy_at_budget(mine[seed], epochs), accuracy_at_budget(alone[seed], epochs)
            chosen = accuracy_at_budget(mine[seed], epochs, BEST_OF_FIVE)
            parts = chosen - with_it, full - accuracy_at_budget(alone[seed], shorter), with_it - full
            rows.append([variant, seed, sum(parts), *parts, epochs, shorter])
    return pd.DataFrame(rows, columns=["variant", "seed", *GAIN_PARTS, "epochs", "shorter"])


# --- where a transformer helps ------------------------------------------------------------------


STRENGTH_STUDIES = (*STUDIES[:2], ("digits", "mnist-cnn", "system"))  # studies with the field `strength`
OF_RUN = ["variant", "seed", "collapsed", "failed"]
UNCHANGED = (0, 1)  # strengths that leave an image as it is: no shift or rotation, its own scale
UNITS = {"rotation": "rotation (degrees)", "scale": "scale (ratio)", "shift": "shift (image sides)"}


def strength_accuracies(dataset, backbone, protocol):
    """Accuracy in percent on test images distorted to each strength; a row a run, distortion and strength.

    Columns: variant, seed, collapsed, failed, distortion, strength, accuracy. The original has the seed control's runs
    too. Left out are records without accuracies on distorted images.
    """
    rows = []
    for run in study_runs(dataset, backbone, protocol).itertuples():
        kept = run.record.get("probes", {}).get("strength", {})
        for distortion, values in kept.items():
            of_run = run.variant, run.seed, run.collapsed, run.failed, distortion
            rows += [[*of_run, s, v] for s, v in zip(STRENGTHS[distortion], values)]
    return pd.DataFrame(rows, columns=[*OF_RUN, "distortion", "strength", "accuracy"])


def strength_comparisons(chosen=STRENGTH_STUDIES):
    """The comparisons of `effects.compare_arms` by a run's mean accuracy over the strengths of each distortion.

    Strengths that change nothing are left out. The result also has the columns `study` and `distortion`. Holm's
    correction is made within each family over all studies and distortions.
    """
    views = [view for study in chosen for view in _compare_by_distortion(study) if len(view)]
    if not views:
        return pd.DataFrame(columns=[*effects.COMPARISON_COLUMNS, "study", "distortion"])
    return effects.judge_together(pd.concat(views))


def _compare_by_distortion(study):
    """`effects.compare_arms` for each distortion: a list of frames."""
    kept = strength_accuracies(*study)
    kept = kept[~kept["strength"].isin(UNCHANGED)]
    views = []
    for distortion in UNITS:
        mine = kept[kept["distortion"] == distortion]
        means = mine.groupby(OF_RUN, as_index=False)["accuracy"].mean()
        view = effects.compare_arms(means, "accuracy")
        views.append(view.assign(study=[study] * len(view), distortion=distortion))
    return views
