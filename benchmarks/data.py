"""Time of loading a batch from image files, from the cache and from memory, as a share of a training step."""

import os
from functools import partial

from stn_paper.data.datasets import DATASETS

from . import files
from .measuring import measure, significant
from .programs import batches, ours


def run(setting):
    """Yield a row for each source of batches. Its share of a training step is 1 divided by its ratio to `step`.

    `epoch_seconds` is for all training images of the dataset, computed from the seconds of a batch.
    """
    sizes = setting.sizes
    size, batch = setting.image_size(sizes.single), sizes.batches[sizes.single]
    given = {
        "cold files": files.from_files(setting, size, batch),
        "files": files.from_files(setting, size, batch),
        "cache": batches(setting, size, batch, place=lambda images, device: images),
        "memory": batches(setting, size, batch, place=lambda images, device: images.to(device, copy=True)),
    }
    if not hasattr(os, "posix_fadvise"):  # the system cannot drop files from its memory
        del given["cold files"]
    calls = {name: partial(next, source) for name, source in given.items()}
    calls["step"] = ours(setting, sizes.single, "original", batch)
    folder = files.folder_of(setting, files.round_of(setting) * batch)
    warm_up_calls = {name: calls[name] for name in calls if "files" in name and files.workers(setting)}

    def cold():
        files.forget(folder)
        warm_up_calls.get("cold files", int)()

    before = warm_up_calls | ({"cold files": cold} if "cold files" in calls else {})
    work = dict.fromkeys(calls, batch)
    rows = measure(calls, setting.device, ["step"], sizes.rounds, sizes.steps, before, work)
    images = DATASETS[files.DATASET].splits["train"]
    for row in rows:
        row |= {"batch": batch, "epoch_images": images, "epoch_seconds": significant(images / row["rate"])}
    yield {"backbone": sizes.single, "images": files.source(setting.folder)[1], "rows": rows}
