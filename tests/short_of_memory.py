"""A program for `benchmarks.programs.elsewhere`, in its own module, because a process imports this module."""

from itertools import count

import torch


def short_of_memory_at_step(last):
    """A step that succeeds in every call except one, which raises an error of too little memory."""
    steps = count(1)

    def call():
        if (step := next(steps)) == last:
            raise torch.OutOfMemoryError(f"step {step}")

    return call
