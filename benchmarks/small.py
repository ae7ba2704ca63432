"""Small batches: compiled steps, and several runs that share one device."""

import torch

from stn_paper.data.datasets import DATASETS
from stn_paper.training.presets import preset

from . import files
from .measuring import fresh, measure, synchronize
from .programs import PROCESSES, ours
from .throughput import name

PATIENCE = 600  # seconds that a process waits for the others at the start


def run(setting):
    """Yield `rows`, our step eager and compiled at small batches, and `sharing`, processes on one device.

    `run_images` is the number of training images of a run, here of the protocol `equal` on Caltech-101.
    """
    epochs = preset("equal", files.DATASET, "lstn").max_epochs
    yield {
        "rows": [row for batch in setting.sizes.small for row in _compiled(setting, batch)],
        "sharing": _sharing(setting, setting.sizes.small[0]),
        "run_images": epochs * DATASETS[files.DATASET].splits["train"],
        "run_is": f"{epochs} epochs of {DATASETS[files.DATASET].title}'s training images, without evaluation",
    }


def _compiled(setting, batch):
    fresh(setting.device)
    backbone, sizes = setting.sizes.single, setting.sizes
    modes = [("tf32", False), ("tf32", True)]
    calls = {name("ours", *mode): ours(setting, backbone, "lstn", batch, *mode) for mode in modes}
    work, eager = dict.fromkeys(calls, batch), name("ours", *modes[0])
    rows = measure(calls, setting.device, [eager], sizes.rounds, sizes.steps, work=work)
    return [{"backbone": backbone, "variant": "lstn", "batch": batch} | row for row in rows]


def _sharing(setting, batch):
    """Measure the total images a second of 1, 2, ... processes that train at the same time: a row for each number.

    All processes exist during the whole measurement; the unused ones wait. On a CPU they share the threads.
    """
    fresh(setting.device)
    files.cached(setting, setting.image_size(setting.sizes.single))  # decode once, before the processes start
    numbers = setting.sizes.sharing
    barriers = {n: PROCESSES.Barrier(n, timeout=PATIENCE) for n in numbers}
    pipes, processes = [], []
    try:
        for _ in range(max(numbers)):
            ours_end, theirs = PROCESSES.Pipe()
            process = PROCESSES.Process(target=_worker, args=(setting, batch, barriers, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours_end)
            processes.append(process)
        calls = {str(n): _together(pipes[:n]) for n in numbers}
        steps = setting.sizes.steps
        work = {str(n): n * batch * steps for n in numbers}
        rows = measure(calls, setting.device, [str(numbers[0])], setting.sizes.rounds, 1, work=work)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(10)
            process.kill()
    shared = {"backbone": setting.sizes.single, "variant": "lstn", "batch": batch, "steps_each": steps}
    return [shared | row | {"processes": int(row["program"])} for row in rows]


def _together(pipes):
    """Return a call in which the processes at these pipes make their steps at the same time."""

    def call():
        for pipe in pipes:
            pipe.send(len(pipes))
        for pipe in pipes:
            pipe.recv()  # EOFError if a process has died

    return call


def _worker(setting, batch, barriers, pipe):
    """Make `sizes.steps` steps for each number of processes received through the pipe, until it closes."""
    step, threads = ours(setting, setting.sizes.single, "lstn", batch), torch.get_num_threads()
    try:
        while number := pipe.recv():
            torch.set_num_threads(max(1, threads // number))
            barriers[number].wait()
            for _ in range(setting.sizes.steps):
                step()
            synchronize(setting.device)
            pipe.send(number)
    except EOFError:
        return
