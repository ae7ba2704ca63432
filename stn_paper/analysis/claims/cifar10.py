"""Claims about the accuracies of Table 8, on CIFAR-10."""

from functools import partial

from ...models import HEADINGS, ORIGINAL
from .. import author_runs
from .caltech101 import check_better, named_gains
from .verdicts import (
    AGREES,
    MISPRINT,
    RELEASE_FILE,
    Finding,
    by_tables,
    bypassed_note,
    claim,
    count_true,
    is_most,
    printed_accuracies,
    printed_gains,
)

claim("cifar10", "4.3.C", "all of the models has higher accuracy when spatial transform layers were added")(
    partial(check_better, 8, "stn", ORIGINAL)
)


@claim(
    "cifar10", "4.3.C", "The greatest performance boost comes from EfficientNet-b2, a 0.92% accuracy advance."
)
def greatest():
    gain = printed_gains(8, "stn", ORIGINAL).sort_values()
    return Finding(
        by_tables(gain.index[-1] == "EfficientNet-b2", f"{gain.iloc[-1]:.2f}" == "0.92"),
        f"The largest gains with STN in Table 8 are {named_gains(gain.iloc[:-3:-1])} points.{bypassed_note(8, 'stn')}",
        f"Table 8, {RELEASE_FILE}",
    )


claim("cifar10", "4.3.C", "All models once again outperform models with STN")(
    partial(check_better, 8, "vstn", "stn")
)


@claim("cifar10", "4.3.C", "3 out of 7 models increased their performance lower than 0.1%")
def three_of_seven():
    gain = printed_gains(8, "vstn", "stn")
    low = gain[gain < 0.1]
    return Finding(
        by_tables(len(low) == 3, len(gain) == 7),
        f"From STN to V-STN, {len(low)} of the {len(gain)} models of Table 8 gain less than 0.1 points: "
        f"{named_gains(low)}.{bypassed_note(8, 'stn', 'vstn')}",
        f"Table 8, {RELEASE_FILE}",
    )


@claim("cifar10", "4.3.C", "no model has a performance leap over 0.5%")
def no_leap():
    gain = printed_gains(8, "vstn", "stn")
    return Finding(
        by_tables(gain.max() <= 0.5),
        f"From STN to V-STN, the models of Table 8 gain {gain.min():.2f} to {gain.max():.2f} points."
        f"{bypassed_note(8, 'stn', 'vstn')}",
        f"Table 8, {RELEASE_FILE}",
    )


@claim("cifar10", "4.3.C", "a much greater performance leap could be observed")
def leap():
    before, after = printed_gains(8, "vstn", "stn"), printed_gains(8, "lstn", "vstn")
    twice = after > 2 * before
    return Finding(
        by_tables(is_most(twice)),
        f"“Much greater” is read as at least twice as large. In {count_true(twice)} models the gain from V-STN to "
        f"L-STN is at least twice the gain from STN to V-STN; the mean gains are {after.mean():+.2f} and "
        f"{before.mean():+.2f} points.{bypassed_note(8, 'vstn', 'lstn')}",
        f"Table 8, {RELEASE_FILE}",
    )


@claim("cifar10", "4.3.C", "Some models even performed 1% better overall on the testing set.")
def one_point():
    whole, step = (printed_gains(8, "lstn", v) for v in (ORIGINAL, "vstn"))
    return Finding(
        by_tables((whole >= 1).sum() > 1),
        f"“Overall” is read as against the network without a transformer: with L-STN {count_true(whole >= 1)} models "
        f"gain a point or more. Against V-STN, {(step >= 1).sum()} of {len(step)} do.{bypassed_note(8, 'lstn')}",
        f"Table 8, {RELEASE_FILE}",
    )


@claim("cifar10", "4.3.C", "could be 1 to 1.5% higher than model without such architecture")
def up_to_one_and_a_half():
    gain = printed_gains(8, "lstn", ORIGINAL)
    inside = gain.between(1, 1.5)
    return Finding(
        by_tables(inside.sum() > 1),
        f"“Could be” is read as: in more than one model. With L-STN, {count_true(inside)} models of Table 8 gain 1 to "
        f"1.5 points ({(gain > 1.5).sum()} more, {(gain < 1).sum()} less): {named_gains(gain)}."
        f"{bypassed_note(8, 'lstn')}",
        f"Table 8, {RELEASE_FILE}",
    )


@claim(
    "cifar10",
    "4.3.C",
    "the model's accuracy before and after adding the spatial transformer layer are strongly related",
)
def related():
    found = {n: printed_accuracies(n).corr()[ORIGINAL].drop(ORIGINAL) for n in (8, 6)}
    text = {n: ", ".join(f"{HEADINGS[v]} {r:.2f}" for v, r in c.items()) for n, c in found.items()}
    return Finding(
        by_tables(found[8] > 0.7),
        f"Correlation with the original's test accuracy over the models (“strongly” is read as above 0.7): {text[8]} "
        f"in Table 8, which the sentence is about. In Table 6 it is {text[6]}. Where the transformer is bypassed, both "
        f"accuracies are of the same network, trained twice.{bypassed_note(8, 'stn', 'vstn', 'lstn')}",
        f"Tables 6 and 8, {RELEASE_FILE}",
    )


@claim(
    "cifar10",
    "4.3.C",
    "DenseNet-121 … With whatever STN layers added, the model still tops all performances.",
)
def tops():
    best = {s: printed_accuracies(8, s).idxmax() == "DenseNet-121" for s in ("test", "validation")}
    return Finding(
        by_tables(best["test"]),
        f"In Table 8, DenseNet-121 has the highest test accuracy in {count_true(best['test'])} columns and the highest "
        f"validation accuracy in {count_true(best['validation'])}.",
        "Table 8",
    )


@claim("cifar10", "Table 8, DenseNet-121, L-STN", "86.17 90.28")
def densenet_row():
    cells = author_runs.released_cells(8).set_index(["model", "variant"])
    row = cells.loc[("DenseNet-121", "lstn")]
    gap = (cells["validation"] - cells["test"]).drop(("DenseNet-121", "lstn"))
    return Finding(
        AGREES if abs(row["validation"] - row["best_validation"]) < author_runs.ROUNDING else MISPRINT,
        f"The cell prints a validation accuracy of {row['validation']:.2f} and a test accuracy of {row['test']:.2f}. "
        f"In the other {len(gap)} cells the validation accuracy minus the test accuracy is {gap.min():+.2f} to "
        f"{gap.max():+.2f}. The highest validation accuracy in the released log is {row['best_validation']:.2f}.",
        f"Table 8, {RELEASE_FILE}",
    )
