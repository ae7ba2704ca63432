"""Time of a training step of the digit CNN with and without its transformer; writes benchmarks/digits/cpu.json.

Run `python -m benchmarks.digit_steps`. The document that `notebooks/distorted_mnist` compares with says that an epoch
takes as long with the transformer as without. Processor time is measured, so that other programs on the machine hardly
matter.
"""

import json
import time

import numpy as np
import torch

from stn_paper.paths import BENCHMARKS
from stn_paper.training.spec import RunSpec

from .measuring import machine, significant
from .programs import step_on_noise

ROUNDS, STEPS = 15, 20
IMAGES = 50_000  # training images of an epoch


def measure(rounds=ROUNDS, steps=STEPS):
    """Measure the variants in turns: medians of the processor seconds of a step, and quartiles of their ratio."""
    specs = {variant: RunSpec("mnist-rts", "lenet", variant, "system") for variant in ("original", "stn")}
    calls = {variant: step_on_noise(spec) for variant, spec in specs.items()}
    taken = {variant: [] for variant in calls}
    for number in range(-1, rounds):  # the first round warms up
        for variant, call in calls.items():
            start = time.process_time()
            for _ in range(steps):
                call()
            if number >= 0:
                taken[variant].append((time.process_time() - start) / steps)
    ratio = np.array(taken["stn"]) / np.array(taken["original"])
    return {
        "seconds": {variant: significant(np.median(values)) for variant, values in taken.items()},
        "ratio": significant(np.percentile(ratio, (25, 50, 75))),
        "rounds": rounds,
        "steps": steps,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    batch = RunSpec("mnist-rts", "lenet", "stn", "system").protocol.batch_size
    found = {"machine": machine(torch.device("cpu")), "steps_an_epoch": -(-IMAGES // batch), **measure()}
    path = BENCHMARKS / "digits/cpu.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
