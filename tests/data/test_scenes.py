"""Cluttered digits and sequences have the stated sizes and places, and clutter is cut from training digits only."""

import numpy as np
import pytest

from stn_paper.data import scenes
from stn_paper.data.datasets import embedded_digits

PIXELS, LABELS = (part[::50] for part in embedded_digits())
WHITE, BLACK = (np.full((40, 28, 28), grey, np.uint8) for grey in (255, 0))


def cluttered(digits, sources):
    """The digits in clutter that is cut from the sources only."""
    images, _, _ = scenes.cluttered_digits(np.concatenate([sources, digits]), np.zeros(0), len(sources))
    return list(images)[len(sources) :]


@pytest.mark.parametrize("make", scenes.SCENES.values())
def test_an_image_depends_on_its_number_only(make):
    images, labels, test_start = make(PIXELS, LABELS, 80)
    assert len(images) == len(labels) == 100 and test_start == 80
    backwards = [images[number] for number in range(99, 89, -1)]
    assert all(np.array_equal(a, b) for a, b in zip(list(images)[90:], backwards[::-1]))
    assert images[0].dtype == np.uint8 and not np.array_equal(images[0], images[1])
    with pytest.raises(IndexError):
        images[100]


def test_the_digit_is_somewhere_and_the_clutter_is_small():
    places = []
    for image in cluttered(WHITE, BLACK):  # clutter that cannot be seen
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        assert image.shape == (60, 60) and len(rows) == len(columns) == 28 and (image > 0).sum() == 28 * 28
        places.append((rows[0], columns[0]))
    assert len(set(places)) > 30 and np.ptp(places, 0).min() > 20
    for image in cluttered(BLACK, WHITE):  # a digit that cannot be seen
        assert set(np.unique(image)) == {0, 255}
        assert 64 < (image > 0).sum() <= scenes.CLUTTER_PATCHES * scenes.CLUTTER_PATCH**2


def test_overlapping_pixels_are_added_and_clipped():
    grey = np.full((50, 28, 28), 100, np.uint8)
    values = {value for image in cluttered(grey, grey) for value in np.unique(image).tolist()}
    assert {0, 100, 200, 255} >= values >= {0, 100, 200}


def test_three_digits_stand_side_by_side_on_a_slope():
    pixels = np.concatenate([BLACK, WHITE])  # clutter comes from the black images and is invisible
    images, labels, _ = scenes.digit_sequences(pixels, np.arange(80), 40)
    assert labels.shape == (80, 3) and labels[:40].max() < 40 <= labels[40:].min()  # no digit is in both
    lefts, slopes = [], []
    for number in range(40, 80):
        image = images[number]
        columns = np.flatnonzero(image.any(0))
        assert image.shape == (100, 100) and len(columns) == 3 * 28  # side by side, none on another
        tops = [np.flatnonzero(image[:, columns[0] + 28 * place + 5])[0] for place in range(3)]
        lefts.append(columns[0])
        if min(tops) > 0 and max(tops) < 72:  # none was moved onto the canvas
            assert tops[1] - tops[0] == tops[2] - tops[1]
            slopes.append(tops[1] - tops[0])
    assert min(lefts) >= 0 and max(lefts) <= 15 and len(set(lefts)) > 8
    assert min(slopes) >= -14 and max(slopes) <= 13 and len(set(slopes)) > 3


def test_sequences_have_clutter_of_training_digits():
    pixels = np.concatenate([np.full((20, 28, 28), 90, np.uint8), BLACK[:20]])
    images, _, _ = scenes.digit_sequences(pixels, np.zeros(40, int), 20)
    for number in range(20, 40):  # digits that cannot be seen
        share = (images[number] == 90).sum()
        assert (
            set(np.unique(images[number])) == {0, 90}
            and 81 <= share <= scenes.SEQUENCE_PATCHES * scenes.SEQUENCE_PATCH**2
        )
