"""Time of a training step of the digit CNN with and without its transformer; writes benchmarks/digits/cpu.json.

Run `python -m benchmarks.digit_steps`. The document that `notebooks/distorted_mnist` compares with says that an epoch
takes as long with the transformer as without. Processor time is measured, so that other programs on the machine hardly
matter.
"""

import json
import time

import torch

from stn_paper.data.datasets import DATASETS
from stn_paper.paths import BENCHMARKS
from stn_paper.training.spec import RunSpec

from .measuring import machine, measure
from .programs import step_on_noise

ROUNDS, STEPS = 15, 20


def compare(rounds=ROUNDS, steps=STEPS):
    """Measure the variants in turns: medians of the processor seconds of a step, and quartiles of their ratio."""
    specs = {variant: RunSpec("mnist-rts", "lenet", variant, "system") for variant in ("original", "stn")}
    calls = {variant: step_on_noise(spec) for variant, spec in specs.items()}
    rows = measure(calls, torch.device("cpu"), ["stn"], rounds, steps, clock=time.process_time)
    found = {row["program"]: row for row in rows}
    return {
        "seconds": {variant: row["seconds"] for variant, row in found.items()},
        "ratio": found["original"]["ratios"]["stn"],  # STN's seconds / the original's seconds
        "rounds": rounds,
        "steps": steps,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    batch = RunSpec("mnist-rts", "lenet", "stn", "system").protocol.batch_size
    images = DATASETS["mnist-rts"].splits["train"]
    found = {"machine": machine(torch.device("cpu")), "steps_an_epoch": -(-images // batch), **compare()}
    path = BENCHMARKS / "digits/cpu.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
