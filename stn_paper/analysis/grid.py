"""The runs of each target of the workflow, as lists of RunSpecs; this module trains nothing and reads no record.

`workflow/Snakefile` trains them as jobs, and `estimates` estimates their hours.
"""

from dataclasses import replace

from ..data.distortions import DISTORTIONS
from ..errors import check_choice, check_whole_number
from ..models import variants
from ..training.presets import SYSTEM
from ..training.protocol import OTHER_SEEDS
from ..training.spec import RunSpec
from . import experiment
from .paper import DATASET_OF, networks

TABLE_NUMBERS = {f"table{number}": number for number in (6, 8, 4)}  # the tables of accuracies
TARGETS = ("smoke", *TABLE_NUMBERS, "systems", "claims")
GRID = TARGETS[1:]  # targets whose records the book shows
SMOKE_CELLS = [("digits", "resnet18", variant) for variant in variants("resnet18")]
SYSTEM_DATASETS = {  # smaller system -> the datasets that it is trained on
    "cifar-cnn": ("cifar10",),
    "clutter-cnn": ("mnist-cluttered",),
    "lenet": ("mnist-rts",),
    "mnist-cnn": ("digits",),
    "mnist-cnn-400k": tuple(f"mnist-{name}" for name in DISTORTIONS),
    "placement-cnn": ("mnist-r",),
    "sequence-cnn": ("mnist-sequence",),
    "sign-cnn-bn": ("gtsrb",),
}
# system -> the system that is the same network without a transformer, trained with the same settings
SAME_ALONE = {"placement-cnn": "mnist-cnn-400k"}
# system -> the variants of its own page; the experiment trains the first behind the paper's localization nets
SYSTEM_VARIANTS = {
    "mnist-cnn-400k": ("original", "affine", "projective", "tps"),
    "placement-cnn": ("feature", "shared"),
}
PAGES = {  # page that shows records -> targets whose records it shows; the other pages show none
    **{name: (name,) for name in TABLE_NUMBERS},
    **dict.fromkeys(
        ("small_cnn", "distorted_mnist", "cluttered_mnist", "digit_sequences", "traffic_signs"), ("systems",)
    ),
    "experiment": ("claims",),
    **dict.fromkeys(("known_truth", "strength"), ("systems", "claims")),
    **dict.fromkeys(("index", "claims", "protocol", "runs", "checklist", "cost_of_the_grid", "theta"), GRID),
    **dict.fromkeys(("copies", "benchmarks", "networks_tried", "playground"), GRID),
}


def target_networks(target):
    """(dataset, backbone, variant) of each network of a table, of the smaller systems or of the smoke runs.

    Raises InputError for another target.
    """
    check_choice("target with cells", target, [t for t in TARGETS if t != "claims"])
    if target == "smoke":
        return list(SMOKE_CELLS)
    if target == "systems":
        return [
            (dataset, system, variant)
            for system, datasets in SYSTEM_DATASETS.items()
            for dataset in datasets
            for variant in SYSTEM_VARIANTS.get(system, variants(system))
        ]
    printed = networks(TABLE_NUMBERS[target])
    return [
        (DATASET_OF[TABLE_NUMBERS[target]], b, v) for b, v in zip(printed["backbone"], printed["variant"])
    ]


def target_specs(target, seeds=3, protocol="equal"):
    """The RunSpecs of a target, with the seeds 0 to `seeds` - 1, seed by seed.

    `protocol` is for the paper's tables; smoke runs, smaller systems and the studies of the experiment have protocols
    of their own. An arm of the experiment has at most 5 seeds. Raises InputError for a wrong name or number.
    """
    check_choice("target", target, TARGETS)
    check_whole_number("Number of seeds", seeds)
    if target == "claims":
        studies, arm_seeds = (*experiment.STUDIES, *experiment.LARGER), min(seeds, OTHER_SEEDS)
        return [spec for study in studies for spec in experiment.study_specs(*study, arm_seeds)]
    own = {"smoke": "smoke", "systems": SYSTEM}
    cells = [
        RunSpec(*cell, own.get(target, protocol), s) for s in range(seeds) for cell in target_networks(target)
    ]
    return cells + (padding_specs(seeds) if target == "systems" else [])


def padding_specs(seeds=3):
    """RunSpecs of the comparison of paddings (the values that a transformer reads outside the image), seed by seed.

    The larger digit CNN behind affine maps is trained on RTS for 5 epochs with each optimizer and padding.
    In its input, -1 is the background of the digits, and the 0 of the padding `zeros` is grey.
    """
    specs = [RunSpec("mnist-rts", "mnist-cnn-400k", "affine", SYSTEM, s) for s in range(seeds)]
    short = {"max_epochs": 5, "min_epochs": 5, "probes": False}
    return [
        replace(spec, protocol=replace(spec.protocol, padding=outside, **short, **rule))
        for spec in specs
        for rule in ({}, {"optimizer": "sgd", "learning_rate": 0.1})
        for outside in ("zeros", "border", -1.0)
    ]


def unique_specs(targets, seeds=3, protocol="equal"):
    """The runs of several targets without repetition, because targets may share runs: {name: RunSpec}."""
    return {spec.name: spec for target in targets for spec in target_specs(target, seeds, protocol)}
