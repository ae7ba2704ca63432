"""When a training stops (paper section 4.2, 4)."""

import numpy as np

from .spec import Protocol


def stop_reason(epochs: list[dict], protocol: Protocol) -> str:
    """Why training ends after these epochs: "budget", "early" or "" to go on (paper section 4.2, 4).

    Early stopping as released: not before `min_epochs`, not if validation accuracy just rose, else when
    each of the last `window` validation accuracies lies within `tolerance` points of their mean.
    """
    if len(epochs) >= protocol.max_epochs:
        return "budget"
    accuracies = [e["validation_accuracy"] for e in epochs]
    if len(epochs) < max(protocol.min_epochs, protocol.window, 2) or accuracies[-1] > accuracies[-2]:
        return ""
    last = np.array(accuracies[-protocol.window :])
    return "early" if np.all(np.abs(last - last.mean()) <= protocol.tolerance) else ""
