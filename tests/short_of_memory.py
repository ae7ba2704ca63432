"""A program that runs out of memory; the process of `benchmarks.programs.in_own_process` imports this module."""

from itertools import count

import torch


def short_of_memory_at_step(last):
    """Return a step that raises an out-of-memory error in call number `last` and succeeds in all other calls."""
    steps = count(1)

    def call():
        if (step := next(steps)) == last:
            raise torch.OutOfMemoryError(f"step {step}")

    return call
