"""Splits: the stated sizes, no shared image, and limits that move no other image."""

import numpy as np
import pytest
import torch
from helpers import real

from stn_paper.data.datasets import DATASETS, Images, split
from stn_paper.errors import InputError
from stn_paper.training.protocol import LIMITS


def without_pixels(name):
    """A dataset's Images without pixels: only the fields that `split` uses."""
    if name == "digits":
        return Images(None, np.repeat(np.arange(10), 500), tuple("0123456789"), "")
    found = real(name)
    return Images(None, np.array(found.labels), found.classes, "", found.test_start, found.groups)


SIZES = {  # paper section 4.1; GTSRB and MNIST are ours
    "digits": (4000, 500, 500),
    "caltech101": (6277, 1200, 1200),
    "cifar10": (40_000, 10_000, 10_000),
    "gtsrb": (31_409, 7800, 12_630),
    "mnist": (50_000, 10_000, 10_000),
    "mnist-rts": (50_000, 10_000, 10_000),
}


@pytest.mark.parametrize("name", SIZES)
def test_splits_have_the_stated_sizes_and_share_no_image(name):
    data = without_pixels(name)
    parts = split(name, data, seed=0)
    assert tuple(map(len, parts)) == SIZES[name]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(data.labels)))


def test_tsrd_is_split_as_the_paper_says():
    """Section 4.1.A of the paper: 4000 training images, 1000 test images and 998 validation images."""
    assert DATASETS["tsrd"].splits == {"train": 4000, "validation": 998, "test": 1000}
    parts = split("tsrd", Images(None, np.zeros(5998, int), (), ""), 0)
    assert tuple(map(len, parts)) == (4000, 998, 1000)


@pytest.mark.parametrize("seed", range(3))
def test_a_stratified_split_has_every_class_of_three_images_in_each_part(seed):
    counts = [1, 2, 3, 4, 12, 60]
    labels = np.repeat(np.arange(6), counts)
    parts = split("tsrd-distinct", Images(None, labels, tuple("abcdef"), ""), seed)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    by_class = [np.bincount(labels[part], minlength=6).tolist() for part in parts]
    assert by_class == [[1, 1, 1, 2, 8, 40], [0, 0, 1, 1, 2, 10], [0, 1, 1, 1, 2, 10]]


def test_a_stratified_split_follows_its_seed_and_its_number_of_validation_images():
    labels = torch.tensor([0] * 30 + [1] * 60)
    data = Images(None, labels, ("a", "b"), "")
    first, again, other = (split("tsrd-distinct", data, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not np.array_equal(first.test, other.test)
    assert tuple(map(len, split("tsrd-distinct", data, 1, validation_images=30))) == (45, 30, 15)


def test_splits_follow_their_seed():
    data = without_pixels("digits")
    first, again, other = (split("digits", data, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other))
    assert split("digits", data, 0).test[:3].tolist() == [1201, 4260, 424]  # in every version of NumPy


@pytest.mark.parametrize("name, classes", [("digits", 10), ("caltech101", 101), ("gtsrb", 43)])
def test_a_limit_a_class_shortens_the_training_split_alone(name, classes):
    data = without_pixels(name)
    whole, limited = split(name, data, 0), split(name, data, 0, train_per_class=15)
    assert np.bincount(data.labels[limited.train]).tolist() == [15] * classes
    assert set(limited.train) <= set(whole.train)
    assert np.array_equal(limited.validation, whole.validation) and np.array_equal(limited.test, whole.test)


def test_max_images_limits_all_splits_and_max_evaluation_two():
    data = without_pixels("digits")
    assert tuple(map(len, split("digits", data, 0, max_images=7))) == (7, 7, 7)
    assert tuple(map(len, split("digits", data, 0, max_evaluation=7))) == (4000, 7, 7)


@pytest.mark.parametrize("official", [None, 4500])
def test_fewer_validation_images_leave_more_for_training(official):
    data = without_pixels("digits")._replace(labels=np.arange(5000) % 10, test_start=official)
    default, smaller = split("digits", data, 0), split("digits", data, 0, validation_images=100)
    assert tuple(map(len, smaller)) == (4400, 100, 500)
    assert np.array_equal(default.test, smaller.test) and set(smaller.validation) <= set(default.validation)


def test_an_official_test_set_stays_the_test_split():
    data = Images(None, np.arange(70_000) % 10, (), "", test_start=60_000)
    parts = split("mnist", data, seed=3)
    assert tuple(map(len, parts)) == SIZES["mnist"]
    assert parts.test.min() == 60_000 and max(parts.train.max(), parts.validation.max()) < 60_000
    sample = split("mnist", data, 3, max_evaluation=100).test
    assert not np.array_equal(np.sort(sample), np.arange(60_000, 60_100))  # a sample, not the first


def test_tracks_stay_whole():
    tracks = np.r_[np.repeat(np.arange(1307), 30)[:39_209], np.full(12_630, -1)]
    data = Images(None, np.zeros(51_839, int), (), "", 39_209, tracks)
    train, validation, test = split("gtsrb", data, seed=0)
    assert not set(tracks[train]) & set(tracks[validation])
    assert 0 <= 7800 - len(validation) < 30 and len(train) + len(validation) == 39_209
    assert len(test) == 12_630 and set(tracks[test]) == {-1}


def test_a_class_that_training_never_sees_is_refused():
    tracks = np.r_[np.repeat(np.arange(43), 900), np.full(12_630, -1)]  # each class is one track
    labels = np.r_[np.repeat(np.arange(43), 900), np.arange(12_630) % 43]
    data = Images(None, labels, tuple(map(str, range(43))), "", 38_700, tracks)
    with pytest.raises(InputError, match="'gtsrb' cannot be split: no image of the class"):
        split("gtsrb", data, 0)


def test_a_split_of_an_unknown_dataset_is_refused():
    with pytest.raises(InputError, match="'imagenet'"):
        split("imagenet", without_pixels("digits"), 0)


def test_few_images_of_each_class_are_of_all_classes():
    data = without_pixels("digits")
    whole = split("digits", data, 0, train_per_class=15)
    assert np.array_equal(data.labels[whole.train], np.repeat(np.arange(10), 15))
    for limit in ({"max_images": 20}, {"train_images": 20}):
        limited = split("digits", data, 0, train_per_class=15, **limit).train
        assert np.bincount(data.labels[limited]).tolist() == [2] * 10 and set(limited) < set(whole.train)
    assert np.array_equal(split("digits", data, 0, 15, train_images=150).train, whole.train)
    with pytest.raises(InputError, match="no image is left for the train split"):
        split("digits", data._replace(skipped=range(5000)), 0, 15)


@pytest.mark.parametrize("number", [0, -1, 2.5, "5", True])
@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_that_is_no_whole_number_from_1_is_named(limit, number):
    with pytest.raises(InputError, match=f"{limit} {number!r}"):
        split("digits", without_pixels("digits"), 0, **{limit: number})


@pytest.mark.parametrize("seed", [-1, 2**32, None])
def test_a_seed_that_numpy_does_not_take_is_named(seed):
    with pytest.raises(InputError, match=f"seed {seed!r} "):
        split("digits", without_pixels("digits"), seed)


@pytest.mark.parametrize("count", [4500, 5000])
def test_a_validation_split_that_leaves_nothing_for_training_is_refused(count):
    with pytest.raises(InputError, match=f"{count} validation images are not allowed.* at most 4499"):
        split("digits", without_pixels("digits"), 0, validation_images=count)


def test_images_that_are_skipped_are_in_no_split_and_move_no_other():
    data = without_pixels("digits")
    whole = split("digits", data, 0)
    lost = {int(part[5]): "a file" for part in whole}
    for before, after in zip(whole, split("digits", data._replace(skipped=lost), 0)):
        assert np.array_equal(np.delete(before, 5), after)
