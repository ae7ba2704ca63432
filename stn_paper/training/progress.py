"""The progress bar of a training, in a terminal or in Jupyter."""

import os
import sys

from tqdm import tqdm


def progress_bar(spec, done, images):
    """Return a progress bar that counts the images of all epochs.

    `done` is the number of images trained so far, `images` the number of images in an epoch. The bar is hidden under
    papermill and when the output is not a terminal.
    """
    in_jupyter = "ipykernel" in sys.modules and "JPY_SESSION_NAME" in os.environ  # Jupyter's server sets it
    quiet = not (in_jupyter or sys.stderr.isatty())
    total, name = spec.protocol.max_epochs * images, f"{spec.backbone} {spec.variant} seed {spec.seed}"
    return tqdm(total=total, initial=done, desc=name, unit=" images", leave=False, disable=quiet)
