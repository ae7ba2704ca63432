"""The training loop: train, validate, stop early, checkpoint, resume, record. `run` is the entry.

One run reads uint8 images from the cache, normalizes them on the device and writes one record.
"""

import base64
import ctypes
import math
import os
import platform
import resource
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from tqdm import tqdm

from ..data import datasets
from ..data.download import ensure
from ..errors import InputError
from ..models import ORIGINAL, build_model
from ..models.transformer import SpatialTransformer
from ..paths import ROOT, cache_dir, check_writable, locked, replacing
from . import diagnostics, examples, records
from .cuda_graphs import recorded
from .spec import BEST_VALIDATION, CONSTANT_RATE, ONE_CYCLE

EVALUATION_BATCH = {"cpu": 100, "cuda": 400}  # images; the accuracy does not depend on it
OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
SCHEDULES = {  # share of the highest learning rate, from the share of the training that is done
    CONSTANT_RATE: lambda done: 1.0,
    ONE_CYCLE: lambda done: (
        _cosine(1 / 25, 1.0, done / 0.3) if done < 0.3 else _cosine(1.0, 4e-6, (done - 0.3) / 0.7)
    ),
}
PRECISIONS = {  # (TF32 products on CUDA, bfloat16 by autocast); a CPU computes the first two alike
    "float32": (False, False),
    "tf32": (True, False),
    "bfloat16": (True, True),
}
MEMORY_FORMAT = torch.channels_last  # of networks and images
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


def run(spec, device="auto", data_dir=None, compiled=False, until=math.inf, data=None, save_every=0.0):
    """Train `spec` unless its record exists; return the record. A killed run goes on where it stopped.

    `compiled` trains through torch.compile, on CUDA with CUDA graphs: the same arithmetic in another order,
    worth its minutes of compiling where steps are many and small; the record says so. Without it, a step on
    CUDA is recorded as a CUDA graph too. `until` is the time (of `time.time`, in seconds) by which to stop:
    where another epoch would take longer, the run is left at its checkpoint and None returned. `data` are the
    dataset's Images where they are at hand already, `save_every` the least seconds of training between two
    checkpoints. A second process that asks for the same run waits and gets the first one's record.
    Raises InputError before any training for a wrong device, a dataset that is neither whole nor to be
    downloaded, a results folder that cannot be written or a checkpoint that cannot be read; during it
    when a loss or theta is no longer a number or the disk is full.
    """
    if (found := records.find(spec)) is not None:
        return found
    device = check_device(device)
    for folder in (records.record_path(spec).parent, checkpoint(spec).parent):
        check_writable(folder)
    threads = torch.get_num_threads()
    # a CUDA graph cannot be recorded on the default stream
    stream = torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else nullcontext()
    try:
        with locked(checkpoint(spec)), stream:
            found = records.find(spec)
            return found or _train(spec, device, data_dir, compiled, until, data, save_every)
    finally:
        torch.set_num_threads(threads)


def _train(spec, device, data_dir, compiled, until, data, save_every):
    chosen, code, started = spec.protocol, commit(), _now()  # before the repository can change
    keep_freed_memory()
    if data is None:
        ensure(spec.dataset, data_dir)
        data = datasets.load(spec.dataset, spec.image_size, data_dir, chosen.skip_corrupt)
    limits = chosen.train_per_class, chosen.max_images, chosen.max_evaluation, chosen.validation_images
    limits += chosen.train_images, chosen.max_validation
    split = datasets.split(spec.dataset, data, chosen.split_seed, *limits)
    torch.manual_seed(spec.seed)
    # the backbone draws its weights before the localization net: variants share them for a seed
    model = build_model(spec.backbone, spec.variant, len(data.classes), spec.image_size)
    model.to(device, memory_format=MEMORY_FORMAT)
    train_step = step_of(model, chosen.precision, compiled)
    if device.type == "cuda" and not compiled:
        train_step = recorded(train_step)
    optimizer = optimizer_of(model, chosen)
    torch.manual_seed(spec.seed)  # and they share the stream of dropout
    state = _resume(spec, model, optimizer, device, data.fingerprint)
    data = data._replace(images=_held(data.images, device))
    saved = state["seconds"]
    with _progress(spec, state["train_images"], len(split.train)) as bar:
        while not (stopped := stop_reason(state["epochs"], chosen)):
            if state["epochs"] and state["seconds"] - saved >= save_every:
                _save_checkpoint(spec, model, optimizer, state)
                saved = state["seconds"]
            if time.time() + state["seconds"] / max(len(state["epochs"]), 1) > until:
                return None
            _one_epoch(spec, model, train_step, optimizer, data, split, device, state, bar)
    record = _record(spec, model, data, split, device, state, stopped)
    record["environment"] |= {"commit": code, "compiled": compiled, "started": started, "ended": _now()}
    if chosen.probes:
        normalized = partial(_input, device=device, normalization=chosen.normalization)
        kept = examples.collect(model, spec.dataset, data, split, normalized)
        record["probes"] = kept | {"training": state["watched"]}
    records.write(spec, record)
    checkpoint(spec).unlink(missing_ok=True)
    return records.find(spec)


def optimizer_of(model, protocol):
    """The protocol's optimizer for the model; the localization net may have a lower rate than the rest.

    Fused: one pass over all weights. On CUDA a CUDA graph can record it.
    """
    nets = [part.localization for part in model.modules() if isinstance(part, SpatialTransformer)]
    slow = (
        {id(weight) for net in nets for weight in net.parameters()} if protocol.localization_rate != 1 else {}
    )
    groups = [{"params": [w for w in model.parameters() if id(w) not in slow], "share": 1.0}]
    if slow:
        weights = [w for w in model.parameters() if id(w) in slow]
        groups.append({"params": weights, "share": protocol.localization_rate})
    rate, options = protocol.learning_rate, {"fused": True}
    if (device := next(model.parameters()).device).type == "cuda":
        rate = torch.tensor(rate, device=device)
        options |= {"capturable": True} if protocol.optimizer == "adam" else {}
    for group in groups:
        group["lr"] = rate * group["share"]
    return OPTIMIZERS[protocol.optimizer](groups, **options)


def set_rate(optimizer, protocol, done):
    """Set the learning rate of a step, from the share of the training that is done (0 to 1)."""
    rate = protocol.learning_rate * SCHEDULES[protocol.schedule](done)
    for group in optimizer.param_groups:
        if torch.is_tensor(group["lr"]):
            group["lr"].fill_(rate * group["share"])
        else:
            group["lr"] = rate * group["share"]


def _cosine(start, end, done):
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def _now():
    return datetime.now(UTC).isoformat(timespec="seconds")


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
    number, start, chosen = len(state["epochs"]) + 1, time.perf_counter(), spec.protocol
    order = np.random.RandomState([spec.seed, number]).permutation(split.train)
    batches = partial(_batches, data, device, chosen.normalization)
    watched = _watched(spec, model, data, split, device, state)
    model.train()
    total, correct, seen = torch.zeros((), device=device), torch.zeros((), device=device), 0
    for images, labels in batches(order, chosen.batch_size):
        set_rate(optimizer, chosen, (number - 1 + seen / len(order)) / chosen.max_epochs)
        loss, logits = train_step(optimizer, images, labels)
        total += loss * len(labels)
        correct += (logits.argmax(1) == labels).sum()
        seen += len(labels)
        watched(-(-seen // chosen.batch_size))
        if bar.update(len(labels)):  # drawn: few enough to ask the device for its loss
            last = state["epochs"][-1]["validation_accuracy"] if state["epochs"] else math.nan
            bar.set_postfix_str(f"epoch {number}, loss {float(total) / seen:.3f}, validation {last:.2f} %")
    train_loss = float(total) / seen
    _check_finite("training loss", [train_loss], spec, number)
    train_seconds = time.perf_counter() - start
    row = {"train_loss": round(train_loss, 6), "train_accuracy": round(100 * float(correct) / seen, 4)}
    for name in ("validation",) if chosen.test_once else ("validation", "test"):
        loss, right = evaluate(
            model, batches(getattr(split, name), EVALUATION_BATCH[device.type]), chosen.precision
        )
        _check_finite(f"{name} loss", [loss], spec, number)
        row |= {f"{name}_loss": round(loss, 6), f"{name}_accuracy": _percent(right)}
    if spec.variant != ORIGINAL:
        part = batches(split.validation, EVALUATION_BATCH[device.type])
        row["theta"] = diagnostics.of_theta(model.transformer, part)
        _check_finite("theta", row["theta"]["mean"] + row["theta"]["std"], spec, number)
    state["epochs"].append(row)
    keeps_best = chosen.test_once and chosen.selection == BEST_VALIDATION
    if keeps_best and records.selected_epoch(state["epochs"], BEST_VALIDATION) == number:
        state["best"] = {name: value.clone() for name, value in model.state_dict().items()}
    state["train_seconds"] += train_seconds
    state["seconds"] += time.perf_counter() - start
    state["train_images"] += seen


def test(spec, model, data, split, device, best=None):
    """The one look at the test images: `test` of a record, with the weights `best` or those of the model.

    Accuracies in percent: over images, mean over classes, and apart for images of which the training split
    holds an identical copy, where the dataset knows its copies. `correct` is a bit an image, in the split's
    order.
    """
    if best is not None:
        model.load_state_dict(best)
    batches = _batches(data, device, spec.protocol.normalization, split.test, EVALUATION_BATCH[device.type])
    loss, right = evaluate(model, batches, spec.protocol.precision)
    _check_finite("test loss", [loss], spec, spec.protocol.max_epochs)
    labels = data.labels.numpy()[split.test]
    by_class = [right[labels == c].mean() for c in np.unique(labels)]
    found = {
        "loss": round(loss, 6),
        "accuracy": _percent(right),
        "class_accuracy": _percent(np.array(by_class)),
        "correct": base64.b64encode(np.packbits(right)).decode(),
    }
    if getattr(data, "copies", None) is not None:
        copied = np.isin(data.copies[split.test], data.copies[split.train])
        for name, part in (("with_copy", right[copied]), ("without_copy", right[~copied])):
            found[name] = {"images": len(part)} | ({"accuracy": _percent(part)} if len(part) else {})
    return found


def _percent(right):
    return round(100 * float(right.mean()), 4)


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
    images = _input(data.images[examples.examples(data, split)], device, spec.protocol.normalization)
    batches = -(-len(split.train) // spec.protocol.batch_size)
    steps = examples.steps_to_watch(spec.protocol.max_epochs * batches)
    if not state["epochs"]:
        state["watched"] = {"steps": [0], "theta": [examples.thetas(model, images)]}

    def watch(step):
        number = len(state["epochs"]) * batches + step
        if number in steps:
            state["watched"]["steps"].append(number)
            state["watched"]["theta"].append(examples.thetas(model, images))

    return watch


@torch.no_grad()
def evaluate(model, batches, precision="tf32"):
    """Mean cross-entropy of `model` over (images, labels) batches, and whether it is right: bool (N,)."""
    model.eval()
    torch.backends.cudnn.benchmark = False
    loss, right = 0.0, []
    for images, labels in batches:
        with arithmetic(precision, images.device.type):
            logits = model(images)
        loss = loss + F.cross_entropy(logits.float(), labels, reduction="sum").double()
        right.append(logits.argmax(1) == labels)
    right = torch.cat(right).cpu().numpy()
    return float(loss) / len(right), right


def _batches(data, device, normalization, indices, batch_size):
    """Yield normalized images (B, 3, S, S) and labels (B,) on the device, in the order of `indices`.

    A last batch of one image joins the one before, as batch norm on a 1 x 1 map needs two.
    """
    order, labels = torch.from_numpy(indices), data.labels.to(device)  # copied once, not batch by batch
    sizes = [len(part) for part in order.split(batch_size)]
    if sizes[1:] and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    places, chosen = (order.to(where).split(sizes) for where in (data.images.device, device))
    for place, which in zip(places, chosen):
        yield _input(data.images[place], device, normalization), labels[which]


def _input(images, device, normalization):
    """What a network takes of uint8 images (B, 3, S, S)."""
    return normalize(images.to(device, memory_format=MEMORY_FORMAT), normalization)


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
        for group in optimizer.param_groups:
            if device.type == "cuda":
                group["lr"] = torch.as_tensor(group["lr"], device=device)
        threads = saved["state"].get("threads", torch.get_num_threads())
        torch.set_num_threads(threads)  # each number of them rounds in its own way
        if device.type == "cuda" and "cuda" in saved["rng"]:
            torch.cuda.set_rng_state(saved["rng"]["cuda"])
        saved["state"]["resumed"] += 1
    return saved["state"]


# --- the record ---------------------------------------------------------------------------------


def _record(spec, model, data, split, device, state, stopped):
    found = {
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
    if spec.protocol.test_once:
        found["test"] = test(spec, model, data, split, device, state.get("best"))
    found["selected"] = records.selected(found | {"spec": {"protocol": asdict(spec.protocol)}})
    return found


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
    """The repository's commit, with records.CHANGED if the package differs from it.

    Where there is no repository, $STN_PAPER_COMMIT or "".
    """
    if not (ROOT / ".git").exists():
        return os.environ.get("STN_PAPER_COMMIT", "")
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
        status = subprocess.run([*git, "status", "--porcelain", "stn_paper"], capture_output=True, text=True)
    except OSError:
        return ""
    return head.stdout.strip() + (records.CHANGED if status.stdout.strip() else "")
