"""Compare training steps of the protocol `small`: with torch's convolutions, and with `training.convolutions`.

Run `python -m benchmarks.convolutions`; it writes benchmarks/convolutions/cpu.json. Both steps compute in float32 on
one thread. Processor time is measured, so that other programs on the machine hardly matter. Everything is measured
twice with new networks, because a second measurement can lie outside the quartiles of the first.
"""

import json
import time
from contextlib import nullcontext
from unittest.mock import patch

import torch

from stn_paper.paths import BENCHMARKS
from stn_paper.training import hardware
from stn_paper.training.spec import RunSpec, in_float32

from .measuring import machine, measure
from .programs import step_on_noise

BACKBONES = ("resnet18", "resnet50", "densenet121", "effb0", "effb3")
MEASUREMENTS, ROUNDS = 2, 5
TORCH, OURS = "torch", "ours"


def compare(backbone, rounds=ROUNDS):
    """Measure a network's step with both kinds of convolutions, in turns; return a row for each.

    `ratios` has the speed of the step, relative to the step with torch's convolutions.
    """
    call = step_on_noise(in_float32(RunSpec("cifar10", backbone, "original", "small")))

    def with_torch():
        with patch.object(hardware, "FastConvolutions", nullcontext):
            call()

    programs = {TORCH: with_torch, OURS: call}
    return measure(programs, torch.device("cpu"), [TORCH], rounds, clock=time.process_time)


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = [
        {"measurement": number, "backbone": backbone} | row
        for number in range(1, MEASUREMENTS + 1)
        for backbone in BACKBONES
        for row in compare(backbone)
    ]
    path = BENCHMARKS / "convolutions/cpu.json"
    path.parent.mkdir(exist_ok=True)
    content = {"machine": machine(torch.device("cpu")), "rows": rows}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
