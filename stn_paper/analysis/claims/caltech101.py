"""Claims about the accuracies of Table 6, on Caltech-101."""

from functools import partial

from ...models import HEADINGS, ORIGINAL
from .. import authors_runs, paper
from .verdicts import (
    AGREES,
    MISPRINT,
    OPEN,
    RELEASED,
    Finding,
    accuracies,
    by_tables,
    bypassed,
    claim,
    count,
    difference,
    most,
    span,
    trained,
)


@claim("caltech101", "4.3.B", "the accuracy of the EfficientNet models are inferior to ResNet")
def inferior():
    cells = accuracies(6)[ORIGINAL]
    efficient, other = cells.filter(like="EfficientNet"), cells["ResNet-50"]
    ten = accuracies(8)[ORIGINAL]
    above = ten.filter(like="EfficientNet") > ten.filter(like="ResNet").max()
    return Finding(
        by_tables(efficient < other),
        f"Without a transformer {count(efficient < other)} EfficientNets are below ResNet-50's {other:.2f} "
        f"%: {span(efficient, '.2f')}. On CIFAR-10 {count(above)} are above the best ResNet.",
        "Tables 6 and 8",
    )


def better(number, variant, against, ties=False):
    """Whether every model's printed test accuracy is higher (with `ties`, no lower) with one variant."""
    gain = difference(number, variant, against)
    sides = [v for v in (variant, against) if v != ORIGINAL]
    return Finding(
        by_tables(gain >= 0 if ties else gain > 0),
        f"{HEADINGS[variant]} against {HEADINGS[against].replace('Original', 'no transformer')}: higher test "
        f"accuracy in {count(gain > 0)} models, {span(gain)} points; higher validation accuracy in "
        f"{count(difference(number, variant, against, 'validation') > 0)}.{repeated(number, variant)}"
        f"{bypassed(number, *sides)}",
        f"Table {number}, {RELEASED}",
    )


def repeated(number, variant):
    """A note on models whose accuracies with `variant` are another model's; empty if there are none."""
    cells = paper.table(number).query("variant == @variant")
    twice = cells[cells.duplicated(["validation", "test"])]
    return "".join(f" {m}'s numbers repeat another row." for m in twice["model"])


claim("caltech101", "4.3.B", "No single model performs worse after adding the spatial transformer network.")(
    partial(better, 6, "stn", ORIGINAL, ties=True)
)


@claim("caltech101", "4.3.B", "Most models have 1% to 3% accuracy growth")
def one_to_three():
    gain = difference(6, "stn", ORIGINAL)
    exact, rounded = gain.between(1, 3), gain.round().between(1, 3)
    return Finding(
        by_tables(most(rounded)),
        f"STN adds 1 to 3 points of test accuracy to {count(rounded)} models if the gains are rounded to whole "
        f"points, as the sentence has them, and to {count(exact)} if not.{bypassed(6, 'stn')}",
        f"Table 6, {RELEASED}",
    )


@claim("caltech101", "4.3.B", "from 60.83% to 69.25% … EfficientNet-b3 with 4.42% increase in performance")
def b3():
    cells, gain = accuracies(6).loc["EfficientNet-b3"], difference(6, "vstn", "stn")["EfficientNet-b3"]
    log = authors_runs.runs(6).set_index(["model", "variant"]).loc[("EfficientNet-b3", "stn")]
    right = cells[ORIGINAL] == 60.83 and cells["stn"] == 69.25 and gain == 4.42
    return Finding(
        AGREES if right else MISPRINT,
        f"Table 6 has {cells[ORIGINAL]:.2f} and {cells['stn']:.2f}, and {gain:+.2f} points from STN to V-STN. The "
        f"text's 4.42 is from its own 69.25, which is {'also' if log[authors_runs.OF_FIVE] == 69.25 else 'not'} in the "
        f"released log; the log's validation accuracy is {log['best_validation']:.2f}.{bypassed(6, 'stn', 'vstn')}",
        f"Table 6, {RELEASED}",
    )


@claim("caltech101", "4.3.B", "models do benefit from rotating and resizing the input image in advance")
def benefit():
    found = trained(6, "stn", ORIGINAL)
    return found._replace(evidence=f"{found.evidence}{bypassed(6, 'stn', 'vstn', 'lstn')}")


claim("caltech101", "4.3.B", "All models performed better with V-STN than with regular STN structure")(
    partial(better, 6, "vstn", "stn")
)
claim("caltech101", "4.3.B", "The accuracy of all models was boosted even more")(
    partial(better, 6, "lstn", "vstn")
)


@claim("caltech101", "4.3.B", "EfficientNet-b3 and EfficientNet-b5 even boosted their accuracy over 6%")
def over_six():
    named = ["EfficientNet-b3", "EfficientNet-b5"]
    gain, whole = difference(6, "lstn", "vstn"), difference(6, "lstn", ORIGINAL)
    return Finding(
        by_tables(gain[named] > 6),
        f"Read as L-STN against V-STN, the step that the paragraph is about: {each(gain[named])} points; "
        f"over 6 are {' and '.join(gain.index[gain > 6]) or 'none, 0 models'}. Against no transformer: "
        f"{each(whole[named])}.{bypassed(6, 'vstn', 'lstn')}",
        f"Table 6, {RELEASED}",
    )


def each(values):
    """Differences in points as text, each with the model's name."""
    return ", ".join(f"{k} {v:+.2f}" for k, v in values.items())


@claim(
    "caltech101",
    "4.3.B",
    "EfficientNet-b5 finally outperforms the ResNet-50 model to become the best performing model",
)
def b5_best():
    cells = accuracies(6)["lstn"]
    best = accuracies(6).max(axis=None)
    return Finding(
        by_tables(cells["EfficientNet-b5"] > cells["ResNet-50"], cells["EfficientNet-b5"] == best),
        f"With L-STN EfficientNet-b5 has {cells['EfficientNet-b5']:.2f} % and ResNet-50 "
        f"{cells['ResNet-50']:.2f} %; the highest test accuracy of Table 6 is {best:.2f} %.{bypassed(6, 'lstn')}",
        f"Table 6, {RELEASED}",
    )


@claim("caltech101", "Table 6, EfficientNet-b5, V-STN", "73.25 72.08")
def b5_row():
    cells = paper.table(6).query("variant == 'vstn'").set_index("model")[["validation", "test"]]
    row, other = (" and ".join(cells.loc[f"EfficientNet-{b}"]) for b in ("b5", "b4"))
    log = authors_runs.runs(6).set_index(["model", "variant"]).loc[("EfficientNet-b5", "vstn")]
    return Finding(
        AGREES if log["parameters"] == log["printed_parameters"] and row != other else MISPRINT,
        f"EfficientNet-b5 has {row}, -b4 has {other}. As released, the log of -b5's cell is of a network "
        f"with {log['parameters']:,.0f} parameters, where Table 5 prints {log['printed_parameters']:,.0f}.",
        f"Table 6, {RELEASED}",
    )


@claim("caltech101", "Tables 6 and 8, heading", "Top-5 val. … Top-5 test")
def heading():
    texts, top1 = [], []
    for number in (6, 8):
        cells = authors_runs.runs(number)
        known = cells[cells["best_validation"].notna()]
        same = authors_runs.same(known["validation"], known["best_validation"])
        texts.append(f"{count(same)} of Table {number}")
        top1.append(most(same))
    return Finding(
        MISPRINT if all(top1) else OPEN,
        f"Read as accuracies that count the five likeliest classes. {paper.corrections(6)['why'].iloc[0]} "
        f"Of the printed validation accuracies with a log, {' and '.join(texts)} are its highest top-1 accuracy.",
        f"Tables 6 and 8, {RELEASED}",
    )
