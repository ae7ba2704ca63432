"""Images a second in training: our step against the authors' loop and against timm's."""

import torch

from . import files
from .measuring import fresh, measure
from .programs import batches, elsewhere, ours, plain, timm_batches, timm_step

VARIANTS = ("original", "lstn")
PLAIN = "plain"


def run(setting):
    """Rows of all programs at the paper's batch size, and at our best where that is another one."""
    rows = []
    for backbone, paper in setting.sizes.batches.items():
        best, searched = _best_batch(setting, backbone)
        for batch in dict.fromkeys((paper, best)):
            for variant in VARIANTS:
                shared = {
                    "backbone": backbone,
                    "variant": variant,
                    "image_size": setting.image_size(backbone),
                    "batch": batch,
                    "paper": batch == paper,
                    "best": batch == best,
                    "searched": searched,
                }
                with elsewhere(plain, setting, backbone, variant, batch) as authors:
                    for mode in setting.sizes.modes:
                        if mode[1] and not (batch == paper or setting.cuda):
                            continue  # a CPU compiles for minutes
                        found = _compare(setting, backbone, variant, batch, mode, authors)
                        rows += [shared | {"mode": name("", *mode).strip()} | row for row in found]
    return {"images": files.source(setting.folder)[1], "workers": files.workers(setting), "rows": rows}


def name(loop, precision, compiled):
    """How a row calls a program, such as "ours bfloat16 compiled"."""
    return f"{loop} {precision}{' compiled' * compiled}"


def _best_batch(setting, backbone):
    """The batch size at which our step takes the fewest seconds an image, and {size: images a second}."""
    found, sizes = {}, setting.sizes
    for batch in sorted({*sizes.others, sizes.batches[backbone]}):
        fresh(setting.device)
        try:
            call = {"ours": ours(setting, backbone, "original", batch)}
            (row,) = measure(call, setting.device, rounds=2, steps=sizes.steps, work={"ours": batch})
        except RuntimeError as error:
            if not _short_of_memory(error):
                raise
            break
        found[batch] = row["rate"]
    return max(found, key=found.get), found


def _compare(setting, backbone, variant, batch, mode, authors):
    """Rows of the programs of one mode, which take turns; CUDA graphs of more would fill the memory."""
    fresh(setting.device)
    size, what = setting.image_size(backbone), (setting, backbone, variant)
    mine, theirs, loaded = (name(loop, *mode) for loop in ("ours", "timm", "timm loader"))
    try:
        programs = {
            PLAIN: authors,
            mine: ours(*what, batch, *mode),
            theirs: timm_step(*what, batches(setting, size, batch), *mode),
        }
        if setting.cuda:
            programs[loaded] = timm_step(*what, timm_batches(setting, size, batch), *mode)
        return measure(
            programs,
            setting.device,
            [program for program in programs if program != mine],
            setting.sizes.rounds,
            setting.sizes.steps,
            before={p: programs[p] for p in (PLAIN, loaded) if p in programs and files.workers(setting)},
            work=dict.fromkeys(programs, batch),
        )
    except RuntimeError as error:
        if not _short_of_memory(error):
            raise
        return [{"program": mine, "failed": "out of memory"}]


def _short_of_memory(error):
    """Whether torch raised this because memory is short, on a CPU or a GPU."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
