"""Images enlarged on the device equal those that Pillow enlarges, to the last bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stn_paper.data.enlarge import enlarge
from stn_paper.errors import InputError


def pillow(image, size):
    """An image (3, S, S) as Pillow enlarges it."""
    turned = Image.fromarray(image.transpose(1, 2, 0))
    return np.asarray(turned.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


@pytest.mark.parametrize("size", [33, 48, 64, 224, 240, 260, 300])
def test_images_of_cifar10_are_enlarged_as_pillow_does(size):
    images = np.random.RandomState(size).randint(0, 256, (3, 3, 32, 32), np.uint8)
    found = enlarge(torch.from_numpy(images), size)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found, [pillow(image, size) for image in images])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_any_enlargement_is_as_pillow_has_it(side, more, seed):
    image = np.random.RandomState(seed).randint(0, 256, (3, side, side), np.uint8)
    size = side + more
    np.testing.assert_array_equal(enlarge(torch.from_numpy(image)[None], size)[0], pillow(image, size))


def test_images_of_the_right_size_are_not_copied():
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert enlarge(images, 8) is images


def test_a_smaller_size_is_named():
    with pytest.raises(
        InputError, match="Images of 8 pixels a side cannot be enlarged to 7: give at least 8"
    ):
        enlarge(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), 7)
