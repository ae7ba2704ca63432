"""A program for `benchmarks.programs.elsewhere`, apart from tests, as its process imports what is here."""

from itertools import count

import torch


def short_of_memory_at_step(last):
    """A call of one step that takes all steps but this one."""
    steps = count(1)

    def call():
        if (step := next(steps)) == last:
            raise torch.OutOfMemoryError(f"step {step}")

    return call
