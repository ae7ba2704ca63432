"""Crops of the same photograph: the images of Caltech-101's class Faces_easy are parts of the images of Faces.

`copy_search` cannot find cropped copies. These classes are compared by the names of their files.
"""

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d, conv2d

CROPS = ("Faces", "Faces_easy")  # photographs, and parts of them under the same file name
CROP_HEIGHT = 48  # pixels of a compared photograph's height


def best_correlation(photo, part):
    """Highest correlation, in grey, of the image `part` with any region of the same size of the image `photo`.

    Both are PIL images at the same scale. They are compared at a scale at which `photo` is CROP_HEIGHT pixels high.
    """
    scale = CROP_HEIGHT / photo.height
    whole, piece = (_grey_tensor(image, scale) for image in (photo, part))
    piece = piece[..., : whole.shape[-2], : whole.shape[-1]]
    size = piece.shape[-2:]
    piece = (piece - piece.mean()) / piece.std(correction=0).clamp(min=1e-3)
    mean, square = (avg_pool2d(values, size, 1) for values in (whole, whole**2))
    products = conv2d(whole, piece) / piece.numel()
    return (products / (square - mean**2).clamp(min=1e-6).sqrt()).max().item()


def _grey(path):
    with Image.open(path) as image:
        return image.convert("L")


def _grey_tensor(image, scale):
    size = [max(1, round(side * scale)) for side in image.size]
    grey = np.asarray(image.convert("L").resize(size, Image.Resampling.BILINEAR), np.float32) / 255
    return torch.from_numpy(grey)[None, None]


def count_crops(name, listing, compared):
    """One row on the photographs that are complete in `Faces` and cropped in `Faces_easy`.

    `pairs`: number of photographs. `lowest`, `median`: correlation of a crop with the photograph of the same file name.
    `others`: median correlation with the photograph of the next file name. `test`: number of test images of the two
    classes. `in_training`: number of these test images whose photograph is in training under the other class.
    """
    index_of = {
        (path.parent.name, path.name): i for i, path in enumerate(listing.items) if path.parent.name in CROPS
    }
    names = sorted({file for _, file in index_of})
    photos, parts = ([_grey(listing.items[index_of[c, file]]) for file in names] for c in CROPS)
    own = [best_correlation(photo, part) for photo, part in zip(photos, parts)]
    others = [best_correlation(photo, part) for photo, part in zip(photos[1:] + photos[:1], parts)]
    partner = {i: index_of[CROPS[1 - CROPS.index(c)], file] for (c, file), i in index_of.items()}
    tested = [i for i in compared.split.test if i in partner]
    train = set(compared.split.train.tolist())
    row = {
        "dataset": name,
        "pairs": len(names),
        "lowest": round(min(own), 3),
        "median": round(float(np.median(own)), 3),
        "others": round(float(np.median(others)), 3),
        "test": len(tested),
        "in_training": sum(partner[i] in train for i in tested),
    }
    return pd.DataFrame([row])
