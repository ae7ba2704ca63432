"""Protocols have the paper's settings, a run's name changes with every setting, and errors name wrong values."""

import math
import re
from dataclasses import asdict, fields, replace

import numpy as np
import pytest

from stn_paper.analysis import author_runs
from stn_paper.errors import InputError
from stn_paper.models import VARIANTS
from stn_paper.training import batches, hardware, optimizers, protocol
from stn_paper.training.presets import COMPARABLE, PROTOCOLS, preset
from stn_paper.training.protocol import BEST_OF_FIVE, BEST_VALIDATION, DEFAULTS, Protocol, parse_setting
from stn_paper.training.spec import RunSpec

SPEC = RunSpec("caltech101", "resnet18", "lstn", "reduced", seed=1)
OTHER_SPEC = {"dataset": "digits", "backbone": "effb0", "variant": "stn", "protocol": "equal", "seed": 2}
OTHER_PROTOCOL = {
    "name": "equal",
    "image_size": 65,
    "batch_size": 21,
    "learning_rate": 0.002,
    "max_epochs": 21,
    "min_epochs": 19,
    "window": 9,
    "tolerance": 0.35,
    "selection": BEST_OF_FIVE,
    "split_seed": 1,
    "train_per_class": None,
    "max_images": 100,
    "max_evaluation": 500,
    "skip_corrupt": True,
    "normalization": "imagenet",
    "optimizer": "sgd",
    "validation_images": 1000,
    "probes": True,
    "precision": "bfloat16",
    "schedule": "one-cycle",
    "localization_rate": 0.1,
    "train_images": 1000,
    "max_validation": 600,
    "test_once": True,
    "augmentation": "jitter",
    "padding": "border",
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", COMPARABLE)
def test_comparable_protocols_train_as_the_paper_says(name, variant):
    protocol = preset(name, "caltech101", variant)
    assert protocol.learning_rate == 0.001
    assert (protocol.window, protocol.tolerance) == (10, 0.25)
    assert protocol.max_images is None


@pytest.mark.parametrize("dataset, batch_size", [("caltech101", 10), ("cifar10", 20)])
def test_the_papers_protocol_takes_batches_of_10_or_20_and_the_best_of_five(dataset, batch_size):
    protocol = preset("paper", dataset, "original")
    assert (protocol.image_size, protocol.batch_size, protocol.train_per_class) == (None, batch_size, None)
    assert protocol.selection == BEST_OF_FIVE


@pytest.mark.parametrize(
    "dataset, variant, floor, budget",
    [
        ("caltech101", "original", 120, 200),
        ("caltech101", "stn", 200, 280),
        ("caltech101", "vstn", 200, 350),
        ("caltech101", "lstn", 300, 400),
        ("cifar10", "original", 30, 120),
        ("cifar10", "stn", 30, 120),
        ("cifar10", "vstn", 150, 300),
        ("cifar10", "lstn", 150, 360),
    ],
)
def test_the_papers_epochs_differ_by_variant(dataset, variant, floor, budget):
    protocol = preset("paper", dataset, variant)
    assert (protocol.min_epochs, protocol.max_epochs) == (floor, budget)


@pytest.mark.parametrize("name", ["equal", "reduced", "smoke"])
def test_the_other_protocols_treat_variants_alike(name):
    first, *others = (preset(name, "caltech101", variant) for variant in VARIANTS)
    assert all(other == first for other in others)
    assert first.min_epochs == first.max_epochs  # never stops early
    assert first.selection == BEST_VALIDATION


def test_equal_has_batches_of_20_in_bfloat16_and_one_test():
    protocol = preset("equal", "caltech101", "stn")
    assert (protocol.image_size, protocol.batch_size, protocol.max_epochs) == (None, 20, 40)
    assert (protocol.precision, protocol.test_once) == ("bfloat16", True)
    assert preset("equal", "cifar10", "stn").max_epochs == 15


def test_small_has_images_of_64_pixels_and_one_cycle():
    protocol = preset("small", "caltech101", "stn")
    assert (protocol.image_size, protocol.batch_size, protocol.max_epochs) == (64, 32, 20)
    assert (protocol.train_per_class, protocol.train_images, protocol.max_validation) == (None, None, 600)
    assert (protocol.schedule, protocol.localization_rate) == ("one-cycle", 0.1)
    assert (protocol.selection, protocol.test_once) == ("last-epoch", True)  # nothing is selected
    assert preset("small", "cifar10", "stn").train_images == 20_000
    tables = {name: preset("small", name, "stn").precision for name in ("caltech101", "cifar10", "tsrd")}
    assert tables == {"caltech101": "bfloat16", "cifar10": "bfloat16", "tsrd": "tf32"}


@pytest.mark.parametrize(
    "field, value",
    [
        ("name", "a/b"),
        ("name", ""),
        ("selection", "best"),
        ("selection", 3),
        ("schedule", "cosine"),
        ("schedule", None),
        ("optimizer", "adamw"),
        ("precision", ""),
        ("normalization", None),
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("max_epochs", -1),
        ("image_size", "64"),
        ("validation_images", 0),
        ("train_images", True),
        ("learning_rate", -1),
        ("learning_rate", math.nan),
        ("learning_rate", "0.1"),
        ("localization_rate", 0),
        ("tolerance", -1),
        *((field, 10**400) for field in ("learning_rate", "localization_rate", "tolerance", "padding")),
    ],
)
def test_an_impossible_setting_is_named(field, value):
    with pytest.raises(InputError, match=re.escape(repr(value))):
        Protocol(**{"name": "mine", field: value})


def test_the_papers_protocol_on_tsrd_is_that_of_most_of_its_notebooks():
    cells, used = author_runs.released_cells(4), preset("paper", "tsrd", "original")
    for field in ("min_epochs", "max_epochs", "batch_size"):
        assert getattr(used, field) == cells[field].mode().item()


def test_the_papers_rule_needs_the_test_images_of_each_epoch():
    with pytest.raises(InputError, match="best-of-five"):
        Protocol("mine", selection=BEST_OF_FIVE, test_once=True)


def test_reduced_has_images_of_64_pixels_and_few_a_class():
    protocol = preset("reduced", "caltech101", "stn")
    assert (protocol.image_size, protocol.max_epochs, protocol.train_per_class) == (64, 20, 15)
    large = preset("reduced", "cifar10", "stn")  # fewer images to evaluate on do not mean fewer to train on
    assert (large.train_per_class, large.max_evaluation, large.max_images) == (200, 2000, None)


def test_every_protocol_knows_its_name():
    assert [preset(name, "digits", "stn").name for name in PROTOCOLS] == list(PROTOCOLS)


def test_equal_specs_share_their_key():
    again = RunSpec("caltech101", "resnet18", "lstn", preset("reduced", "caltech101", "lstn"), 1)
    assert again == SPEC and again.key == SPEC.key
    assert len(SPEC.key) == 8 and int(SPEC.key, 16) >= 0


@pytest.mark.parametrize("field", [f.name for f in fields(RunSpec)])
def test_another_spec_has_another_key(field):
    other = replace(SPEC, **{field: OTHER_SPEC[field]})
    assert other.key != SPEC.key and other.name != SPEC.name


@pytest.mark.parametrize("field", [f.name for f in fields(Protocol)])
def test_another_setting_has_another_key(field):
    protocol = replace(SPEC.protocol, **{field: OTHER_PROTOCOL[field]})
    assert protocol != SPEC.protocol
    assert replace(SPEC, protocol=protocol).key != SPEC.key


def test_a_setting_of_zero_is_not_its_default():
    never = replace(SPEC.protocol, tolerance=0.0)
    assert replace(SPEC, protocol=never).key != SPEC.key


def test_a_setting_that_a_record_is_too_old_to_know_is_at_its_default():
    assert {"image_size", "max_evaluation", "skip_corrupt"} <= set(DEFAULTS) and "name" not in DEFAULTS
    old = {f: v for f, v in asdict(SPEC.protocol).items() if f != "max_evaluation"}
    assert RunSpec("caltech101", "resnet18", "lstn", Protocol(**old), 1).key == SPEC.key


@pytest.mark.parametrize("name", [*COMPARABLE, "smoke"])
def test_only_traffic_signs_are_normalized_as_imagenet(name):
    of = {d: preset(name, d, "stn").normalization for d in ("tsrd", "gtsrb", "caltech101", "cifar10")}
    assert of == {"tsrd": "imagenet", "gtsrb": "imagenet", "caltech101": "half", "cifar10": "half"}


def test_the_papers_protocol_knows_the_papers_variants_alone():
    with pytest.raises(InputError, match="paper's protocol 'tps': choose one of original, stn"):
        RunSpec("digits", "mnist-cnn", "tps", "paper")


@pytest.mark.parametrize(
    ("name", "variant", "wrong"), [("paper", "constant", "'constant'"), ("system", "stn", "'caltech101'")]
)
def test_a_protocol_has_a_presets_name_only_where_the_preset_exists(name, variant, wrong):
    for named in (name, Protocol(name)):
        with pytest.raises(InputError, match=wrong):
            RunSpec("caltech101", "resnet18", variant, named)


def test_names_can_be_read_and_are_file_names():
    assert SPEC.name == f"caltech101_reduced_resnet18_lstn_seed1_{SPEC.key}"
    assert "/" not in RunSpec("digits", "timm/resnet10t", "stn", "smoke").name


def test_committed_keys_stay_valid():
    assert RunSpec("caltech101", "resnet18", "lstn", "reduced").key == "3d359f79"


@pytest.mark.parametrize("protocol, size", [("equal", 240), ("reduced", 64)])
def test_the_image_size_is_the_protocols_or_the_backbones(protocol, size):
    assert RunSpec("caltech101", "effb1", "stn", protocol).image_size == size


@pytest.mark.parametrize(
    "field, value, allowed",
    [
        ("dataset", "imagenet", "digits, caltech101"),
        ("backbone", "resnet19", "resnet18"),
        ("backbone", "timm/resnet19", "timm.list_models"),
        ("variant", "tstn", "original, stn, vstn, lstn, constant, lstn-no-bn"),
        ("protocol", "quick", "paper, equal, small, reduced, smoke"),
        ("protocol", None, "paper, equal, small, reduced, smoke"),
        ("seed", -1, "whole number from 0"),
        ("seed", 0.5, "whole number from 0"),
        ("seed", "1", "whole number from 0"),
        ("seed", True, "whole number from 0"),
        ("seed", 2**32, "whole number from 0 to 4294967295"),
    ],
)
def test_wrong_values_are_named_with_the_allowed_ones(field, value, allowed):
    with pytest.raises(InputError) as error:
        replace(SPEC, **{field: value})
    assert repr(value) in str(error.value) and allowed in str(error.value)


def test_the_largest_seed_is_one_that_numpy_takes():
    np.random.RandomState([replace(SPEC, seed=2**32 - 1).seed, 1])


@pytest.mark.parametrize("size", [0, "64", 64.0])
def test_an_image_size_that_is_no_whole_number_is_named(size):
    with pytest.raises(InputError, match=f"Image size {size!r} "):
        replace(SPEC, protocol=replace(SPEC.protocol, image_size=size))


def test_a_spec_cannot_be_changed():
    with pytest.raises(AttributeError):
        SPEC.seed = 3


def test_the_names_of_settings_are_those_that_training_knows():
    assert set(protocol.OPTIMIZERS) == set(optimizers.OPTIMIZER_CLASSES)
    assert set(protocol.PRECISIONS) == set(hardware.PRECISION_MODES)
    assert set(protocol.NORMALIZATIONS) == {*batches.CHANNEL_STATISTICS, protocol.LOCAL}
    assert {protocol.CONSTANT_RATE, protocol.ONE_CYCLE} == set(optimizers.SCHEDULES)


def test_numpys_whole_numbers_are_settings_too():
    mine = Protocol("mine", image_size=np.int64(64), batch_size=np.int64(8))
    python = Protocol("mine", image_size=64, batch_size=8)
    specs = [
        RunSpec("digits", "resnet18", "original", p, seed) for p, seed in ((mine, np.int64(3)), (python, 3))
    ]
    assert specs[0].name == specs[1].name


def test_equal_numbers_are_equal_settings():
    mine = [
        Protocol("mine", tolerance=1, learning_rate=np.float64(0.5)),
        Protocol("mine", tolerance=1.0, learning_rate=0.5),
    ]
    names = {RunSpec("digits", "resnet18", "original", protocol).name for protocol in mine}
    assert len(names) == 1


def test_probes_of_images_with_several_labels_are_refused():
    named = preset("system", "mnist-sequence", "rnn")
    with pytest.raises(InputError, match="Probes are not allowed for dataset 'mnist-sequence'"):
        RunSpec("mnist-sequence", "sequence-cnn", "rnn", replace(named, probes=True))


def test_a_limit_a_class_needs_one_label_an_image():
    with pytest.raises(InputError, match="'mnist-sequence'"):
        RunSpec("mnist-sequence", "sequence-cnn", "rnn", "reduced")


def test_settings_are_json_or_pythons_names_or_text():
    texts = ("test_once=true", "test_once=True", "image_size=None", "padding=border", "train_images=5")
    assert [parse_setting(text)[1] for text in texts] == [True, True, None, "border", 5]


def test_a_setting_without_a_value_is_named():
    with pytest.raises(InputError, match="padding=VALUE"):
        parse_setting("padding")


@pytest.mark.parametrize(("dataset", "backbone"), [("mnist-sequence", "lenet"), ("digits", "sequence-cnn")])
def test_a_network_gives_as_many_labels_as_the_images_have(dataset, backbone):
    with pytest.raises(InputError, match=f"'{dataset}' has [13] labels an image, and {backbone} gives [13]"):
        RunSpec(dataset, backbone, "original", Protocol("mine", 100))
