"""Measure programs in turns: time, memory, and a description of the machine. All parts use `measure`."""

import gc
import json
import os
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from stn_paper.training import hardware

WARM = 3  # rounds that do not count, because their steps still request memory from the system


def measure(programs, device, baselines=(), rounds=5, steps=1, before=None, work=None, clock=None):
    """Time `programs`, {name: call}, in turn (A B C, C B A, A B C, ...); return a row for each.

    A round calls each program `steps` times and waits for the device before and after. The first WARM rounds (at most
    `rounds`) warm up and are not counted.

    - `before`: {name: call}; the call runs before each round of the program and is not timed.
    - `work`: {name: images or operations of a call}; 1 for other programs.
    - `clock`: the function that counts seconds, by default wall time. `time.thread_time` leaves out the time of other
      programs on the same processor.

    In a row, `seconds` a call and `rate`, work a second, are medians over the rounds. `ratios` has for each of
    `baselines` the program's rate divided by the baseline's: first quartile, median and third quartile over the rounds.
    """
    clock = clock or time.perf_counter
    before, work = before or {}, {name: 1 for name in programs} | (work or {})
    times = {name: [] for name in programs}
    warm = min(WARM, rounds)
    for number in range(warm + rounds):
        for name, call in list(programs.items())[:: -1 if number % 2 else 1]:
            if name in before:
                before[name]()
            synchronize(device, call)
            start = clock()
            for _ in range(steps):
                call()
            synchronize(device, call)
            times[name].append((clock() - start) / steps)
    rates = {name: work[name] / np.array(seconds[warm:]) for name, seconds in times.items()}
    return [
        {
            "program": name,
            "seconds": significant(work[name] / np.median(rate)),
            "rate": significant(np.median(rate)),
            "ratios": {b: significant(np.percentile(rate / rates[b], (25, 50, 75))) for b in baselines},
            "work": work[name],
            "rounds": rounds,
            "steps": steps,
        }
        for name, rate in rates.items()
    ]


def significant(values):
    """Round a number, or a list of numbers, to four significant digits for JSON."""
    if np.ndim(values):
        return [significant(value) for value in values]
    return float(f"{values:.4g}")


def synchronize(device, call=None):
    """Wait until a GPU has finished the work of this process and of `call`'s process, see `in_own_process`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        getattr(call, "wait", lambda: None)()


def fresh(device):
    """Drop compiled networks and cached memory, so that a measurement does not influence the next."""
    torch.compiler.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def peak_memory(call, device):
    """Peak MiB of torch's memory during a call, minus the memory in use before."""
    call()
    if device.type == "cuda":
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before_call = torch.cuda.memory_allocated(device)
        call()
        synchronize(device)
        return significant((torch.cuda.max_memory_allocated(device) - before_call) / 2**20)
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(trace))
        events = [
            e
            for e in json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
            if e.get("name") == "[memory]"
        ]
    changes = [e["args"]["Bytes"] for e in sorted(events, key=lambda e: e["ts"])]
    return significant(max(np.cumsum(changes), default=0) / 2**20)


def commit():
    """The commit of the package and of the benchmarks, and whether either has uncommitted changes."""
    return hardware.current_commit("benchmarks/*.py")


def machine(device):
    """Describe the machine: names, cores, threads, versions of packages, and the commit."""
    return {
        "name": hardware.device_name(device),
        "processor": hardware.device_name(torch.device("cpu")),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        **{name: version(name) for name in ("torch", "torchvision", "timm")},
        "commit": commit(),
    }


def cores():
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
