"""Evaluation: loss and accuracy on validation images, and on test images after each epoch or once."""

import base64
import math

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import InputError
from . import hardware


@torch.no_grad()
def evaluate(model, batches, precision="tf32"):
    """Return (mean cross-entropy, correct) of (images, labels) batches; `correct` is bool, with the labels' shape."""
    model.eval()
    torch.backends.cudnn.benchmark = False
    loss, right = 0.0, []
    for images, labels in batches:
        with hardware.compute_in(precision, images.device.type):
            logits = model(images)
        loss = loss + F.cross_entropy(logits.float(), labels, reduction="sum").double()
        right.append(logits.argmax(1) == labels)
    right = torch.cat(right).cpu().numpy()
    return float(loss) / right.size, right


def evaluate_test_images(job):
    """Evaluate the test images once; return the record's field `test`.

    It has accuracies in percent: over images; the mean over classes; and, for a dataset whose copies are known, over
    images with and without an identical training image. `correct` has a bit an image, in the order of the split; an
    image with several labels is correct if all its labels are.
    """
    spec, data, split = job.spec, job.data, job.split
    loss, right = evaluate(job.model, job.batches(split.test), spec.protocol.precision)
    check_finite("test loss", [loss], spec, spec.protocol.max_epochs)
    labels = data.labels.numpy()[split.test]
    by_class = [right[labels == c].mean() for c in np.unique(labels)]
    found = {
        "loss": round(loss, 6),
        "accuracy": percent_true(right),
        "class_accuracy": percent_true(np.array(by_class)),
        "correct": pack_flags(right.reshape(len(right), -1).all(1)),
    }
    if data.copies is not None:
        copied = np.isin(data.copies[split.test], data.copies[split.train])
        for name, part in (("with_copy", right[copied]), ("without_copy", right[~copied])):
            found[name] = {"images": len(part)} | ({"accuracy": percent_true(part)} if len(part) else {})
    return found


def pack_flags(flags):
    """A boolean array as text: base64 of its bits."""
    return base64.b64encode(np.packbits(flags).tobytes()).decode()


def unpack_flags(text, number):
    """The boolean array (number,) of a text that `pack_flags` returned."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8))
    return bits[:number].astype(bool)


def percent_true(right):
    """Return the share of true values in percent, rounded to four decimals as in records."""
    return round(100 * float(right.mean()), 4)


def check_finite(quantity, values, spec, epoch):
    """Raise InputError if one of the values of this epoch is NaN or infinite, which no record can hold."""
    if wrong := [value for value in values if not math.isfinite(value)]:
        raise InputError(
            f"The {quantity} became {wrong[0]} in epoch {epoch} of {spec.name}: "
            f"a learning rate below {spec.protocol.learning_rate} may keep it finite."
        )
