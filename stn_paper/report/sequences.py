"""The page on digit sequences: the glimpses of the recurrent transformer, in their order."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from ..data.datasets import embedded_digits
from ..data.scenes import DIGITS_A_SEQUENCE, digit_sequences
from ..models import HEADINGS, ORIGINAL
from ..models.transformer import sample, sampling_grid
from ..training.examples import from_png
from . import small_systems
from .figures import COLORS, PALETTE, close_figure
from .paper_figures import draw_outline
from .sentences import count_text, join_words

DATASET, SEQUENCE_SYSTEM = "mnist-sequence", "sequence-cnn"
GLIMPSE_COLORS = (PALETTE[4], PALETTE[2], PALETTE[9])  # colours of the first, second and third glimpse
GLIMPSE_SIDE = 33  # pixels of a side of a glimpse


def sequence_samples_plot():
    """Plot four digit sequences, made of the embedded digits as in the dataset."""
    pixels, labels = embedded_digits()
    images, _, _ = digit_sequences(pixels, labels, len(pixels))
    figure, axes = plt.subplots(1, 4, figsize=(5.8, 1.6))
    for axis, image in zip(axes, images):
        _show_digits(axis, image)
    return close_figure(figure)


def _show_digits(axis, image):
    axis.imshow(image, "gray", vmin=0, vmax=255, extent=(-1, 1, 1, -1))
    axis.set(xticks=[], yticks=[], xlim=(-1, 1), ylim=(1, -1))


def sequence_runs(variant):
    """Our runs of a variant: columns as `frame.runs`."""
    ours = small_systems.system_runs(DATASET, SEQUENCE_SYSTEM)
    return ours[ours["variant"] == variant]


def glimpses_plot():
    """A row for four test images of our first recurrent run: the image with the outlines of its glimpses, the glimpses.

    None without a run.
    """
    found = sequence_runs("rnn")["record"]
    if found.empty:
        return None
    across = 1 + DIGITS_A_SEQUENCE
    figure, axes = plt.subplots(4, across, figsize=(1.45 * across, 6.4))
    kept = found.iloc[0]["glimpses"]
    fields = (kept[field] for field in ("images", "theta", "labels", "predicted"))
    for row, text, theta, labels, read in zip(axes, *fields):
        image, maps = from_png(text), torch.tensor(theta)
        _show_digits(row[0], image)
        row[0].set_title(f"{_spaced(labels)}, read {_spaced(read)}", fontsize=11)
        images = image[None, None].float().expand(len(maps), -1, -1, -1)
        shown = sample(images, sampling_grid(maps, GLIMPSE_SIDE, GLIMPSE_SIDE))
        for axis, map_, output, color in zip(row[1:], maps, shown, GLIMPSE_COLORS):
            draw_outline(row[0], map_, color, 2)
            _show_digits(axis, output[0])
            axis.spines[:].set(visible=True, color=color, linewidth=2)
    return close_figure(figure)


def _spaced(labels):
    return " ".join(map(str, labels))


def sequence_curves_plot():
    """Two charts against the epoch: validation accuracy per digit, and the mean x of the centre of each glimpse.

    None without a run.
    """
    if small_systems.system_runs(DATASET, SEQUENCE_SYSTEM).empty:
        return None
    figure, (above, below) = plt.subplots(2, figsize=(5.8, 6))
    for variant in (ORIGINAL, "ffn", "rnn"):
        for record in sequence_runs(variant)["record"]:
            values = [epoch["validation_accuracy"] for epoch in record["epochs"]]
            label = HEADINGS[variant] if record["spec"]["seed"] == 0 else None
            above.plot(range(1, len(values) + 1), values, color=COLORS[variant], label=label)
    for record in sequence_runs("rnn")["record"][:1]:
        for number, (centres, color) in enumerate(zip(_centres(record).T, GLIMPSE_COLORS), 1):
            below.plot(range(1, len(centres) + 1), centres, color=color, label=f"glimpse {number}")
    above.set(xlabel="epoch", ylabel="digits classified correctly (%)")
    below.set(xlabel="epoch", ylabel="centre of the glimpse, x (-1 to 1)", ylim=(-1, 1))
    for axis in (above, below):
        axis.xaxis.get_major_locator().set_params(integer=True)
        if axis.has_data():
            place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": DIGITS_A_SEQUENCE}
            axis.legend(**place, frameon=False, fontsize=11)
    return close_figure(figure)


def _centres(record):
    """The mean x of the centre of each glimpse after each epoch of a recurrent run: (epochs, glimpses)."""
    means = [epoch["theta"]["mean"] for epoch in record["epochs"]]
    return np.reshape(means, (len(means), DIGITS_A_SEQUENCE, 6))[:, :, 2]


def glimpses_in_words():
    """Whether the glimpses go from left to right at the end of the recurrent runs, as Markdown; "" without a run."""
    ends = [_centres(record)[-1] for record in sequence_runs("rnn")["record"]]
    if not ends:
        return ""
    ordered = sum(bool((np.diff(end) > 0).all()) for end in ends)
    places = join_words([f"{x:+.2f}" for x in np.mean(ends, axis=0)])
    return (
        "**The three regions that the transformer reads one after the other (glimpses) go from left to right in "
        f"{ordered} of {count_text(len(ends), 'run')}**: "
        f"on average they are centred at {places}, where the image reaches from -1 to 1."
    )
