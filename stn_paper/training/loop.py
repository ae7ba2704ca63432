"""The training loop: train, validate, stop early, test, record. `run` is the entry.

One run trains one network on one split and writes one record. Its settings are the `Protocol` of its `RunSpec`.
"""

import logging
import math
import time
from contextlib import nullcontext, suppress
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..data import datasets
from ..errors import InputError
from ..models import ORIGINAL
from ..paths import check_writable, lock_file, remove_partials
from . import batches, checkpoint, diagnostics, examples, hardware, kept, records
from .cuda_graphs import record_step
from .early_stopping import stop_reason
from .evaluation import check_finite, evaluate, percent_true
from .hardware import name_memory_error, restore_torch, training_stream
from .networks import build_network, check_networks
from .optimizers import InMemoryOrder, make_optimizer, set_rate
from .progress import progress_bar
from .protocol import BEST_VALIDATION
from .record_fields import PARTLY
from .spec import RunSpec

log = logging.getLogger(__name__)


class Job(NamedTuple):
    """The parts of a run that stay the same from epoch to epoch."""

    spec: object
    model: torch.nn.Module
    data: datasets.Images
    split: datasets.Split
    device: torch.device
    batches: object  # indices, batch size -> (images, labels) batches on the device


def run(
    spec: RunSpec,
    device: str | torch.device = "auto",
    data_dir: str | PathLike | None = None,
    compiled: bool = False,
    until: float = math.inf,
    data: datasets.Images | None = None,
    save_every: float = 0.0,
    whole: bool = False,
    weights: str | PathLike | None = None,
) -> dict | None:
    """Train `spec` unless its record exists; return the record. A killed run continues from its checkpoint.

    - `device`: "auto" is CUDA if there is a GPU, else the CPU.
    - `data_dir`: the folder of the datasets; None is `paths.data_dir()`.
    - `compiled`: train through torch.compile, which is faster if steps are many and small; the record says so.
      Without it, a step on CUDA is recorded as a CUDA graph.
    - `until`: the deadline, in seconds since 1970 as `time.time()` gives them. If the next epoch (with `whole`, the
      last epoch) would end after it, the run is left at a checkpoint and None is returned.
    - `data`: the dataset's Images at `datasets.stored_size` of the run, if they are loaded already.
    - `save_every`: the least seconds of training between two checkpoints.
    - `whole`: see `until`.
    - `weights`: a .safetensors file to write the trained weights to, of large networks in float16
      (`kept.save_weights`); None keeps only those of `kept.NETWORKS`.

    If another process trains the same run, this process waits and returns the same record. Raises InputError before
    any training for a wrong device, images too small for the network, `data` of another size, an incomplete dataset, a
    folder that cannot be written, an unusable checkpoint, `weights` of a run that has a record already, or another
    process that still trains the run at `until`; later for a loss or theta that is not finite, and for a full memory or
    disk. Source: paper section 4.2.

    >>> run(RunSpec("digits", "mnist-cnn", "lstn", "system"))["parameters"]
    74940
    """
    path, weights = checkpoint.checkpoint_path(spec), weights if weights is None else Path(weights)
    if weights is not None and weights.is_dir():  # Path("") is a folder too
        raise InputError(
            f"weights {str(weights)!r} is not allowed: give the name of a file, not of a folder."
        )
    if (found := _find(spec, weights)) is not None:
        with suppress(OSError):  # a checkpoint is left if the process was killed after it wrote the record
            path.unlink(missing_ok=True)
        return found
    place = hardware.check_device(device)
    check_networks([spec])
    for file in filter(None, (records.record_path(spec), path, weights)):
        check_writable(file.parent)
    with name_memory_error(spec), restore_torch(), training_stream(place), lock_file(path, until):
        remove_partials(records.record_path(spec))
        found = _find(spec, weights)
        return found or _train(spec, place, data_dir, compiled, until, data, save_every, whole, weights)


def _find(spec, weights):
    """Return the run's record or None; raise InputError if there is a record, but not the file of weights asked for."""
    found = records.find(spec)
    if found is not None and weights is not None and not weights.exists():
        raise InputError(
            f"{weights} cannot be written: {spec.name} has a record, and its weights were not kept."
        )
    return found


def _train(spec, device, data_dir, compiled, until, data, save_every, whole, weights):
    """Train the run, from its checkpoint where it has one, and write its record; None if the time is up first."""
    protocol, about = spec.protocol, {"commit": hardware.current_commit(), "started": records.utc_now()}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)  # an earlier run of this process may have a higher peak
    data = batches.load_run_images(spec, data_dir, until) if data is None else batches.check_size(spec, data)
    split = datasets.split(spec.dataset, data, protocol.split_seed, **protocol.limits)
    torch.manual_seed(spec.seed)  # variants with the same seed share the backbone's first weights
    model = build_network(spec, len(data.classes), device)
    train_step = training_step(model, protocol.precision, compiled)
    if device.type == "cuda" and not compiled:
        train_step = record_step(train_step)
    optimizer = make_optimizer(model, protocol)
    torch.manual_seed(spec.seed)  # variants with the same seed also share dropout's random numbers
    state = checkpoint.load_checkpoint(spec, model, optimizer, device, data.fingerprint)
    if state.setdefault("compiled", compiled) != compiled:
        state["compiled"] = PARTLY
    about["compiled"] = state["compiled"]
    data = data._replace(images=batches.keep_on_device(data.images, device))
    batch_maker = batches.batches_of(data, device, protocol.normalization, spec.image_size)
    job = Job(spec, model, data, split, device, batch_maker)
    saved = state["seconds"]
    with progress_bar(spec, state["train_images"], len(split.train)) as bar:
        while not (stopped := stop_reason(state["epochs"], protocol)):
            done, unsaved = len(state["epochs"]), state["seconds"] - saved
            epoch_seconds, epochs_left = state["seconds"] / max(done, 1), protocol.max_epochs - done
            seconds_left = epoch_seconds * epochs_left
            late = time.time() + (seconds_left if whole and done else epoch_seconds) > until
            if unsaved and (late or unsaved >= save_every):
                checkpoint.save_checkpoint(spec, model, optimizer, state)
                saved = state["seconds"]
            if late:
                log.info(
                    "%s: stopped; %d more epochs take about %.0f s", spec.name, epochs_left, seconds_left
                )
                return None
            _one_epoch(job, train_step, optimizer, state, bar)
    if state["seconds"] > saved:
        # what follows can fail, for example without one of the packages that it needs
        checkpoint.save_checkpoint(spec, model, optimizer, state)
    results = examples.collect_results(job, state)
    if weights := weights or kept.weights_path_to_keep(spec):
        results["weights"] = kept.save_weights(model, weights, spec.name)
    records.write_record(spec, records.new_record(job, state, stopped, about, results))
    checkpoint.checkpoint_path(spec).unlink(missing_ok=True)
    return records.find(spec)


def training_step(model, precision="tf32", compiled=False):
    """Return the training step (optimizer, images, labels) -> (loss, logits); it does not wait for the device.

    `precision` is one of `protocol.PRECISIONS`. With `compiled`, only batches of the first batch's size run compiled.
    """
    fast, size = hardware.compile_network(model) if compiled else model, None

    def step(optimizer, images, labels):
        nonlocal size
        size = size or len(images)
        optimizer.zero_grad(set_to_none=True)
        with hardware.compute_in(precision, images.device.type):
            logits = (fast if len(images) == size else model)(images)
            loss = F.cross_entropy(logits, labels)
        loss.backward()
        with InMemoryOrder() if images.device.type == "cpu" else nullcontext():
            optimizer.step()
        return loss.detach(), logits.detach()

    return step


def _one_epoch(job, train_step, optimizer, state, bar):
    """Train for an epoch, validate, and append the epoch's row to the state."""
    spec, protocol, epochs = job.spec, job.spec.protocol, state["epochs"]
    number, start = len(epochs) + 1, time.perf_counter()
    row = _train_epoch(job, train_step, optimizer, state, bar)
    state["train_seconds"] += time.perf_counter() - start
    for name in ("validation",) if protocol.test_once else ("validation", "test"):
        loss, right = evaluate(job.model, job.batches(getattr(job.split, name)), protocol.precision)
        check_finite(f"{name} loss", [loss], spec, number)
        row |= {f"{name}_loss": round(loss, 6), f"{name}_accuracy": percent_true(right)}
    if spec.variant != ORIGINAL:
        row["theta"] = diagnostics.theta_statistics(job.model.transformer, job.batches(job.split.validation))
        check_finite("theta", row["theta"]["mean"] + row["theta"]["std"], spec, number)
    epochs.append(row)
    log.info(
        "%s: epoch %d of %d, training accuracy %.1f %%, validation %.1f %%",
        *(spec.name, number, protocol.max_epochs, row["train_accuracy"], row["validation_accuracy"]),
    )
    keeps_best = protocol.test_once and protocol.selection == BEST_VALIDATION
    if keeps_best and records.selected_epoch(epochs, BEST_VALIDATION) == number:
        state["best"] = {name: value.clone() for name, value in job.model.state_dict().items()}
    state["seconds"] += time.perf_counter() - start
    state["train_images"] += len(job.split.train)


def _train_epoch(job, train_step, optimizer, state, bar):
    """Train for an epoch; return its mean loss and its accuracy in percent, measured while the weights change."""
    spec, protocol, epochs = job.spec, job.spec.protocol, state["epochs"]
    number, watch = len(epochs) + 1, examples.watch_theta(job, state)
    order = np.random.RandomState([spec.seed, number]).permutation(job.split.train)
    job.model.train()
    total, correct, seen = torch.zeros((), device=job.device), torch.zeros((), device=job.device), 0
    read = batches.augment(spec, job.data, number)
    for images, labels in job.batches(order, protocol.batch_size, read):
        set_rate(optimizer, protocol, (number - 1 + seen / len(order)) / protocol.max_epochs)
        loss, logits = train_step(optimizer, images, labels)
        total += loss * len(labels)
        right = (logits.argmax(1) == labels).view(len(labels), -1)  # (B, 1), or (B, labels an image)
        correct += right.float().mean(1).sum()
        seen += len(labels)
        watch(-(-seen // protocol.batch_size))
        if bar.update(len(labels)):  # the bar was drawn; this is rare, so reading the loss costs little
            last = epochs[-1]["validation_accuracy"] if epochs else math.nan
            bar.set_postfix_str(f"epoch {number}, loss {float(total) / seen:.3f}, validation {last:.2f} %")
    loss = round(float(total) / seen, 6)
    check_finite("training loss", [loss], spec, number)
    return {"train_loss": loss, "train_accuracy": round(100 * float(correct) / seen, 4)}
