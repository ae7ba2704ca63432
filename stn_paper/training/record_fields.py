"""The allowed values of each field of a run record: `records` checks each file by the table `RECORD`.

results/README.md explains the fields. A kind of value is a function (value) -> bool, a dict of fields or a List.
"""

import base64
import binascii
from typing import Any, NamedTuple

from .examples import MOTIONS, STRENGTHS

LARGEST = 1e39  # the largest number: float32 ends at 3.4e38
MOST_THREADS = 4096
MOST_WHOLE = 2**53  # the largest whole number: some JSON readers round larger numbers
PARTLY = "partly"  # `environment.compiled` of a run that was compiled in a part of its epochs only
PNG = b"\x89PNG\r\n\x1a\n"


class List(NamedTuple):
    """A list whose items are all of one kind; `lengths` are the allowed lengths, empty for any length."""

    kind: object
    lengths: tuple = ()


def is_number(value):
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST


def is_nonnegative(value):
    return is_number(value) and value >= 0


def is_percent(value):
    return is_number(value) and 0 <= value <= 100


def is_whole(value):
    return type(value) is int and 0 <= value <= MOST_WHOLE


def is_count(value):
    return is_whole(value) and value > 0


def is_flag(value):
    return type(value) is bool


def is_text(value):
    """Return whether the value is a string that can be written to a file; a lone surrogate of JSON cannot."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def is_packed(value):
    """Return whether the value is text in base64."""
    try:
        return isinstance(value, str) and base64.b64decode(value, validate=True) is not None
    except (binascii.Error, ValueError):
        return False


def is_picture(value):
    """Return whether the value is a PNG in base64."""
    return is_packed(value) and base64.b64decode(value).startswith(PNG)


def is_thread_count(value):
    return is_count(value) and value <= MOST_THREADS


def is_compiled(value):
    return is_flag(value) or value == PARTLY


def is_watched(value):
    """Return whether the value is theta during the training (WATCHED), or None."""
    return value is None or not first_wrong(value, WATCHED)


MAP = List(List(is_number, (2, 3)))  # theta: (2, 3), (3, 3) or (16, 2)
NUMBERS = List(is_number, (6, 9, 18, 32))  # the same, flat; 18 numbers for three affine maps an image
QUANTITY = {"before": List(is_number, (2,)), "after": List(is_number, (2,))}
RECOVERED = dict.fromkeys(("rotation", "scale", "shift"), QUANTITY)
SUBSET = {"images": is_whole, "accuracy?": is_percent}
PROBES = {
    "images": List(is_picture),
    "label": List(is_whole),
    "gradcam": List(List(List(is_nonnegative))),
    "strength": {name: List(is_percent, (len(strengths),)) for name, strengths in STRENGTHS.items()},
    "theta?": List(MAP),
    "motion?": List(MAP, (MOTIONS,)),
    "recovered?": RECOVERED,  # of older records: without the classes
    "recovered_in_class?": RECOVERED,
    "training?": is_watched,
}
WATCHED = {"steps": List(is_whole), "theta": List(List(MAP))}
THETA = {
    "mean": NUMBERS,
    "std": NUMBERS,
    "spread?": List(is_nonnegative, (2,)),
    "from_identity?": is_nonnegative,
    "outside?": is_percent,
}
EPOCH = {
    "train_loss": is_nonnegative,
    "validation_loss": is_nonnegative,
    "validation_accuracy": is_percent,
    "train_accuracy?": is_percent,
    "test_loss?": is_nonnegative,
    "test_accuracy?": is_percent,
    "theta?": THETA,
}
STATE = {  # of a checkpoint
    "fingerprint": is_text,
    "run?": is_text,
    "epochs": List(EPOCH),
    **dict.fromkeys(("seconds", "train_seconds"), is_nonnegative),
    **dict.fromkeys(("train_images", "resumed"), is_whole),
    "watched": is_watched,
    "threads?": is_thread_count,
    "compiled?": is_compiled,
}
RECORD: dict[str, Any] = {  # field -> kind; "?" marks a field that a record may lack
    "schema": is_whole,
    "digest?": is_text,
    "spec": {
        "dataset": is_text,
        "backbone": is_text,
        "variant": is_text,
        "protocol": {"name": is_text},
        "seed": is_number,
    },
    "data": {
        "fingerprint": is_text,
        **dict.fromkeys(("classes", "image_size", "train", "validation", "test"), is_count),
        "skipped?": List(is_text),
        "duplicates?": is_whole,
    },
    "parameters": is_count,
    "epochs": List(EPOCH),
    "test?": {
        "loss": is_nonnegative,
        "accuracy": is_percent,
        "class_accuracy": is_percent,
        "correct": is_packed,
        "with_copy?": SUBSET,
        "without_copy?": SUBSET,
    },
    "probes?": PROBES,
    "weights?": is_text,
    "glimpses?": {
        "images": List(is_picture),
        **dict.fromkeys(("labels", "predicted"), List(List(is_whole))),
        "theta?": List(List(MAP)),
    },
    "stopped": is_text,
    "selected": lambda value: type(value) is dict,
    "measured": {
        "seconds": is_nonnegative,
        **dict.fromkeys(("train_images_per_second?", "peak_memory_mib?"), is_nonnegative),
        "resumed?": is_whole,
    },
    "environment": {
        "device": is_text,
        "commit": is_text,
        "threads?": is_thread_count,
        "compiled?": is_compiled,
        **dict.fromkeys(
            ("command?", "python?", "torch?", "torchvision?", "timm?", "numpy?", "started?", "ended?"),
            is_text,
        ),
    },
}


def first_wrong(value, kind=RECORD, place=""):
    """Return the path of the first missing or wrong field, such as `epochs.0.test_loss`; "" if all fields are right.

    >>> first_wrong({"seconds": -1}, RECORD["measured"])
    'seconds'
    """
    if isinstance(kind, List):
        right = type(value) is list and (not kind.lengths or len(value) in kind.lengths)
        if right and callable(kind.kind) and all(map(kind.kind, value)):
            return ""  # a record is mostly lists of numbers: this halves the time
        parts = ((str(i), item, kind.kind) for i, item in enumerate(value)) if right else ()
    elif isinstance(kind, dict):
        right = type(value) is dict
        fields = {field.rstrip("?"): (field, inner) for field, inner in kind.items()}
        parts = (
            (name, value.get(name), inner)
            for name, (field, inner) in fields.items()
            if right and (name in value or field == name)
        )
    else:
        right, parts = kind(value), ()
    if not right:
        return place or "record"
    found = (first_wrong(item, inner, f"{place}.{name}".lstrip(".")) for name, item, inner in parts)
    return next(filter(None, found), "")
