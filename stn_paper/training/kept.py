"""Kept trained weights: one seed of each network in NETWORKS, as .safetensors files.

`loop.run` calls `save_weights` for the runs of NETWORKS, `load` returns these networks, and `report.playground` writes
the playground's networks for the reader's browser. Weights of other runs are not kept.
"""

import hashlib
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..data import datasets
from ..errors import InputError, check_choice
from ..models import build_model
from ..paths import WEIGHTS, read_bytes, replace_file, results_dir
from . import hardware, records
from .batches import batches_of, load_run_images, network_input
from .evaluation import evaluate, percent_true
from .presets import SYSTEM
from .protocol import LAST_EPOCH, ONE_CYCLE, Protocol
from .spec import RunSpec

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
PLAYGROUND_VARIANTS = ("lstn", "stn", "original")
LARGEST_FLOAT32 = 200_000  # weights; larger networks are kept as float16, so that a file stays below 1 MB


def playground_spec(variant):
    """Return the RunSpec of a playground network: the digit CNN on rotated, scaled and shifted MNIST digits."""
    return RunSpec("mnist-rts", "mnist-cnn", variant, PLAYGROUND)


NETWORKS = {  # name -> RunSpec
    **{f"digits-{variant}": playground_spec(variant) for variant in PLAYGROUND_VARIANTS},
    "digits-rts-affine": RunSpec("mnist-rts", "mnist-cnn-400k", "affine", SYSTEM),
    "digits-e-tps": RunSpec("mnist-e", "mnist-cnn-400k", "tps", SYSTEM),
    **{f"lenet-{variant}": RunSpec("mnist-rts", "lenet", variant, SYSTEM) for variant in ("original", "stn")},
    "clutter-out60": RunSpec("mnist-cluttered", "clutter-cnn", "out60", SYSTEM, seed=1),
}


def weights_path(spec):
    """Return the path of a run's weights, whether the file exists or not."""
    return WEIGHTS / f"{spec.name}.safetensors"


def weights_path_to_keep(spec):
    """Return the path to write a new run's weights to; None for runs whose weights are not kept.

    Weights are kept only if the records are written to the repository's own results folder.
    """
    own = results_dir().resolve() == WEIGHTS.resolve().with_name("results")
    return weights_path(spec) if own and WEIGHTS.is_dir() and spec in NETWORKS.values() else None


def kept_names():
    """Return the names out of NETWORKS whose weights exist."""
    return [name for name, spec in NETWORKS.items() if weights_path(spec).exists()]


def kept_variants():
    """Return the variants of the playground, out of PLAYGROUND_VARIANTS, whose weights exist."""
    return [variant for variant in PLAYGROUND_VARIANTS if weights_path(playground_spec(variant)).exists()]


def save_weights(model, path, name):
    """Write the weights and running statistics of `model`, and return their digest: SHA-256, hexadecimal.

    `name` is the name of the run. Networks of more than LARGEST_FLOAT32 weights are rounded to float16.
    """
    state = {key: value.cpu().contiguous() for key, value in model.state_dict().items()}
    if sum(value.numel() for value in state.values()) > LARGEST_FLOAT32:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    with replace_file(path) as part:
        save_file(state, part, {"run": name, "digest": _tensors_digest(state)})
    return file_digest(path)


def file_digest(path):
    """Return the SHA-256 of a file of weights: 64 hexadecimal digits."""
    return hashlib.sha256(read_bytes(Path(path))).hexdigest()


def _tensors_digest(state):
    """Return the first 16 digits of SHA-256 over the names, shapes and bytes of the tensors."""
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(f"{name} {tuple(state[name].shape)}".encode() + state[name].numpy().tobytes())
    return found.hexdigest()[:16]


def load(name: str) -> torch.nn.Module:
    """Return a small network with its trained weights, in evaluation mode, on the CPU.

    `name` is a row of NETWORKS. The network takes (B, 3, S, S) and returns logits (B, classes). Its attribute
    `image_size` is S. Its attribute `transform` is the function that turns uint8 images (B, 3, S, S), or (B, 1, S, S)
    if grey, into its input; smaller images are enlarged. Raises InputError for an unknown name, for a network without
    trained weights, and for weights that are damaged or not those of the run's record. `transform` raises InputError
    for images of another type or shape, and for images of more than S pixels a side.

    >>> network = stn_paper.load("digits-lstn")
    >>> network(network.transform(torch.zeros(1, 3, 42, 42, dtype=torch.uint8))).shape
    torch.Size([1, 10])
    """
    spec = NETWORKS[check_choice("network", name, NETWORKS)]
    path, record = weights_path(spec), records.find(spec) or {}
    if not path.exists():
        run = f"{spec.dataset} {spec.backbone} {spec.variant} {spec.protocol.name} --seed {spec.seed}"
        raise InputError(
            f"Network {name!r} has no weights here: `python -m stn_paper run {run}` trains it in a clone."
        )
    if record.get("weights", found := file_digest(path)) != found:
        raise InputError(f"{path} does not have the digest that the run's record states: restore the file.")
    classes = datasets.DATASETS[spec.dataset].num_classes
    model = build_model(spec.backbone, spec.variant, classes, spec.image_size, padding=spec.protocol.padding)
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
        state = load_file(path)
        if about != {"run": spec.name, "digest": _tensors_digest(state)}:
            raise ValueError("digest")
        model.load_state_dict(state)
    except (OSError, RuntimeError, ValueError, SafetensorError):
        raise InputError(f"Weights {path} are damaged or of another run: restore the file.") from None
    settings = {"normalization": spec.protocol.normalization, "size": spec.image_size}
    model.__dict__ |= {
        "transform": partial(network_input, device=torch.device("cpu"), **settings),
        "image_size": spec.image_size,
    }
    return model.eval()


def evaluate_kept(name, data_dir=None, device="cpu"):
    """Test the network `name`, a row of NETWORKS, with its kept weights; return its test accuracy in percent.

    A missing dataset is downloaded first. The accuracy at the end of the training is in the record's field `test`.
    Raises InputError as `load` does, and for a dataset that cannot be loaded.
    """
    model, spec = load(name).to(device), NETWORKS[name]
    data = load_run_images(spec, data_dir)
    split = datasets.split(spec.dataset, data, spec.protocol.split_seed, **spec.protocol.limits)
    batches = batches_of(data, device, spec.protocol.normalization, spec.image_size)
    with hardware.restore_torch():
        return percent_true(evaluate(model, batches(split.test), spec.protocol.precision)[1])


def train_playground():
    """Train the playground's networks that have no record, on the CPU, and keep their weights."""
    from .loop import run  # not at the top: loop imports this module

    for variant in PLAYGROUND_VARIANTS:
        run(playground_spec(variant), "cpu", weights=weights_path(playground_spec(variant)))
