"""Images made of several digits: MNIST digits in clutter on a larger canvas.

`datasets` makes its cluttered datasets here. Everything is drawn with NumPy's RandomState from a seed, image by
image, so that an image depends only on its number.

Cluttered digits, stated here because published generators differ: canvas of 60 x 60; six patches of 8 x 8,
cropped at a random place from random training digits and put at random places; then the digit of 28 x 28 at a
random place. Patches and digit are added to the canvas and clipped at white. Jaderberg et al. 2015 state the
canvas only; DeepMind's generator (mnist-cluttered) adds and clips patches of 8 x 8 in the same way.
"""

import numpy as np

from .distortions import DIGIT

CLUTTERED, PATCHES, PATCH = 60, 6, 8  # pixels of a side; patches an image; pixels of a patch's side


def cluttered(digits, sources, seed=0):
    """Yield each digit, uint8 (28, 28), in clutter: uint8 (60, 60). Patches come from the digits `sources`."""
    for number, digit in enumerate(digits):
        random = np.random.RandomState([seed, number])
        canvas = np.zeros((CLUTTERED, CLUTTERED), np.uint8)
        for _ in range(PATCHES):
            source = sources[random.randint(len(sources))]
            place = random.randint(0, DIGIT - PATCH + 1, 2)
            patch = source[place[0] : place[0] + PATCH, place[1] : place[1] + PATCH]
            _add(canvas, patch, random.randint(0, CLUTTERED - PATCH + 1, 2))
        _add(canvas, digit, random.randint(0, CLUTTERED - DIGIT + 1, 2))
        yield canvas


def _add(canvas, patch, place):
    """Add uint8 `patch` to the canvas with its upper left corner at `place` (y, x), clipped at white."""
    height, width = patch.shape
    part = canvas[place[0] : place[0] + height, place[1] : place[1] + width]
    part[:] = np.minimum(part.astype(np.uint16) + patch, 255)


SCENES = {"cluttered": cluttered}
