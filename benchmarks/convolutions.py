"""Time of a training step in the protocol `small` with torch's convolutions and with those of `training.convolutions`.

Run `python -m benchmarks.convolutions`; it writes benchmarks/convolutions/cpu.json. Both steps compute in float32 on
one thread. Processor time is measured, so that other programs on the machine hardly matter. Everything is measured
twice with new networks, because a second measurement can lie outside the quartiles of the first.
"""

import json
import time
from contextlib import nullcontext
from unittest.mock import patch

import torch

from stn_paper.models import build_model
from stn_paper.paths import BENCHMARKS
from stn_paper.training import batches, hardware, loop, optimizers
from stn_paper.training.spec import RunSpec, in_float32

from .measuring import machine, measure

BACKBONES = ("resnet18", "resnet50", "densenet121", "effb0", "effb3")
MEASUREMENTS, ROUNDS = 2, 5
TORCH, OURS = "torch", "ours"


def step(spec):
    """Return a call that makes one training step of the run on random images."""
    protocol = spec.protocol
    model = build_model(spec.backbone, spec.variant, 10, spec.image_size)
    model.to(memory_format=batches.MEMORY_FORMAT).train()
    optimizer = optimizers.make_optimizer(model, protocol)
    once = loop.training_step(model, protocol.precision)
    images = torch.rand(protocol.batch_size, 3, spec.image_size, spec.image_size)
    images = images.contiguous(memory_format=batches.MEMORY_FORMAT)
    labels = torch.randint(0, 10, (protocol.batch_size,))
    return lambda: once(optimizer, images, labels)


def compare(backbone, rounds=ROUNDS):
    """The rows of both steps of a network, measured in turns; `ratios` of ours is its speed by that of torch's."""
    call = step(in_float32(RunSpec("cifar10", backbone, "original", "small")))

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
