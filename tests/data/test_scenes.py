"""Digits in clutter: what is stated of the canvas, the same each time, and never made of test digits."""

import numpy as np
import pytest

from stn_paper.data import scenes
from stn_paper.data.datasets import embedded_digits

DIGITS = embedded_digits()[0][::50]


def test_an_image_depends_on_its_number_only():
    first = list(scenes.cluttered(DIGITS, DIGITS))
    assert all(np.array_equal(a, b) for a, b in zip(first[:5], scenes.cluttered(DIGITS[:5], DIGITS)))
    assert {image.shape for image in first} == {(60, 60)} and first[0].dtype == np.uint8
    again = list(scenes.cluttered(DIGITS, DIGITS, seed=1))
    assert not any(np.array_equal(a, b) for a, b in zip(first, again))


def test_the_digit_is_somewhere_and_the_clutter_is_small():
    white = np.full((20, 28, 28), 255, np.uint8)
    black = np.zeros_like(white)
    places = []
    for image in scenes.cluttered(white, black):  # clutter that cannot be seen
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        assert len(rows) == len(columns) == 28 and (image > 0).sum() == 28 * 28
        places.append((rows[0], columns[0]))
    assert len(set(places)) > 15 and np.ptp(places, 0).min() > 20
    for image in scenes.cluttered(black, white):  # a digit that cannot be seen
        assert set(np.unique(image)) == {0, 255}
        assert 64 < (image > 0).sum() <= scenes.PATCHES * scenes.PATCH**2


def test_what_lies_on_each_other_is_added_and_clipped():
    grey = np.full((50, 28, 28), 100, np.uint8)
    values = {value for image in scenes.cluttered(grey, grey) for value in np.unique(image).tolist()}
    assert {0, 100, 200, 255} >= values >= {0, 100, 200}


@pytest.mark.parametrize("number", [0, 7])
def test_clutter_comes_from_the_sources(number):
    marked = np.full((3, 28, 28), 7, np.uint8)  # no digit has this grey everywhere
    plain = list(scenes.cluttered(np.zeros_like(DIGITS), marked))[number]
    assert plain.max() % 7 == 0 and set(np.unique(plain)) <= {7 * n for n in range(scenes.PATCHES + 1)}
