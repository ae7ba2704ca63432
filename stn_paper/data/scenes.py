"""Images made of several digits: MNIST digits in clutter, alone or three in a row, on a larger canvas.

`datasets` makes its cluttered datasets with these functions. An image is drawn with NumPy's RandomState from a seed
and its number, so that it depends on no other image. Clutter comes from training digits only. Patches and digits are
added to the canvas and clipped at white.

`cluttered_digits`: canvas of 60 x 60; six patches of 8 x 8, cropped at a random place from random digits and put at
random places; then the digit of 28 x 28 at a random place. Published generators differ: DeepMind's
(mnist-cluttered) adds and clips patches of 8 x 8 too; that of luuf/stn-placement has patches of 6 x 6.

`digit_sequences`, as Sønderby et al. 2015 (arXiv 1509.05329) publish it in their code: canvas of 100 x 100; eight
patches of 9 x 9 at 0 to 90, which replace the pixels below them; three digits drawn with replacement, 28 pixels apart,
the first at x = 8 + (-8 to 7) and y from 0 to 99, the others along a slope of -14 to 13 pixels a digit; digits outside
are moved onto the canvas. The label is the three digits from left to right. Ours differ in two things: there are as
many sequences as digits, so 50,000 for training instead of 60,000, and training and validation sequences are made of
the same digits.
"""

from collections.abc import Sequence

import numpy as np

from .distortions import DIGIT

# pixels of a side; patches an image; pixels of a patch's side
CLUTTER_CANVAS, CLUTTER_PATCHES, CLUTTER_PATCH = 60, 6, 8
SEQUENCE_CANVAS, SEQUENCE_PATCHES, SEQUENCE_PATCH = 100, 8, 9  # the same for sequences
DIGITS_A_SEQUENCE = 3


class Drawn(Sequence):
    """A sequence of `count` images; `draw(number)` makes an image when it is indexed."""

    def __init__(self, draw, count):
        self.draw, self.count = draw, count

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        if not 0 <= number < self.count:
            raise IndexError(number)
        return self.draw(number)


def cluttered_digits(digits, labels, test_start):
    """Each digit, uint8 (28, 28), in clutter: (images uint8 (60, 60), labels, test_start)."""

    def draw(number):
        random = np.random.RandomState([0, number])
        canvas = np.zeros((CLUTTER_CANVAS, CLUTTER_CANVAS), np.uint8)
        for _ in range(CLUTTER_PATCHES):
            patch = _cropped(digits[random.randint(test_start)], CLUTTER_PATCH, random)
            _add(canvas, patch, random.randint(0, CLUTTER_CANVAS - CLUTTER_PATCH + 1, 2))
        _add(canvas, digits[number], random.randint(0, CLUTTER_CANVAS - DIGIT + 1, 2))
        return canvas

    return Drawn(draw, len(digits)), labels, test_start


def digit_sequences(digits, labels, test_start):
    """Three digits in a row in clutter: (images uint8 (100, 100), labels int64 (N, 3), test_start)."""
    random = np.random.RandomState(0)
    parts = (0, test_start), (test_start, len(digits))
    chosen = np.concatenate(
        [random.randint(low, high, (high - low, DIGITS_A_SEQUENCE)) for low, high in parts]
    )

    def draw(number):
        random = np.random.RandomState([1, number])
        canvas = np.zeros((SEQUENCE_CANVAS, SEQUENCE_CANVAS), np.uint8)
        for _ in range(SEQUENCE_PATCHES):
            y, x = random.randint(0, SEQUENCE_CANVAS - SEQUENCE_PATCH, 2)
            canvas[y : y + SEQUENCE_PATCH, x : x + SEQUENCE_PATCH] = _cropped(
                digits[random.randint(test_start)], SEQUENCE_PATCH, random
            )
        first, top, slope = random.randint(0, 16), random.randint(0, SEQUENCE_CANVAS), random.randint(-14, 14)
        for place, digit in enumerate(chosen[number]):
            corner = top + place * slope, first + place * DIGIT
            _add(canvas, digits[digit], np.clip(corner, 0, SEQUENCE_CANVAS - DIGIT))
        return canvas

    return Drawn(draw, len(digits)), np.asarray(labels, np.int64)[chosen], test_start


def _cropped(digit, size, random):
    """Return a square of `size` pixels a side, cropped from the digit at a random place."""
    y, x = random.randint(0, DIGIT - size + 1, 2)
    return digit[y : y + size, x : x + size]


def _add(canvas, patch, place):
    """Add uint8 `patch` to the canvas with its upper left corner at `place` (y, x), clipped at white."""
    height, width = patch.shape
    part = canvas[place[0] : place[0] + height, place[1] : place[1] + width]
    part[:] = np.minimum(part.astype(np.uint16) + patch, 255)


# functions (digits, labels, test_start) -> (scenes, labels, test_start)
SCENES = {"cluttered": cluttered_digits, "sequence": digit_sequences}
