"""Checkpoints: a run continued from its checkpoint gives the same results to the last bit."""

import io
from contextlib import contextmanager, suppress
from zipfile import ZipFile

import torch

from ..errors import UNREADABLE, InputError, is_from_handler
from ..paths import cache_dir, replace_file
from .hardware import is_memory_error
from .record_fields import STATE, first_wrong


def checkpoint_path(spec):
    """Return the path of the run's checkpoint, whether the file exists or not."""
    return cache_dir() / "checkpoints" / f"{spec.name}.pt"


def epochs_done(spec):
    """Number of epochs in the run's checkpoint; 0 if there is none or it cannot be read."""
    path = checkpoint_path(spec)
    if path.exists():
        with suppress(InputError), _reading(path):
            return len(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state"]["epochs"])
    return 0


@contextmanager
def _reading(path):
    """Context: check the file's checksums, and turn any error of reading the file into one InputError."""
    try:
        with ZipFile(path) as parts:  # torch writes a ZIP file, but does not check its checksums
            if damaged := parts.testzip():
                raise ValueError(damaged)
        yield
    except InputError:
        raise
    except UNREADABLE as error:
        if is_from_handler(error) or is_memory_error(error):
            raise
        raise InputError(f"Checkpoint {path} cannot be read: delete it to start anew.") from error


def save_checkpoint(spec, model, optimizer, state):
    """Write the checkpoint: weights, optimizer, random states, and the rows of the epochs so far."""
    rng = {"cpu": torch.get_rng_state()}
    if next(model.parameters()).is_cuda:
        rng["cuda"] = torch.cuda.get_rng_state()
    content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": rng, "state": state}
    # in memory first: while torch writes to a disk, it replaces the error that a signal's handler raises
    file = io.BytesIO()
    torch.save(content, file)
    with replace_file(checkpoint_path(spec)) as partial:
        partial.write_bytes(file.getbuffer())


def load_checkpoint(spec, model, optimizer, device, fingerprint):
    """Return the training state of the checkpoint, or the state of a new run if there is no checkpoint.

    Also loads the weights, the optimizer's state and the random states, and sets torch's number of threads to the
    checkpoint's. Raises InputError for a checkpoint that is damaged, of another run or of other images.
    """
    path = checkpoint_path(spec)
    if not path.exists():
        counts = {"seconds": 0.0, "train_seconds": 0.0, "train_images": 0, "resumed": 0}
        names = {"run": spec.name, "fingerprint": fingerprint, "threads": torch.get_num_threads()}
        return counts | names | {"epochs": [], "watched": None}
    with _reading(path):
        saved = torch.load(path, map_location="cpu", weights_only=True)
        state = saved["state"]
        if wrong := first_wrong(state, STATE):
            raise ValueError(wrong)
        if (run := state.get("run", spec.name)) != spec.name:
            raise InputError(f"Checkpoint {path} is of the run {run}: delete it to start anew.")
        if state["fingerprint"] != fingerprint:
            raise InputError(f"The images have changed since {path} was written: delete it to start anew.")
        for weights in (state.get("best", saved["model"]), saved["model"]):
            model.load_state_dict(weights)
        _load_optimizer(optimizer, saved["optimizer"])
        torch.set_rng_state(saved["rng"]["cpu"])
        if device.type == "cuda" and "cuda" in saved["rng"]:
            torch.cuda.set_rng_state(saved["rng"]["cuda"])
        # rounding depends on the number of threads
        torch.set_num_threads(state.get("threads", torch.get_num_threads()))
    return state | {"resumed": state["resumed"] + 1}


def _load_optimizer(optimizer, saved):
    """Load the optimizer's state; ValueError unless it fits these weights and settings."""
    groups = [dict(group) for group in optimizer.param_groups]
    optimizer.load_state_dict(saved)
    for group, own in zip(optimizer.param_groups, groups, strict=True):
        if _group_settings(group) != _group_settings(own):
            raise ValueError("settings of the optimizer")
        group.update(own)  # the checkpoint may hold equal settings of other types
    for weight, values in optimizer.state.items():
        if values == {"momentum_buffer": None}:  # SGD without momentum
            continue
        if set(values) != OPTIMIZER_STATES[type(optimizer)] or not all(
            _fits(*item, weight) for item in values.items()
        ):
            raise ValueError("state of the optimizer")
        for name in set(values) - {"step"}:  # torch's fused Adam needs the weight's memory layout
            values[name] = torch.empty_like(weight).copy_(values[name])


OPTIMIZER_STATES = {torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"}, torch.optim.SGD: {"momentum_buffer"}}


def _group_settings(group):
    """Return the settings of a parameter group except the learning rate, which the schedule sets before each step."""
    return {name: value for name, value in group.items() if name not in ("params", "lr")}


def _fits(name, value, weight):
    """Return whether the state `name` has the weight's shape; a wrong shape would make torch write out of bounds."""
    return value.is_floating_point() and value.shape == (() if name == "step" else weight.shape)
