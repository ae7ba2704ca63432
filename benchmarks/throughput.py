"""Images a second in training: our step against the author's loop and against timm's."""

import sys
from contextlib import ExitStack
from itertools import product

from stn_paper.paths import AUTHORS_LOOP
from stn_paper.training import hardware

from . import files
from .measuring import fresh, measure
from .programs import in_own_process, ours, plain, timm_step

VARIANTS = ("original", "lstn")


def run(setting):
    """Yield rows of all programs at the paper's batch size, and at our best batch size if it differs.

    All rows so far are yielded after each network, batch size and variant, because all together take long.
    """
    rows = list(setting.rows)
    for backbone, paper in setting.sizes.batches.items():
        measured = [row for row in rows if row["backbone"] == backbone]
        rate_by_batch_size = measured[0]["searched"] if measured else _rate_by_batch_size(setting, backbone)
        if not rate_by_batch_size:
            print(f"{backbone}: no batch size fits into memory.", file=sys.stderr, flush=True)
            continue
        best = int(max(rate_by_batch_size, key=rate_by_batch_size.get))
        for batch, variant in product(dict.fromkeys((paper, best)), VARIANTS):
            if any((row["batch"], row["variant"]) == (batch, variant) for row in measured):
                continue
            shared = {
                "backbone": backbone,
                "variant": variant,
                "image_size": setting.image_size(backbone),
                "batch": batch,
                "paper": batch == paper,
                "best": batch == best,
                "searched": rate_by_batch_size,
            }
            with in_own_process(plain, setting, backbone, variant, batch) as authors_loop:
                for mode in setting.sizes.modes:
                    if mode[1] and not (batch == paper or setting.cuda):
                        continue  # a CPU compiles for minutes
                    found = _compare(setting, backbone, variant, batch, mode, authors_loop)
                    rows += [shared | {"mode": name("", *mode).strip()} | row for row in found]
            images = files.source(setting.folder)[1]
            yield {"images": images, "workers": files.workers(setting), "rows": rows}


def name(loop, precision, compiled):
    """The name of a program in a row, such as "ours bfloat16 compiled"."""
    return f"{loop} {precision}{' compiled' * compiled}"


def _rate_by_batch_size(setting, backbone):
    """{batch size: our images a second}, for each batch size that fits into memory."""
    found, sizes = {}, setting.sizes
    for batch in sorted({*sizes.others, sizes.batches[backbone]}):
        fresh(setting.device)
        try:
            call = {"ours": ours(setting, backbone, "original", batch)}
            (row,) = measure(call, setting.device, rounds=2, steps=sizes.steps, work={"ours": batch})
        except RuntimeError as error:
            if not hardware.is_memory_error(error):
                raise
            break
        found[batch] = row["rate"]
    return found


def _compare(setting, backbone, variant, batch, mode, authors_loop):
    """Rows of the programs of one mode, measured in turns; the CUDA graphs of several modes would fill the memory."""
    fresh(setting.device)
    arguments = setting, backbone, variant, batch
    mine, theirs, loaded = (name(loop, *mode) for loop in ("ours", "timm", "timm loader"))
    with ExitStack() as stack:
        try:
            programs = {AUTHORS_LOOP: authors_loop, mine: ours(*arguments, *mode)}
            programs[theirs] = stack.enter_context(in_own_process(timm_step, *arguments, *mode))
            if setting.cuda:
                programs[loaded] = stack.enter_context(in_own_process(timm_step, *arguments, *mode, True))
            return measure(
                programs,
                setting.device,
                [program for program in programs if program != mine],
                setting.sizes.rounds,
                setting.sizes.steps,
                before={
                    p: programs[p] for p in (AUTHORS_LOOP, loaded) if p in programs and files.workers(setting)
                },
                work=dict.fromkeys(programs, batch),
            )
        except RuntimeError as error:
            if not hardware.is_memory_error(error):
                raise
            failed = {"plain": AUTHORS_LOOP, "timm_step": theirs}.get(getattr(error, "program", ""), mine)
            return [{"program": failed, "failed": "out of memory"}]
