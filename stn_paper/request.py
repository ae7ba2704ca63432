"""What a notebook's papermill parameters ask for: which runs to train and what to say about them.

The notebooks of Tables 4, 6 and 8 call `resolve`, train its specs and show what the records then say.
"""

from typing import NamedTuple

from . import datasets
from .errors import InputError, choose
from .fetch import ensure
from .models import VARIANTS
from .paper import table
from .protocol import COMPARABLE, PROTOCOLS, RunSpec
from .results import find
from .training import check_device

PUBLISHED = "published"  # the backbone parameter's default: show what is recorded, train nothing


class Request(NamedTuple):
    specs: list  # runs to make sure of
    dataset: str
    protocols: list  # whose records the page shows
    banner: str  # what the reader must know first, as Markdown


def resolve(number, backbone, variant, dataset, protocol, seed=0, device="auto", data_dir=None):
    """Turn the parameters of Table `number`'s notebook into a Request.

    `backbone` is "published" (read records only), a name or "all" of the table's; `variant` a name or
    "all"; `protocol` a name or "auto": the best protocol that has all records asked for, else "paper" on
    a CUDA machine that has the dataset or can download it, else "smoke" on the embedded digits, with a banner
    that says so.
    Raises InputError for any wrong value, before anything is trained.
    """
    choose("variant", variant, ["all", *VARIANTS])
    choose("protocol", protocol, ["auto", *PROTOCOLS])
    choose("dataset", dataset, datasets.DATASETS)
    device = check_device(device)
    RunSpec(dataset, "resnet18", "original", "smoke", seed)  # checks the seed
    if backbone == PUBLISHED:
        shown = COMPARABLE if protocol == "auto" else [protocol]
        return Request([], dataset, list(shown), _note("stored run records are shown; nothing was trained"))
    backbones = table(number)["backbone"].unique() if backbone == "all" else [backbone]
    variants = VARIANTS if variant == "all" else [variant]

    def specs(dataset, protocol):
        return [RunSpec(dataset, b, v, protocol, seed) for b in backbones for v in variants]

    if protocol == "auto":
        for recorded in COMPARABLE:
            if all(find(spec) for spec in specs(dataset, recorded)):
                return Request(
                    [], dataset, [recorded], _note(f"all runs asked for are recorded ({recorded})")
                )
        missing = _why_not_here(dataset, device, data_dir)
        if missing:
            return Request(specs("digits", "smoke"), "digits", ["smoke"], _smoke_banner(missing))
        protocol = "paper"
    banner = _note(f"trained on {device.type} with the protocol `{protocol}`: {PROTOCOLS[protocol]}")
    return Request(specs(dataset, protocol), dataset, [protocol], banner)


def _why_not_here(dataset, device, data_dir):
    """Why this machine cannot train at the paper's scale, or "" if it can."""
    if device.type != "cuda":
        return f"the device is `{device.type}`, and the paper's scale needs CUDA"
    try:
        ensure(dataset, data_dir)
    except InputError as error:
        return f"the dataset `{dataset}` is not here ({str(error).rstrip('.')})"
    return ""


def _note(sentence):
    return f"> {sentence[0].upper()}{sentence[1:]}."


def _smoke_banner(why):
    return (
        f"> **This is a smoke run**, because {why}: a few batches of the embedded digits at 64 pixels. "
        "It shows that everything runs. Its accuracies mean nothing and are not the paper's."
    )
