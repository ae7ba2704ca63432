"""The training loop: train, validate, stop early, checkpoint, resume, record. `run` is the entry.

One run reads uint8 images from the cache, normalizes them on the device and writes one record.
"""

import ctypes
import math
import os
import platform
import resource
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from tqdm import tqdm

from . import datasets, probes, results
from .errors import InputError
from .fetch import ensure
from .models import ORIGINAL, build_model
from .paths import ROOT, cache_dir, check_writable, locked, replacing

EVALUATION_BATCH = 100  # images; the accuracy does not depend on it
OPTIMIZERS = {  # fused: one pass over all weights
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": partial(torch.optim.SGD, fused=True),
}
PRECISIONS = {  # (TF32 products on CUDA, bfloat16 by autocast); a CPU computes the first two alike
    "float32": (False, False),
    "tf32": (True, False),
    "bfloat16": (True, True),
}
NORMALIZATIONS = {  # mean and standard deviation of red, green and blue in [0, 1]
    "half": (0.5, 0.5),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def check_device(device):
    """torch.device of `device` ("auto" is CUDA where there is one); InputError if it cannot be used."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).cpu()  # "meta" and devices of another machine fail here
    except (RuntimeError, AssertionError, TypeError, NotImplementedError):
        allowed = ["auto", "cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        message = f"Device {device!r} cannot be used here: choose one of {', '.join(allowed)}."
        raise InputError(message) from None
    return chosen


def keep_freed_memory():
    """Have this process keep the memory it frees on the CPU for its next tensors; does nothing without glibc.

    By default glibc gives large blocks back to the system, which clears each page again at every training
    step. No result changes, and the process stays as large as its largest step.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-4, 0)  # M_MMAP_MAX: no block of its own, which would go back when freed
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: nothing goes back


def run(spec, device="auto", data_dir=None, compiled=False, until=math.inf):
    """Train `spec` unless its record exists; return the record. A killed run goes on where it stopped.

    `compiled` trains through torch.compile, on CUDA with CUDA graphs: the same arithmetic in another order,
    worth its minutes of compiling where steps are many and small; the record says so. `until` is the time
    (of `time.time`, in seconds) by which to stop: where another epoch would take longer, the run is left at
    its checkpoint and None returned. A second process that asks for the same run waits and gets the first
    one's record. Raises InputError before any training for a wrong device, a dataset that is neither whole
    nor to be downloaded, a results folder that cannot be written or a checkpoint that cannot be read, and
    during it when a loss or theta is no longer a number or the disk is full.
    """
    if (found := results.find(spec)) is not None:
        return found
    device = check_device(device)
    for folder in (results.record_path(spec).parent, checkpoint(spec).parent):
        check_writable(folder)
    threads = torch.get_num_threads()
    try:
        with locked(checkpoint(spec)):
            return results.find(spec) or _train(spec, device, data_dir, compiled, until)
    finally:
        torch.set_num_threads(threads)


def _train(spec, device, data_dir, compiled, until):
    chosen, code = spec.protocol, commit()  # before the repository can change
    keep_freed_memory()
    ensure(spec.dataset, data_dir)
    data = datasets.load(spec.dataset, spec.image_size, data_dir, chosen.skip_corrupt)
    limits = chosen.train_per_class, chosen.max_images, chosen.max_evaluation, chosen.validation_images
    split = datasets.split(spec.dataset, data, chosen.split_seed, *limits)
    torch.manual_seed(spec.seed)
    # the backbone draws its weights before the localization net: variants share them for a seed
    model = build_model(spec.backbone, spec.variant, len(data.classes), spec.image_size)
    model.to(device, memory_format=torch.channels_last)
    train_step = step_of(model, chosen.precision, compiled)
    optimizer = OPTIMIZERS[chosen.optimizer](model.parameters(), lr=chosen.learning_rate)
    torch.manual_seed(spec.seed)  # and they share the stream of dropout
    state = _resume(spec, model, optimizer, device, data.fingerprint)
    data = data._replace(images=_held(data.images, device))
    with _progress(spec, state["train_images"], len(split.train)) as bar:
        while not (stopped := stop_reason(state["epochs"], chosen)):
            if state["epochs"]:
                _save_checkpoint(spec, model, optimizer, state)
            if time.time() + state["seconds"] / max(len(state["epochs"]), 1) > until:
                return None
            _one_epoch(spec, model, train_step, optimizer, data, split, device, state, bar)
    record = _record(spec, model, data, split, device, state, stopped)
    record["environment"] |= {"commit": code, "compiled": compiled}
    if chosen.probes:
        normalized = partial(_input, device=device, normalization=chosen.normalization)
        kept = probes.collect(model, spec.dataset, data, split, normalized)
        record["probes"] = kept | {"training": state["watched"]}
    results.write(spec, record)
    checkpoint(spec).unlink(missing_ok=True)
    return results.find(spec)


def stop_reason(epochs, protocol):
    """Why training ends after these epochs: "budget", "early" or "" to go on (paper section 4.2, 4).

    Early stopping as released: not before `min_epochs`, not if validation accuracy just rose, else when
    each of the last `window` validation accuracies lies within `tolerance` points of their mean.
    """
    if len(epochs) >= protocol.max_epochs:
        return "budget"
    accuracies = [e["validation_accuracy"] for e in epochs]
    if len(epochs) < max(protocol.min_epochs, protocol.window, 2) or accuracies[-1] > accuracies[-2]:
        return ""
    last = np.array(accuracies[-protocol.window :])
    return "early" if np.all(np.abs(last - last.mean()) <= protocol.tolerance) else ""


def _progress(spec, done, images):
    """A bar over the images of all epochs: in a terminal or Jupyter; quiet under papermill and in a log."""
    in_jupyter = "ipykernel" in sys.modules and "JPY_SESSION_NAME" in os.environ  # Jupyter's server sets it
    quiet = not (in_jupyter or sys.stderr.isatty())
    total, name = spec.protocol.max_epochs * images, f"{spec.backbone} {spec.variant} seed {spec.seed}"
    return tqdm(total=total, initial=done, desc=name, unit=" images", leave=False, disable=quiet)


def _held(images, device):
    """The images in the GPU's memory if they leave half of it free, else where they are."""
    if device.type != "cuda" or images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return images
    return images.to(device)


def step_of(model, precision="tf32", compiled=False):
    """(optimizer, images, labels) -> (loss, logits) of one training step, without waiting for the device.

    `precision` is a row of PRECISIONS. Batches smaller than the first one go through the model as it is.
    """
    cuda = next(model.parameters()).is_cuda
    fast = (
        torch.compile(model, mode="reduce-overhead" if cuda else None, dynamic=False) if compiled else model
    )
    size = None

    def step(optimizer, images, labels):
        nonlocal size
        size = size or len(images)
        optimizer.zero_grad(set_to_none=True)
        with arithmetic(precision, images.device.type):
            logits = (fast if len(images) == size else model)(images)
            loss = F.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        return loss.detach(), logits.detach()

    return step


@contextmanager
def arithmetic(precision, device_type):
    """Compute products at a row of PRECISIONS: what runs inside may be a forward pass or its evaluation."""
    tf32, autocast = PRECISIONS[precision]
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    exempt = _DepthwiseInFloat32() if autocast and device_type == "cpu" else nullcontext()
    with torch.autocast(device_type, torch.bfloat16, enabled=autocast), exempt:
        yield


class _DepthwiseInFloat32(TorchFunctionMode):
    """Computes depthwise convolutions in float32 and rounds what they give to bfloat16, as autocast does.

    On a CPU their gradients in bfloat16 take up to 14 times as long as in float32 (torch 2.14).
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is not F.conv2d or not _depthwise(*args[:2]):
            return function(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            return function(args[0].float(), *args[1:], **(kwargs or {})).bfloat16()


def _depthwise(images, weight):
    """Whether a convolution with this weight takes each channel of the images (B, C, H, W) alone."""
    return weight.shape[1] == 1 < images.shape[1]


def _one_epoch(spec, model, train_step, optimizer, data, split, device, state, bar):
    number, start = len(state["epochs"]) + 1, time.perf_counter()
    order = np.random.RandomState([spec.seed, number]).permutation(split.train)
    batches = partial(_batches, data, device, spec.protocol.normalization)
    watched = _watched(spec, model, data, split, device, state)
    model.train()
    total, correct, seen = torch.zeros((), device=device), torch.zeros((), device=device), 0
    for images, labels in batches(order, spec.protocol.batch_size):
        loss, logits = train_step(optimizer, images, labels)
        total += loss * len(labels)
        correct += (logits.argmax(1) == labels).sum()
        seen += len(labels)
        watched(-(-seen // spec.protocol.batch_size))
        if bar.update(len(labels)):  # drawn: few enough to ask the device for its loss
            last = state["epochs"][-1]["validation_accuracy"] if state["epochs"] else math.nan
            bar.set_postfix_str(f"epoch {number}, loss {float(total) / seen:.3f}, validation {last:.2f} %")
    train_loss = float(total) / seen
    _check_finite("training loss", [train_loss], spec, number)
    train_seconds = time.perf_counter() - start
    row = {"train_loss": round(train_loss, 6), "train_accuracy": round(100 * float(correct) / seen, 4)}
    for name in ("validation", "test"):
        part = batches(getattr(split, name), EVALUATION_BATCH)
        loss, accuracy = evaluate(model, part, spec.protocol.precision)
        _check_finite(f"{name} loss", [loss], spec, number)
        row |= {f"{name}_loss": round(loss, 6), f"{name}_accuracy": round(accuracy, 4)}
    if spec.variant != ORIGINAL:
        row["theta"] = theta_statistics(model.transformer, batches(split.validation, EVALUATION_BATCH))
        _check_finite("theta", row["theta"]["mean"] + row["theta"]["std"], spec, number)
    state["epochs"].append(row)
    state["train_seconds"] += train_seconds
    state["seconds"] += time.perf_counter() - start
    state["train_images"] += seen


def _check_finite(what, values, spec, epoch):
    """Raise InputError in the epoch that gives what no record can hold."""
    if wrong := [value for value in values if not math.isfinite(value)]:
        raise InputError(
            f"The {what} became {wrong[0]} in epoch {epoch} of {spec.name}: "
            f"a learning rate below {spec.protocol.learning_rate} may keep it finite."
        )


def _watched(spec, model, data, split, device, state):
    """What the loop calls after each step of an epoch: it keeps theta of a few images now and then."""
    if not spec.protocol.probes or spec.variant == ORIGINAL:
        return lambda step: None
    images = _input(data.images[probes.examples(data, split)], device, spec.protocol.normalization)
    batches = -(-len(split.train) // spec.protocol.batch_size)
    steps = probes.steps_to_watch(spec.protocol.max_epochs * batches)
    if not state["epochs"]:
        state["watched"] = {"steps": [0], "theta": [probes.thetas(model, images)]}

    def watch(step):
        number = len(state["epochs"]) * batches + step
        if number in steps:
            state["watched"]["steps"].append(number)
            state["watched"]["theta"].append(probes.thetas(model, images))

    return watch


@torch.no_grad()
def evaluate(model, batches, precision="tf32"):
    """Mean cross-entropy and top-1 accuracy in percent of `model` over (images, labels) batches."""
    model.eval()
    loss, correct, count = 0.0, 0, 0
    for images, labels in batches:
        with arithmetic(precision, images.device.type):
            logits = model(images)
        loss = loss + F.cross_entropy(logits.float(), labels, reduction="sum").double()
        correct = correct + (logits.argmax(1) == labels).sum()
        count += len(labels)
    return float(loss) / count, 100 * int(correct) / count


@torch.no_grad()
def theta_statistics(transformer, batches):
    """Mean and standard deviation over the images of each of theta's numbers, row by row."""
    transformer.eval()
    theta = torch.cat([transformer.theta(images).flatten(1) for images, _ in batches])
    statistics = {"mean": theta.mean(0), "std": theta.std(0, correction=min(1, len(theta) - 1))}
    return {name: [round(x, 4) for x in value.tolist()] for name, value in statistics.items()}


def _batches(data, device, normalization, indices, batch_size):
    """Yield normalized images (B, 3, S, S) and labels (B,) on the device, in the order of `indices`."""
    order, labels = torch.from_numpy(indices), data.labels.to(device)  # copied once, not batch by batch
    places, chosen = (order.to(where).split(batch_size) for where in (data.images.device, device))
    for place, which in zip(places, chosen):
        yield _input(data.images[place], device, normalization), labels[which]


def _input(images, device, normalization):
    """What a network takes of uint8 images (B, 3, S, S)."""
    return normalize(images.to(device, memory_format=torch.channels_last), normalization)


def normalize(images, normalization="half"):
    """uint8 images (B, 3, H, W) to float by a row of NORMALIZATIONS; "half" gives -1 to 1."""
    mean, std = _scales(normalization, images.device)
    return images.float().sub_(mean).div_(std)


@lru_cache
def _scales(normalization, device):
    """A row of NORMALIZATIONS for uint8 images, on the device."""
    return [
        255 * torch.tensor(values, device=device).view(-1, 1, 1) for values in NORMALIZATIONS[normalization]
    ]


# --- checkpoints --------------------------------------------------------------------------------


def checkpoint(spec):
    """The file that an unfinished run goes on from."""
    return cache_dir() / "checkpoints" / f"{spec.name}.pt"


def epochs_done(spec):
    """How many epochs the checkpoint of an unfinished run holds; 0 of one that the run itself cannot read."""
    path = checkpoint(spec)
    if path.exists():
        with suppress(InputError), _reading(path):
            return len(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state"]["epochs"])
    return 0


@contextmanager
def _reading(path):
    """Makes one sentence of what torch says to a checkpoint that is not whole."""
    try:
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of many kinds
        raise InputError(f"Checkpoint {path} cannot be read: delete it to start anew.") from error


def _save_checkpoint(spec, model, optimizer, state):
    rng = {"cpu": torch.get_rng_state()}
    if next(model.parameters()).is_cuda:
        rng["cuda"] = torch.cuda.get_rng_state()
    content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": rng, "state": state}
    with replacing(checkpoint(spec)) as partial, partial.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch's word for a write that failed
            raise OSError("the disk may be full") from error


def _resume(spec, model, optimizer, device, fingerprint):
    """The state to start from: the checkpoint's, or an empty one. InputError if it cannot be gone on with."""
    path = checkpoint(spec)
    if not path.exists():
        counts = {"seconds": 0.0, "train_seconds": 0.0, "train_images": 0, "resumed": 0}
        threads = torch.get_num_threads()
        return counts | {"epochs": [], "watched": None, "threads": threads, "fingerprint": fingerprint}
    with _reading(path):
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved["state"]["fingerprint"] != fingerprint:
            raise InputError(f"The images have changed since {path} was written: delete it to start anew.")
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["rng"]["cpu"])
        threads = saved["state"].get("threads", torch.get_num_threads())
        torch.set_num_threads(threads)  # each number of them rounds in its own way
        if device.type == "cuda" and "cuda" in saved["rng"]:
            torch.cuda.set_rng_state(saved["rng"]["cuda"])
        saved["state"]["resumed"] += 1
    return saved["state"]


# --- the record ---------------------------------------------------------------------------------


def _record(spec, model, data, split, device, state, stopped):
    return {
        "data": {
            "fingerprint": data.fingerprint,
            "classes": len(data.classes),
            "image_size": spec.image_size,
            **{name: len(indices) for name, indices in split._asdict().items()},
            "skipped": list(data.skipped.values()),
            "duplicates": len(data.duplicates),
        },
        "parameters": sum(p.numel() for p in model.parameters()),
        "epochs": state["epochs"],
        "stopped": stopped,
        "selected": results.select(state["epochs"]),
        "measured": {
            "seconds": round(state["seconds"], 1),
            "train_images_per_second": round(state["train_images"] / state["train_seconds"], 1),
            "peak_memory_mib": _peak_memory(device),
            "resumed": state["resumed"],
        },
        "environment": {
            "device": device_name(device),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision", "timm", "numpy")},
        },
    }


def _peak_memory(device):
    """MiB: on CUDA what torch allocated at most, on a CPU the process's largest resident size."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def device_name(device):
    """The GPU's name, or the processor's and its number of cores: what records say."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":")[1] for line in lines if line.startswith("model name")]
        return f"{names[0].strip()}, {len(names)} cores"
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def commit():
    """The repository's commit, with results.CHANGED if the package differs from it; "" where git is not."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
        status = subprocess.run([*git, "status", "--porcelain", "stn_paper"], capture_output=True, text=True)
    except OSError:
        return ""
    return head.stdout.strip() + (results.CHANGED if status.stdout.strip() else "")
