"""Claims about the accuracies of Table 6, on Caltech-101."""

from functools import partial

from ...models import HEADINGS, ORIGINAL
from .. import author_runs, paper
from .verdicts import (
    AGREES,
    MISPRINT,
    OPEN,
    RELEASE_FILE,
    Finding,
    by_tables,
    bypassed_note,
    claim,
    count_true,
    is_most,
    judge_by_runs,
    named_range,
    printed_accuracies,
    printed_gains,
)


@claim("caltech101", "4.3.B", "the accuracy of the EfficientNet models are inferior to ResNet")
def inferior():
    cells = printed_accuracies(6)[ORIGINAL]
    efficient, resnet = cells.filter(like="EfficientNet"), cells["ResNet-50"]
    ten = printed_accuracies(8)[ORIGINAL]
    above = ten.filter(like="EfficientNet") > ten.filter(like="ResNet").max()
    return Finding(
        by_tables(efficient < resnet),
        f"Without a transformer, {count_true(efficient < resnet)} EfficientNets have a lower test accuracy than "
        f"ResNet-50's {resnet:.2f} %: {named_range(efficient, '.2f')}. On CIFAR-10, {count_true(above)} EfficientNets "
        "have a higher one than the best ResNet.",
        "Tables 6 and 8",
    )


def check_better(number, variant, against, ties=False):
    """Check whether each model's printed test accuracy is higher with `variant` than with `against`.

    With `ties`, equal accuracies count as higher.
    """
    gain = printed_gains(number, variant, against)
    sides = [v for v in (variant, against) if v != ORIGINAL]
    return Finding(
        by_tables(gain >= 0 if ties else gain > 0),
        f"{HEADINGS[variant]} against {HEADINGS[against].replace('Original', 'no transformer')}: the test accuracy is "
        f"higher in {count_true(gain > 0)} models, with {named_range(gain)} points; the validation accuracy in "
        f"{count_true(printed_gains(number, variant, against, 'validation') > 0)}.{repeated_rows_note(number, variant)}"
        f"{bypassed_note(number, *sides)}",
        f"Table {number}, {RELEASE_FILE}",
    )


def repeated_rows_note(number, variant):
    """A note on models whose row with `variant` has the same accuracies as another model's row; "" without any."""
    cells = paper.table(number).query("variant == @variant")
    twice = cells[cells.duplicated(["validation", "test"])]
    return "".join(f" The row of {m} repeats the numbers of another row." for m in twice["model"])


claim("caltech101", "4.3.B", "No single model performs worse after adding the spatial transformer network.")(
    partial(check_better, 6, "stn", ORIGINAL, ties=True)
)


@claim("caltech101", "4.3.B", "Most models have 1% to 3% accuracy growth")
def one_to_three():
    gain = printed_gains(6, "stn", ORIGINAL)
    exact, rounded = gain.between(1, 3), gain.round().between(1, 3)
    return Finding(
        by_tables(is_most(rounded)),
        f"With STN, the test accuracy of {count_true(rounded)} models grows by 1 to 3 points if gains are rounded to "
        f"whole points, as in the sentence, and of {count_true(exact)} models if not.{bypassed_note(6, 'stn')}",
        f"Table 6, {RELEASE_FILE}",
    )


@claim("caltech101", "4.3.B", "from 60.83% to 69.25% … EfficientNet-b3 with 4.42% increase in performance")
def b3():
    cells, gain = (
        printed_accuracies(6).loc["EfficientNet-b3"],
        printed_gains(6, "vstn", "stn")["EfficientNet-b3"],
    )
    log = author_runs.released_cells(6).set_index(["model", "variant"]).loc[("EfficientNet-b3", "stn")]
    right = cells[ORIGINAL] == 60.83 and cells["stn"] == 69.25 and gain == 4.42
    return Finding(
        AGREES if right else MISPRINT,
        f"Table 6 prints {cells[ORIGINAL]:.2f} without a transformer and {cells['stn']:.2f} with STN, and V-STN gains "
        f"{gain:+.2f} points over STN. The text's 4.42 is V-STN's number less the text's own 69.25, which is "
        f"{'also' if log[author_runs.OF_FIVE] == 69.25 else 'not'} a test accuracy of the released log; the log's "
        f"best validation accuracy is {log['best_validation']:.2f}.{bypassed_note(6, 'stn', 'vstn')}",
        f"Table 6, {RELEASE_FILE}",
    )


@claim("caltech101", "4.3.B", "models do benefit from rotating and resizing the input image in advance")
def benefit():
    found = judge_by_runs(6, "stn", ORIGINAL)
    return found._replace(evidence=f"{found.evidence}{bypassed_note(6, 'stn', 'vstn', 'lstn')}")


claim("caltech101", "4.3.B", "All models performed better with V-STN than with regular STN structure")(
    partial(check_better, 6, "vstn", "stn")
)
claim("caltech101", "4.3.B", "The accuracy of all models was boosted even more")(
    partial(check_better, 6, "lstn", "vstn")
)


@claim("caltech101", "4.3.B", "EfficientNet-b3 and EfficientNet-b5 even boosted their accuracy over 6%")
def over_six():
    named = ["EfficientNet-b3", "EfficientNet-b5"]
    gain, whole = printed_gains(6, "lstn", "vstn"), printed_gains(6, "lstn", ORIGINAL)
    return Finding(
        by_tables(gain[named] > 6),
        f"From V-STN to L-STN, the step that the paragraph describes, the gains are {named_gains(gain[named])} points; "
        f"{' and '.join(gain.index[gain > 6]) or 'none, 0 models'} gain over 6. From no transformer to L-STN they are "
        f"{named_gains(whole[named])}.{bypassed_note(6, 'vstn', 'lstn')}",
        f"Table 6, {RELEASE_FILE}",
    )


def named_gains(values):
    """Differences in points as text, each with the model's name."""
    return ", ".join(f"{k} {v:+.2f}" for k, v in values.items())


@claim(
    "caltech101",
    "4.3.B",
    "EfficientNet-b5 finally outperforms the ResNet-50 model to become the best performing model",
)
def b5_best():
    cells = printed_accuracies(6)["lstn"]
    best = printed_accuracies(6).max(axis=None)
    return Finding(
        by_tables(cells["EfficientNet-b5"] > cells["ResNet-50"], cells["EfficientNet-b5"] == best),
        f"With L-STN EfficientNet-b5 has {cells['EfficientNet-b5']:.2f} % and ResNet-50 "
        f"{cells['ResNet-50']:.2f} %; the highest test accuracy of Table 6 is {best:.2f} %.{bypassed_note(6, 'lstn')}",
        f"Table 6, {RELEASE_FILE}",
    )


@claim("caltech101", "Table 6, EfficientNet-b5, V-STN", "73.25 72.08")
def b5_row():
    cells = paper.table(6).query("variant == 'vstn'").set_index("model")[["validation", "test"]]
    b5, b4 = (" and ".join(cells.loc[f"EfficientNet-{b}"]) for b in ("b5", "b4"))
    log = author_runs.released_cells(6).set_index(["model", "variant"]).loc[("EfficientNet-b5", "vstn")]
    return Finding(
        AGREES if log["parameters"] == log["printed_parameters"] and b5 != b4 else MISPRINT,
        f"With V-STN, Table 6 prints {b5} for EfficientNet-b5 and {b4} for EfficientNet-b4. The released log of "
        f"the cell of EfficientNet-b5 states {log['parameters']:,.0f} parameters, and Table 5 prints "
        f"{log['printed_parameters']:,.0f}.",
        f"Table 6, {RELEASE_FILE}",
    )


@claim("caltech101", "Tables 6 and 8, heading", "Top-5 val. … Top-5 test")
def heading():
    texts, top1 = [], []
    for number in (6, 8):
        cells = author_runs.released_cells(number)
        logged = cells[cells["best_validation"].notna()]
        same = author_runs.same_accuracy(logged["validation"], logged["best_validation"])
        texts.append(f"{count_true(same)} of Table {number}")
        top1.append(is_most(same))
    return Finding(
        MISPRINT if all(top1) else OPEN,
        f"“Top-5” usually means that an image counts as right if its class is among the five most probable. "
        f"{paper.corrections(6)['why'].iloc[0]} Of the printed validation accuracies with a released log, "
        f"{' and '.join(texts)} equal the highest top-1 accuracy in the log.",
        f"Tables 6 and 8, {RELEASE_FILE}",
    )
