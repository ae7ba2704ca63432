"""Trained weights that are kept: the small networks of the book's playground, one .safetensors file each.

Weights of other runs are not kept. `loop.run` calls `save`, `train` calls `loop.run`, and
`report.playground` gives the networks to the reader's browser.
"""

import hashlib

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..errors import InputError
from ..models import build_model
from ..paths import WEIGHTS, replacing
from . import records
from .spec import LAST_EPOCH, ONE_CYCLE, Protocol, RunSpec

PLAYGROUND = Protocol(
    "playground",
    42,
    batch_size=64,
    max_epochs=8,
    min_epochs=8,
    selection=LAST_EPOCH,
    schedule=ONE_CYCLE,
    test_once=True,
)
VARIANTS = ("lstn", "stn", "original")
CLASSES = 10


def spec_of(variant):
    """The run of a playground network: the digit CNN on rotated, scaled and shifted MNIST digits."""
    return RunSpec("mnist-rts", "mnist-cnn", variant, PLAYGROUND)


def path_of(variant):
    """The file of a playground network's weights."""
    return WEIGHTS / f"{spec_of(variant).name}.safetensors"


def trained():
    """The playground's networks whose weights are there: names out of VARIANTS."""
    return [variant for variant in VARIANTS if path_of(variant).exists()]


def save(model, path, name):
    """Write the weights and running statistics of `model`; `name` is that of the run that trained it."""
    state = {key: value.cpu().contiguous() for key, value in model.state_dict().items()}
    with replacing(path) as partial:
        save_file(state, partial, {"run": name, "digest": _digest(state)})


def _digest(state):
    """SHA-256 (16 digits) of the tensors' names, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {tuple(state[name].shape)}".encode() + state[name].numpy().tobytes())
    return digest.hexdigest()[:16]


def load(variant):
    """A playground network (lstn, stn or original) with its trained weights, for evaluation, on the CPU.

    It takes digits (B, 3, 42, 42), normalized to -1 (ground) and 1 (ink), and returns logits (B, 10). Raises
    InputError for a file that cannot be read, was changed since it was written, or is of another run.
    """
    spec, path = spec_of(variant), path_of(variant)
    model = build_model(spec.backbone, variant, CLASSES, spec.image_size)
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
        state = load_file(path)
        if about != {"run": spec.name, "digest": _digest(state)}:
            raise ValueError("digest")
        model.load_state_dict(state)
    except (OSError, RuntimeError, ValueError, SafetensorError):
        raise InputError(f"Weights {path} are damaged or of another run: restore the file.") from None
    return model.eval()


def record_of(variant):
    """The record of the run that trained a playground network."""
    return records.find(spec_of(variant))


def train():
    """Train the playground's networks whose records are missing, on the CPU, and keep their weights."""
    from .loop import run  # which imports this module

    for variant in VARIANTS:
        run(spec_of(variant), "cpu", weights=path_of(variant))
