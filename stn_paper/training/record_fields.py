"""What each field of a run record may hold: the table `RECORD`, and the check that `records` makes of each file.

results/README.md explains the fields. A kind of value is a function (value) -> bool, a dict of fields or a List.
"""

import base64
import binascii
from typing import Any, NamedTuple

from .examples import MOTIONS, STRENGTHS

LARGEST = 1e39  # of a number: float32 ends at 3.4e38
MOST_THREADS = 4096
MOST_WHOLE = 2**53  # of a whole number: JSON readers round larger ones
PARTLY = "partly"  # `environment.compiled` of a run whose parts were compiled and not
PNG = b"\x89PNG\r\n\x1a\n"


class List(NamedTuple):
    """A list whose items are all of one kind; `lengths` are the allowed ones, none for any length."""

    kind: object
    lengths: tuple = ()


def number(value):
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST


def positive(value):
    return number(value) and value >= 0


def percent(value):
    return number(value) and 0 <= value <= 100


def whole(value):
    return type(value) is int and 0 <= value <= MOST_WHOLE


def count(value):
    return whole(value) and value > 0


def flag(value):
    return type(value) is bool


def text(value):
    """A string that can be written to a file: JSON may escape half a character (a surrogate)."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def packed(value):
    """Bytes as base64."""
    try:
        return isinstance(value, str) and base64.b64decode(value, validate=True) is not None
    except (binascii.Error, ValueError):
        return False


def picture(value):
    """A PNG as base64."""
    return packed(value) and base64.b64decode(value).startswith(PNG)


def threads(value):
    return count(value) and value <= MOST_THREADS


def compiled(value):
    return flag(value) or value == PARTLY


def watched(value):
    """What was watched of a training, None without a transformer."""
    return value is None or not first_wrong(value, WATCHED)


MAP = List(List(number, (2, 3)))  # theta: (2, 3), (3, 3) or (16, 2)
NUMBERS = List(number, (6, 9, 18, 32))  # the same, flat; 18 of three affine maps an image
QUANTITY = {"before": List(number, (2,)), "after": List(number, (2,))}
APART = {"images": whole, "accuracy?": percent}
PROBES = {
    "images": List(picture),
    "label": List(whole),
    "gradcam": List(List(List(positive))),
    "strength": {name: List(percent, (len(strengths),)) for name, strengths in STRENGTHS.items()},
    "theta?": List(MAP),
    "motion?": List(MAP, (MOTIONS,)),
    "recovered?": dict.fromkeys(("rotation", "scale", "shift"), QUANTITY),
    "training?": watched,
}
WATCHED = {"steps": List(whole), "theta": List(List(MAP))}
THETA = {
    "mean": NUMBERS,
    "std": NUMBERS,
    "spread?": List(positive, (2,)),
    "from_identity?": positive,
    "outside?": percent,
}
EPOCH = {
    "train_loss": positive,
    "validation_loss": positive,
    "validation_accuracy": percent,
    "train_accuracy?": percent,
    "test_loss?": positive,
    "test_accuracy?": percent,
    "theta?": THETA,
}
STATE = {  # of a checkpoint
    "fingerprint": text,
    "run?": text,
    "epochs": List(EPOCH),
    **dict.fromkeys(("seconds", "train_seconds"), positive),
    **dict.fromkeys(("train_images", "resumed"), whole),
    "watched": watched,
    "threads?": threads,
    "compiled?": compiled,
}
RECORD: dict[str, Any] = {  # field -> kind; "?" marks a field that a record may lack
    "schema": whole,
    "digest?": text,
    "spec": {
        "dataset": text,
        "backbone": text,
        "variant": text,
        "protocol": {"name": text},
        "seed": number,
    },
    "data": {
        "fingerprint": text,
        **dict.fromkeys(("classes", "image_size", "train", "validation", "test"), count),
        "skipped?": List(text),
        "duplicates?": whole,
    },
    "parameters": count,
    "epochs": List(EPOCH),
    "test?": {
        "loss": positive,
        "accuracy": percent,
        "class_accuracy": percent,
        "correct": packed,
        "with_copy?": APART,
        "without_copy?": APART,
    },
    "probes?": PROBES,
    "weights?": text,
    "glimpses?": {
        "images": List(picture),
        **dict.fromkeys(("labels", "predicted"), List(List(whole))),
        "theta?": List(List(MAP)),
    },
    "stopped": text,
    "selected": lambda value: type(value) is dict,
    "measured": {
        "seconds": positive,
        **dict.fromkeys(("train_images_per_second?", "peak_memory_mib?"), positive),
        "resumed?": whole,
    },
    "environment": {
        "device": text,
        "commit": text,
        "threads?": threads,
        "compiled?": compiled,
        **dict.fromkeys(
            ("command?", "python?", "torch?", "torchvision?", "timm?", "numpy?", "started?", "ended?"), text
        ),
    },
}


def first_wrong(value, kind=RECORD, place=""):
    """The place of the first field that is missing or no value of its kind, as `epochs.0.test_loss`; "" if none is.

    >>> first_wrong({"seconds": -1}, RECORD["measured"])
    'seconds'
    """
    if isinstance(kind, List):
        right = type(value) is list and (not kind.lengths or len(value) in kind.lengths)
        parts = ((str(i), item, kind.kind) for i, item in enumerate(value)) if right else ()
    elif isinstance(kind, dict):
        right = type(value) is dict
        wanted = {field.rstrip("?"): (field, inner) for field, inner in kind.items()}
        parts = (
            (name, value.get(name), inner)
            for name, (field, inner) in wanted.items()
            if right and (name in value or field == name)
        )
    else:
        right, parts = kind(value), ()
    if not right:
        return place or "record"
    found = (first_wrong(item, inner, f"{place}.{name}".lstrip(".")) for name, item, inner in parts)
    return next(filter(None, found), "")
