"""Check the parameters of the notebooks and turn them into a list of runs.

A notebook that trains calls `resolve`, trains the runs without a record and shows the records.
"""

from os import PathLike
from typing import NamedTuple

from . import paths
from .analysis import experiment, frame
from .analysis.experiment import PUBLISHED
from .analysis.paper import DATASET_OF, table
from .data import datasets
from .data.download import ensure_dataset
from .errors import LARGEST_SEED, InputError, check_choice, check_whole_number
from .models import RELEASED, variants
from .models.backbones import check_backbone
from .models.small_nets import SYSTEMS
from .training.hardware import check_device
from .training.networks import check_networks
from .training.presets import COMPARABLE, PAPER_SIZE, PROTOCOLS, SMALL_IN_FLOAT32, SMALLER, SYSTEM
from .training.protocol import OTHER_SEEDS
from .training.records import find, fit_precision
from .training.spec import RunSpec


class Request(NamedTuple):
    specs: list  # RunSpecs of the runs that the page needs; runs without a record are trained
    dataset: str
    protocols: list  # names of the protocols whose records the page shows
    banner: str  # Markdown for the top of the page: the parameters, and how many runs are trained


def resolve(
    page: int | str,
    backbone: str,
    variant: str,
    dataset: str,
    protocol: str,
    seed: int = 0,
    device: str = "auto",
    data_dir: str | PathLike | None = None,
) -> Request:
    """Turn the parameters of a notebook into a Request.

    - `page`: the number of the paper's Table 4, 6 or 8, or the name of a smaller system.
    - `backbone`: "published" (only read records), the name of a backbone, or "all" backbones of the page. On the page
      of a smaller system, only the network of this system is allowed.
    - `variant`: a name or "all".
    - `protocol`: a name or "auto". "auto" is the first possible of these: "paper" or "equal" if all requested records
      exist; "paper" on a CUDA machine that has the dataset or can download it; a smaller protocol if all requested
      records exist; "smoke" on the embedded digits, and the banner says so. On the page of a smaller system it is
      "system" if all requested records exist or the dataset can be downloaded, else "smoke".

    Raises InputError for any wrong value, before anything is trained.
    """
    backbones, shown = _page_networks(page, backbone)
    name = str(variant).removesuffix(RELEASED)
    check_choice("variant", variant if name == "all" else name, ["all", *variants(backbones[0])])
    check_choice("protocol", protocol, ["auto", *PROTOCOLS])
    check_choice("dataset", dataset, datasets.DATASETS)
    parameters_text = _parameters_in_words(
        backbone=backbone, variant=variant, dataset=dataset, protocol=protocol, seed=seed
    )
    place = check_device(device)
    check_whole_number("Seed", seed, 0, LARGEST_SEED)
    paths.check_data_dir(data_dir)
    if backbone == PUBLISHED:
        recorded = [p for p in shown if p not in SMALLER or len(frame.runs(dataset, p))]
        shown = recorded if protocol == "auto" else [protocol]
        return Request([], dataset, shown, _quote(STORED, parameters_text))

    def specs(dataset, protocol):
        names = [(b, v) for b in backbones for v in (variants(b) if variant == "all" else [variant])]
        return [RunSpec(dataset, b, v, protocol, seed) for b, v in names]

    return _make_request(specs, shown, dataset, protocol, place, data_dir, parameters_text)


def _page_networks(page, backbone):
    """The requested backbones, and the protocols that the page can show, in order of preference."""
    check_choice("page", page, [*DATASET_OF, *SYSTEMS])
    if page in SYSTEMS:
        check_choice("backbone of this page", backbone, [PUBLISHED, "all", page])
        return [str(page)], [SYSTEM]
    backbones, protocols = list(table(page)["backbone"].unique()), COMPARABLE
    if backbone not in (PUBLISHED, "all"):
        backbones = [check_backbone(backbone)]
    return backbones, protocols


def resolve_experiment(
    backbone: str,
    dataset: str,
    protocol: str,
    seeds: int,
    device: str = "auto",
    data_dir: str | PathLike | None = None,
) -> Request:
    """Turn the parameters of the notebook `experiment` into a Request for all its arms, as `resolve` does.

    `backbone` is "published" or a name; `seeds` is the number of seeds of each arm, 1 to 5, see
    `experiment.study_specs`. Raises InputError for any wrong value.
    """
    place = check_device(device)
    # the protocol `paper` has no settings for the variant `constant`
    allowed, comparable = ([name for name in names if name != "paper"] for names in (PROTOCOLS, COMPARABLE))
    check_choice("protocol", protocol, ["auto", *allowed])
    check_choice("dataset", dataset, datasets.DATASETS)
    check_whole_number("Number of seeds", seeds, most=OTHER_SEEDS)
    paths.check_data_dir(data_dir)
    parameters_text = _parameters_in_words(backbone=backbone, dataset=dataset, protocol=protocol, seeds=seeds)
    if backbone == PUBLISHED:
        return Request([], dataset, [], _quote(STORED, parameters_text))
    shown = [SYSTEM] if check_backbone(backbone) in SYSTEMS else comparable

    def specs(dataset, protocol):
        return experiment.study_specs(dataset, backbone, protocol, seeds)

    return _make_request(specs, shown, dataset, protocol, place, data_dir, parameters_text)


def _make_request(specs, shown, dataset, protocol, device, data_dir, parameters_text):
    """The Request for the runs `specs(dataset, protocol)`; "auto" chooses among `shown`, see `resolve`."""

    def runs(name):
        """The runs at a protocol, and its name; `small` in float32 has another name."""
        named = specs(dataset, name)
        fitted = [fit_precision(spec, device) for spec in named]
        return fitted, name if fitted == named else SMALL_IN_FLOAT32

    if protocol == "auto":
        protocol, complete = shown[0], (p for p in shown if all(map(find, runs(p)[0])))
        recorded, reason = next(complete, ""), ""
        if recorded in ("", *SMALLER):  # prefer the full scale if this machine can train it
            reason = _reason_against_full_scale(dataset, device, data_dir, needs_cuda=protocol in PAPER_SIZE)
        if recorded and (reason or recorded not in SMALLER):
            all_there = f"All runs asked for are recorded ({recorded}); nothing was trained"
            requested, recorded = runs(recorded)
            return Request(requested, dataset, [recorded], _quote(all_there, parameters_text))
        # a network for several labels cannot train on `digits`, the smoke run's dataset
        if reason and datasets.DATASETS[dataset].labels > 1:
            raise InputError(f"These runs cannot be trained here: {reason}.")
        if reason:
            banner = _smoke_banner(reason, parameters_text)
            return Request(specs("digits", "smoke"), "digits", ["smoke"], banner)
    requested, shown_protocol = runs(protocol)
    missing = [spec for spec in requested if not find(spec)]
    check_networks(missing)
    done = f"{len(missing)} of {len(requested)} runs have no record yet and are trained on {device.type}"
    how = f"with the protocol `{protocol}`: {PROTOCOLS[protocol]}"
    if shown_protocol != protocol:
        how += "; in float32, because this processor is slow in bfloat16"
    return Request(requested, dataset, [shown_protocol], _quote(f"{done} {how}", parameters_text))


def _reason_against_full_scale(dataset, device, data_dir, needs_cuda):
    """The reason why this machine cannot train at the full scale; "" if it can."""
    if needs_cuda and device.type != "cuda":
        return f"the device is `{device.type}`, and the paper's scale needs CUDA"
    try:
        ensure_dataset(dataset, data_dir)
    except InputError as error:
        return f"the dataset `{dataset}` is not here ({str(error).rstrip('.')})"
    return ""


STORED = "The numbers below are those of stored runs; nothing was trained for this page"


def _parameters_in_words(**parameters):
    """The parameters in words: Papermill ignores a misspelt name, and the user sees here that the default is used."""
    return f"Parameters: {', '.join(f'{name} `{value}`' for name, value in parameters.items())}."


def _quote(sentence, parameters_text):
    return f"> {sentence}. ({parameters_text})"


def _smoke_banner(reason, parameters_text):
    return (
        f"> **This is a smoke run**, because {reason}: a few batches of the embedded digits at 64 pixels. "
        f"It shows that everything runs. Its accuracies mean nothing and are not the paper's. ({parameters_text})"
    )
