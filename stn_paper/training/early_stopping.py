"""When a training stops (paper section 4.2, 4)."""

import numpy as np

from .spec import Protocol


def stop_reason(epochs: list[dict], protocol: Protocol) -> str:
    """Why training stops after these epochs: "budget", "early", or "" to continue (paper section 4.2, 4).

    Early stopping as in the released notebooks: not before `min_epochs` and not after a rise of the validation
    accuracy; else when the last `window` validation accuracies all lie within `tolerance` points of their mean.
    """
    if len(epochs) >= protocol.max_epochs:
        return "budget"
    accuracies = [e["validation_accuracy"] for e in epochs]
    if len(epochs) < max(protocol.min_epochs, protocol.window, 2) or accuracies[-1] > accuracies[-2]:
        return ""
    last = np.array(accuracies[-protocol.window :])
    return "early" if np.all(np.abs(last - last.mean()) <= protocol.tolerance) else ""
