"""Training steps in the protocol `small`: our step against other loops, and the time that a transformer adds.

Our step is measured at the protocol's precision and in float32. The author's loop computes in float32, the other loops
at the protocol's precision. On a CPU all programs use one thread, because each core trains one run of this protocol.
Everything is measured several times with new networks and processes, because a second measurement can lie outside the
quartiles of the first.
"""

from contextlib import ExitStack
from importlib.util import find_spec

import torch

from stn_paper.models import VARIANTS
from stn_paper.paths import AUTHORS_LOOP, IN_FLOAT32
from stn_paper.training.presets import preset

from . import files, limit
from .measuring import fresh, measure
from .programs import in_own_process, lightning, ours, plain, timm_step, tuned
from .throughput import VARIANTS as COMPARED
from .transformer import MORE

PROGRAMS = {"timm": timm_step, "tuned": tuned}
if find_spec("pytorch_lightning"):  # not a requirement of the package
    PROGRAMS["lightning"] = lightning
PROTOCOL = preset("small", files.DATASET, "original")


def run(setting):
    """Yield `rows` of all programs, `variants` (our step of each variant, with `flops`) and `peaks` of the machine.

    Each row has the number of its measurement. Lightning is left out if it is not installed.
    """
    sizes = setting.sizes
    batch, image_size = PROTOCOL.batch_size, sizes.image_size or PROTOCOL.image_size
    setting = setting._replace(sizes=sizes._replace(image_size=image_size))
    results = {"rows": [], "variants": [], "peaks": []}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for number in range(1, sizes.measurements + 1):
            for backbone in sizes.compared:
                shared = {
                    "measurement": number,
                    "backbone": backbone,
                    "batch": batch,
                    "image_size": image_size,
                    "precision": PROTOCOL.precision,
                }
                results["variants"] += [shared | row for row in _variants(setting, backbone, batch)]
                for variant in COMPARED:
                    rows = _programs(setting, backbone, variant, batch)
                    results["rows"] += [shared | {"variant": variant} | row for row in rows]
            results["peaks"] += [{"measurement": number} | row for row in limit.peaks(setting)]
            yield {"images": files.source(setting.folder)[1], **results}
    finally:
        torch.set_num_threads(threads)


def _programs(setting, backbone, variant, batch):
    fresh(setting.device)
    sizes, arguments = setting.sizes, (setting, backbone, variant, batch)
    with ExitStack() as stack:
        calls = {"ours": ours(*arguments, PROTOCOL.precision), IN_FLOAT32: ours(*arguments, "float32")}
        calls[AUTHORS_LOOP] = stack.enter_context(in_own_process(plain, *arguments))
        for name, program in PROGRAMS.items():
            calls[name] = stack.enter_context(in_own_process(program, *arguments, PROTOCOL.precision))
        work = dict.fromkeys(calls, batch)
        return measure(calls, setting.device, list(calls)[1:], sizes.rounds, sizes.steps, work=work)


def _variants(setting, backbone, batch):
    """Rows of our step of each variant, with its operations and its ratio to the original's step."""
    fresh(setting.device)
    steps = {variant: ours(setting, backbone, variant, batch, PROTOCOL.precision) for variant in VARIANTS}
    counts = {variant: limit.count(call) for variant, call in steps.items()}
    rows = measure(steps, setting.device, ["original"], MORE * setting.sizes.rounds, setting.sizes.steps)
    return [row | {"variant": row["program"]} | counts[row["program"]] for row in rows]
