"""Pictures of figures as notebooks keep them."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from stn_paper.report import figures


def picture(pixels):
    figure, axis = plt.subplots(figsize=(4, 3), dpi=110)
    axis.imshow(pixels)
    figure.savefig(file := io.BytesIO(), format="png")
    plt.close(figure)
    return base64.b64encode(file.getvalue()).decode()


def test_a_drawing_gets_smaller_and_keeps_its_look():
    drawing = picture(np.eye(5))
    small = figures.small_png(drawing)
    before, after = (Image.open(io.BytesIO(base64.b64decode(p))).convert("RGB") for p in (drawing, small))
    assert len(small) < 0.6 * len(drawing)
    assert np.abs(np.asarray(before, float) - np.asarray(after, float)).mean() < 0.5


def test_a_photograph_keeps_all_its_colours():
    photograph = picture(np.random.default_rng(0).random((100, 100, 3)))
    assert figures.small_png(photograph) == photograph
