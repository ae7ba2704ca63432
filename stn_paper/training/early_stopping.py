"""The rule that stops a training (paper section 4.2, 4)."""

import numpy as np

from .protocol import Protocol


def stop_reason(epochs: list[dict], protocol: Protocol) -> str:
    """Return why a training stops after these epochs: "budget", "early", or "" to continue.

    A training stops early, as in the released notebooks, if it has `min_epochs` epochs or more, the last epoch did not
    raise the validation accuracy, and the last `window` validation accuracies all lie within `tolerance` points of
    their mean. Source: paper section 4.2, 4.
    """
    if len(epochs) >= protocol.max_epochs:
        return "budget"
    accuracies = [e["validation_accuracy"] for e in epochs]
    if len(epochs) < max(protocol.min_epochs, protocol.window, 2) or accuracies[-1] > accuracies[-2]:
        return ""
    last = np.array(accuracies[-protocol.window :])
    return "early" if np.all(np.abs(last - last.mean()) <= protocol.tolerance) else ""
