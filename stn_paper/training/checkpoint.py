"""Checkpoints: what an unfinished run goes on from."""

from contextlib import contextmanager, suppress
from zipfile import ZipFile

import torch

from ..errors import InputError
from ..paths import cache_dir, replacing


def path_of(spec):
    """The file that an unfinished run goes on from."""
    return cache_dir() / "checkpoints" / f"{spec.name}.pt"


def epochs_done(spec):
    """How many epochs the checkpoint of an unfinished run holds; 0 of one that the run itself cannot read."""
    path = path_of(spec)
    if path.exists():
        with suppress(InputError), _reading(path):
            return len(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state"]["epochs"])
    return 0


@contextmanager
def _reading(path):
    """Turn what is wrong with a corrupt checkpoint into one InputError; its checksums are compared first."""
    try:
        with ZipFile(path) as parts:  # torch writes a ZIP file, and reads it without looking at its checksums
            if damaged := parts.testzip():
                raise ValueError(damaged)
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of many kinds
        raise InputError(f"Checkpoint {path} cannot be read: delete it to start anew.") from error


def save(spec, model, optimizer, state):
    """Write all that the run needs to go on: weights, optimizer, random streams, and the epochs so far."""
    rng = {"cpu": torch.get_rng_state()}
    if next(model.parameters()).is_cuda:
        rng["cuda"] = torch.cuda.get_rng_state()
    content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": rng, "state": state}
    with replacing(path_of(spec)) as partial, partial.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch's word for a write that failed
            raise OSError("the disk may be full") from error


def load(spec, model, optimizer, device, fingerprint):
    """The state to start from: the checkpoint's, or an empty one. InputError if it cannot be gone on with."""
    path = path_of(spec)
    if not path.exists():
        counts = {"seconds": 0.0, "train_seconds": 0.0, "train_images": 0, "resumed": 0}
        names = {"run": spec.name, "fingerprint": fingerprint, "threads": torch.get_num_threads()}
        return counts | names | {"epochs": [], "watched": None}
    with _reading(path):
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if (run := saved["state"].get("run", spec.name)) != spec.name:
            raise InputError(f"Checkpoint {path} is of the run {run}: delete it to start anew.")
        if saved["state"]["fingerprint"] != fingerprint:
            raise InputError(f"The images have changed since {path} was written: delete it to start anew.")
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["rng"]["cpu"])
        for group in optimizer.param_groups:
            if device.type == "cuda":
                group["lr"] = torch.as_tensor(group["lr"], device=device)
        threads = saved["state"].get("threads", torch.get_num_threads())
        torch.set_num_threads(threads)  # each number of them rounds in its own way
        if device.type == "cuda" and "cuda" in saved["rng"]:
            torch.cuda.set_rng_state(saved["rng"]["cuda"])
        saved["state"]["resumed"] += 1
    return saved["state"]
