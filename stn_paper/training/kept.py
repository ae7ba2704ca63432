"""Trained weights that are kept: the small networks of the book's playground, one .safetensors file each.

Weights of other runs are not kept. `loop.run` calls `save`, `train` calls `loop.run`, and
`report.playground` gives the networks to the reader's browser.
"""

from safetensors.torch import load_file, save_file

from ..data import datasets
from ..data.download import ensure
from ..errors import InputError, choose
from ..models import build_model
from ..paths import WEIGHTS, replacing
from . import records
from .batches import batches_of
from .evaluation import evaluate, percent
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
        save_file(state, partial, {"run": name})


def load(variant):
    """A playground network (lstn, stn or original) with its trained weights, for evaluation, on the CPU.

    It takes digits (B, 3, 42, 42), normalized to -1 (ground) and 1 (ink), and returns logits (B, 10).
    """
    spec, path = spec_of(choose("network", variant, VARIANTS)), path_of(variant)
    if not path.is_file():
        raise InputError(f"Weights {path} are not there: an installed package brings none; use a clone.")
    model = build_model(spec.backbone, variant, CLASSES, spec.image_size)
    model.load_state_dict(load_file(path))
    return model.eval()


def accuracy_of(variant, data_dir=None, device="cpu"):
    """Test accuracy, in percent, of a playground network with its kept weights on the 10,000 digits of its run.

    Gets MNIST first where it is missing. The run's record has the accuracy that training ended with, under
    `test`. InputError for an unknown network or missing weights.
    """
    model, spec = load(variant).to(device), spec_of(variant)
    ensure(spec.dataset, data_dir)
    data = datasets.load(spec.dataset, spec.image_size, data_dir)
    split = datasets.split(spec.dataset, data, spec.protocol.split_seed, **spec.protocol.limits)
    batches = batches_of(data, device, spec.protocol.normalization)
    return percent(evaluate(model, batches(split.test), spec.protocol.precision)[1])


def record_of(variant):
    """The record of the run that trained a playground network."""
    return records.find(spec_of(variant))


def train():
    """Train the playground's networks whose records are missing, on the CPU, and keep their weights."""
    from .loop import run  # which imports this module

    for variant in VARIANTS:
        run(spec_of(variant), "cpu", weights=path_of(variant))
