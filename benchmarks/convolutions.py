"""Compare training steps of the protocol `small`: with torch's convolutions, and with `training.convolutions`.

Run `python -m benchmarks.convolutions`; it writes benchmarks/convolutions/cpu.json. Both steps compute on one thread,
in float32 and, on a processor that is fast in it, in bfloat16. Processor time is measured, so that other programs on
the machine hardly matter. Everything is measured twice with new networks, because a second measurement can lie outside
the quartiles of the first.
"""

import json
import time
from contextlib import nullcontext
from itertools import product
from unittest.mock import patch

import torch

from stn_paper.paths import BENCHMARKS
from stn_paper.training import hardware
from stn_paper.training.spec import RunSpec, with_precision

from .measuring import machine, measure
from .programs import step_on_noise

NETWORKS = (  # backbone and variant
    *((backbone, "original") for backbone in ("resnet18", "resnet50", "densenet121", "effb0", "effb3")),
    *((backbone, "lstn") for backbone in ("resnet50", "effb0")),
)
MEASUREMENTS, ROUNDS = 2, 5
TORCH, OURS = "torch", "ours"


def compare(backbone, variant="original", precision="float32", rounds=ROUNDS):
    """Measure a network's step with both kinds of convolutions, in turns; return a row for each.

    `ratios` has the speed of the step, relative to the step with torch's convolutions.
    """
    call = step_on_noise(with_precision(RunSpec("cifar10", backbone, variant, "small"), precision))

    def with_torch():
        with patch.object(hardware, "FastConvolutions", nullcontext):
            call()

    programs = {TORCH: with_torch, OURS: call}
    return measure(programs, torch.device("cpu"), [TORCH], rounds, clock=time.process_time)


if __name__ == "__main__":
    torch.set_num_threads(1)
    device = torch.device("cpu")
    precisions = ["float32", "bfloat16"] if hardware.is_fast_in_bfloat16(device) else ["float32"]
    rows = [
        {"measurement": number, "backbone": backbone, "variant": variant, "precision": precision} | row
        for number, (backbone, variant), precision in product(
            range(1, MEASUREMENTS + 1), NETWORKS, precisions
        )
        for row in compare(backbone, variant, precision)
    ]
    path = BENCHMARKS / "convolutions/cpu.json"
    path.parent.mkdir(exist_ok=True)
    content = {"machine": machine(device), "rows": rows}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
