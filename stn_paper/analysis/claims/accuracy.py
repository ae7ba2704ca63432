"""Checks of the paper's claims about accuracies and of its conclusions; see `claims`."""

from functools import partial
from itertools import combinations

import pandas as pd

from ...models import HEADINGS, ORIGINAL
from ...training import records
from ...training.spec import preset
from .. import accuracy, authors_runs, effects, paper, statistics
from .verdicts import (
    FAILS,
    HOLDS,
    PART,
    RELEASED,
    SLIGHTLY,
    UNTESTED,
    Finding,
    accuracies,
    claim,
    count,
    difference,
    judge,
    parts,
    printed_costs,
    span,
)

# --- accuracies ---------------------------------------------------------------------------------


@claim("tsrd", "4.3.A", "the accuracy of all models is well above 98%")
def above_98():
    cells = paper.table(4).set_index("model")[["training", "validation"]].astype(float)
    lowest, limit = cells["validation"].idxmin(), accuracy.WELL_ABOVE_98
    above = cells.min(axis=1) >= limit
    ours, (verdict, told) = tsrd_runs(), tsrd_above(judge(above))
    return Finding(
        verdict,
        f"{count(above)} models have {limit:.0f} % or more in both columns (how “well above 98%” is read). "
        f"{lowest} has {cells.loc[lowest, 'training']:.2f} and {cells.loc[lowest, 'validation']:.2f} %. {told}",
        "Table 4, records of TSRD" if len(ours) else "Table 4",
    )


def tsrd_runs():
    """Those cells of Table 4 with runs of ours that tell images with a copy apart, by model: `accuracy.cells`."""
    cells = accuracy.cells(4).set_index("model")
    return cells[cells["without_copy"].notna()]


def tsrd_above(printed):
    """(verdict, sentence) on “well above 98%”, from what the printed numbers say and from our runs.

    Once more than half of the networks have runs, they decide: HOLDS if all reach it on images without a copy in
    training, PART if most reach it on all test images. If they do not, FAILS at the paper's image size, and
    UNTESTED at a smaller one, which cannot speak for the paper's. Never better than the printed numbers.
    """
    ours, networks, limit = tsrd_runs(), len(paper.table(4)), accuracy.WELL_ABOVE_98
    if ours.empty:
        return printed, "No run of ours has been made on TSRD yet."
    reached, without = ours["test"] >= limit, ours["without_copy"] >= limit
    told = (
        f"In our runs {count(reached)} networks reach it on all test images, and {without.sum()} on the test "
        "images that have no identical training image."
    )
    if 2 * len(ours) <= networks:
        return printed, f"{told} {networks - len(ours)} networks have no run yet."
    full = (ours["protocol"] != "small").all()
    verdict = (
        HOLDS if without.all() else PART if 2 * reached.sum() > len(ours) else FAILS if full else UNTESTED
    )
    return min(printed, verdict, key=[FAILS, UNTESTED, PART, HOLDS].index), told


@claim("tsrd", "Table 4", "Training Error … Validation Error")
def errors():
    logs = authors_runs.runs(4)
    known = logs[logs["best_validation"].notna()]
    columns = {
        paper.column_of(4, "validation"): "best_validation",
        paper.column_of(4, "test"): authors_runs.BEST,
    }
    same = pd.concat([authors_runs.same(known[a], known[b]) for a, b in columns.items()], axis=1).all(axis=1)
    low, high = (getattr(logs[[*columns]], pick)(axis=None) for pick in ("min", "max"))
    return Finding(
        FAILS if low > 50 else HOLDS,
        f"The numbers, {low:.2f} to {high:.2f}, are accuracies. As "
        f"released, {count(same)} rows with a log show the highest validation accuracy in the first column "
        "and the test accuracy at that epoch in the second.",
        f"Table 4, {RELEASED}",
    )


@claim("tsrd", "4.3.A", "not model with the most parameters perform the best")
def not_the_largest():
    cells = paper.table(4).astype({"parameters": int, "validation": float}).set_index("model")
    largest, best = cells["parameters"].idxmax(), cells["validation"].idxmax()
    ours, truths, told = tsrd_runs(), [largest != best], ""
    if len(ours) >= statistics.RANKED and largest in ours.index:
        mine = ours["without_copy"].idxmax()
        truths.append(mine != largest)
        told = f" Of our {len(ours)} networks {mine} is the best on images without a copy."
    return Finding(
        parts(*truths),
        f"{largest} has the most parameters ({cells.loc[largest, 'parameters']:,}) and "
        f"{cells.loc[largest, 'validation']:.2f} %; the best is {best} with "
        f"{cells.loc[best, 'parameters']:,} and {cells.loc[best, 'validation']:.2f} %.{told}",
        "Table 4, records of TSRD" if told else "Table 4",
    )


@claim("tsrd", "4.3.A", "some smaller models even have higher accuracy")
def smaller_and_better():
    cells = paper.table(4).astype({"parameters": int, "validation": float}).set_index("model")
    better, worse = smaller_pairs(cells["parameters"], cells["validation"])
    ours, truths, told = tsrd_runs(), [better > 0], ""
    if len(ours) >= statistics.RANKED:
        mine = smaller_pairs(cells["parameters"], ours["without_copy"])
        truths.append(mine[0] > 0)
        told = f" In our runs, on images without a copy, it is {mine[0]} and {mine[1]} pairs."
    return Finding(
        parts(*truths),
        f"Of two networks of one family the smaller has the higher accuracy in {better} of "
        f"{len(family_pairs(cells.index))} pairs, the larger in {worse}.{told}",
        "Table 4, “Validation Error”" + (", records of TSRD" if told else ""),
    )


def family_pairs(models):
    """Pairs of the models that share the first word of their name."""
    return [(a, b) for a, b in combinations(models, 2) if a.split("-")[0] == b.split("-")[0]]


def smaller_pairs(parameters, accuracies):
    """In how many pairs of a family the model with fewer parameters has the higher accuracy, and the lower."""
    accuracies = accuracies.dropna()
    ordered = [sorted(pair, key=parameters.get) for pair in family_pairs(accuracies.index)]
    gaps = [accuracies[small] - accuracies[large] for small, large in ordered]
    return sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)


@claim("tsrd", "4.3.A", "AlexNet could reach a high accuracy of 98.1%")
def alexnet():
    row, ours = paper.table(4).set_index("model").loc["AlexNet"], tsrd_runs()
    told = ""
    if "AlexNet" in ours.index:
        mine = ours.loc["AlexNet"]
        told = (
            f" Ours, with images of {mine['image_size']:.0f} pixels: {mine['test']:.2f} % on all test images, "
            f"{mine['without_copy']:.2f} % on those without an identical training image."
        )
    return Finding(
        HOLDS if float(row["validation"]) == 98.1 else FAILS,
        f"Its “Validation Error” is {row['validation']}; its “Training Error” is {row['training']}.{told}",
        "Table 4, AlexNet" + (", records of TSRD" if told else ""),
    )


def heading(number):
    cells = authors_runs.runs(number)
    known = cells[cells["best_validation"].notna()]
    top1 = authors_runs.same(known["validation"], known["best_validation"])
    noted = paper.corrections(number)["why"].iloc[0]
    return Finding(
        FAILS if 2 * top1.sum() > len(top1) else UNTESTED,
        f"Read as accuracies that count the five likeliest classes. {noted} {count(top1)} printed validation "
        "accuracies with a log are its highest top-1 accuracy.",
        f"Table {number}, {RELEASED}",
    )


@claim("caltech101", "4.3.B", "the accuracy of the EfficientNet models are inferior to ResNet")
def inferior():
    cells = accuracies(6)[ORIGINAL]
    efficient, other = cells.filter(like="EfficientNet"), cells["ResNet-50"]
    ten = accuracies(8)[ORIGINAL]
    above = ten.filter(like="EfficientNet") > ten.filter(like="ResNet").max()
    return Finding(
        judge(efficient < other),
        f"Without a transformer {count(efficient < other)} EfficientNets are below ResNet-50's {other:.2f} "
        f"%: {span(efficient, '.2f')}. On CIFAR-10 {count(above)} are above the best ResNet.",
        "Tables 6 and 8",
    )


@claim("caltech101", "4.3.B", "it performs even worse compared to the cheap ResNet-50 model")
def worse_than_resnet():
    cells, (_, gflops) = accuracies(6)[ORIGINAL], printed_costs(5)
    costs_more = gflops.loc["EfficientNet-b5", ORIGINAL] / gflops.loc["ResNet-50", ORIGINAL]
    return Finding(
        HOLDS if cells["EfficientNet-b5"] < cells["ResNet-50"] and costs_more > 1 else FAILS,
        f"EfficientNet-b5 has {cells['EfficientNet-b5']:.2f} % at {costs_more:.1f} times the GFLOPS of "
        f"ResNet-50, which has {cells['ResNet-50']:.2f} %.",
        "Tables 5 and 6",
    )


def better(number, variant, against, ties=False):
    """Whether every model's printed test accuracy is higher (with `ties`, no lower) with one variant."""
    gain = difference(number, variant, against)
    return Finding(
        judge(gain >= 0 if ties else gain > 0),
        f"{HEADINGS[variant]} against {HEADINGS[against].replace('Original', 'no transformer')}: higher test "
        f"accuracy in {count(gain > 0)} models, {span(gain)} points; higher validation accuracy in "
        f"{count(difference(number, variant, against, 'validation') > 0)}.{repeated(number, variant)}",
        f"Table {number}",
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
    most = [2 * cases.sum() > len(cases) for cases in (exact, rounded)]
    return Finding(
        parts(*most),
        f"STN adds 1 to 3 points of test accuracy to {count(exact)} models, and to {count(rounded)} if the "
        f"gains are rounded to whole points: {', '.join(f'{g:+.2f}' for g in gain)}.",
        "Table 6",
    )


@claim("caltech101", "4.3.B", "the EfficientNet-b3 model increased its accuracy over 8 percent")
def over_eight():
    gain = difference(6, "stn", ORIGINAL)["EfficientNet-b3"]
    return Finding(
        HOLDS if gain > 8 else FAILS,
        f"{gain:+.2f} points by Table 6, {69.25 - 60.83:+.2f} by the text's own numbers.",
        "Table 6, EfficientNet-b3",
    )


@claim("caltech101", "4.3.B", "from 60.83% to 69.25%")
def b3():
    cells = accuracies(6).loc["EfficientNet-b3"]
    log = authors_runs.runs(6).set_index(["model", "variant"]).loc[("EfficientNet-b3", "stn")]
    return Finding(
        parts(cells[ORIGINAL] == 60.83, cells["stn"] == 69.25),
        f"Table 6 has {cells[ORIGINAL]:.2f} and {cells['stn']:.2f}; the text's 69.25 is "
        f"{'also' if log[authors_runs.OF_FIVE] == 69.25 else 'not'} in the released log, whose validation "
        f"accuracy is {log['best_validation']:.2f}.",
        f"Table 6, EfficientNet-b3; {RELEASED}",
    )


@claim("caltech101", "4.3.B", "models do benefit from rotating and resizing the input image in advance")
def benefit():
    thrown, cells = authors_runs.unused(authors_runs.runs(6))
    found = trained(6, "stn", ORIGINAL)
    return found._replace(
        evidence=f"{found.evidence} As released, {thrown} of {cells} transformer cells of Table 6 go on with "
        "the untouched image."
    )


def trained(number, variant, against):
    """What our runs at the paper's scale say of one variant against another; reduced ones decide nothing."""
    dataset = paper.DATASET_OF[number]
    wanted = set(paper.table(number)["backbone"])
    for protocol in ("paper", "equal"):
        found = effects.gains(dataset, protocol, against)
        found = found[(found["variant"] == variant) & found["backbone"].isin(wanted) & found["half"].notna()]
        if len(found):
            up, down = found["shown"] == effects.BETTER, found["shown"] == effects.WORSE
            verdict = (
                HOLDS if up.sum() == len(wanted) else PART if up.any() else FAILS if down.any() else UNTESTED
            )
            return Finding(
                verdict,
                f"At the protocol `{protocol}`, {HEADINGS[variant]} is better than {HEADINGS[against]} in "
                f"{count(up)} networks and worse in {down.sum()} (95 % intervals; Table {number} has "
                f"{len(wanted)}): {effects.listed(found)}.",
                f"records of {dataset}, `{protocol}`",
            )
    used = preset("reduced", dataset, variant)
    note = (
        f" Reduced runs ({used.image_size} pixels, {used.max_epochs} epochs), which decide nothing: "
        f"{effects.in_words(dataset, 'reduced', variant, against)}."
        if records.records(dataset, "reduced")
        else ""
    )
    return Finding(
        UNTESTED,
        f"0 of {len(wanted)} networks have been trained at the paper's scale with two seeds or more.{note}",
        f"records of {dataset}",
    )


claim("caltech101", "4.3.B", "All models performed better with V-STN than with regular STN structure")(
    partial(better, 6, "vstn", "stn")
)


@claim("caltech101", "4.3.B", "EfficientNet-b3 with 4.42% increase in performance")
def b3_vstn():
    gain, cell = difference(6, "vstn", "stn")["EfficientNet-b3"], accuracies(6).loc["EfficientNet-b3", "vstn"]
    return Finding(
        HOLDS if gain == 4.42 else FAILS,
        f"{gain:+.2f} points by Table 6; {cell - 69.25:+.2f} from the 69.25 of the text, which is not what "
        "Table 6 prints.",
        "Table 6, EfficientNet-b3",
    )


@claim("caltech101", "4.3.B", "Other models increase by a bit, but not as much")
def others():
    gain = difference(6, "vstn", "stn")
    rest = gain.drop("EfficientNet-b3")
    return Finding(
        judge((rest > 0) & (rest < gain["EfficientNet-b3"])),
        f"V-STN against STN, test accuracy: {span(rest)} points, EfficientNet-b3 "
        f"{gain['EfficientNet-b3']:+.2f}.",
        "Table 6",
    )


claim("caltech101", "4.3.B", "The accuracy of all models was boosted even more")(
    partial(better, 6, "lstn", "vstn")
)


@claim("caltech101", "4.3.B", "EfficientNet-b3 and EfficientNet-b5 even boosted their accuracy over 6%")
def over_six():
    named = ["EfficientNet-b3", "EfficientNet-b5"]
    gain, whole = difference(6, "lstn", "vstn"), difference(6, "lstn", ORIGINAL)
    return Finding(
        parts(*gain[named] > 6),
        f"Read as L-STN against V-STN, the step that the paragraph is about: {_each(gain[named])} points; "
        f"over 6 are {' and '.join(gain.index[gain > 6]) or 'none, 0 models'}. Against no transformer: "
        f"{_each(whole[named])}.",
        "Table 6",
    )


def _each(values):
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
        parts(cells["EfficientNet-b5"] > cells["ResNet-50"], cells["EfficientNet-b5"] == best),
        f"With L-STN EfficientNet-b5 has {cells['EfficientNet-b5']:.2f} % and ResNet-50 "
        f"{cells['ResNet-50']:.2f} %; the highest test accuracy of Table 6 is {best:.2f} %.",
        "Table 6",
    )


@claim("caltech101", "Table 6, EfficientNet-b5, V-STN", "73.25 72.08")
def b5_row():
    cells = paper.table(6).query("variant == 'vstn'").set_index("model")[["validation", "test"]]
    row, other = (" and ".join(cells.loc[f"EfficientNet-{b}"]) for b in ("b5", "b4"))
    log = authors_runs.runs(6).set_index(["model", "variant"]).loc[("EfficientNet-b5", "vstn")]
    return Finding(
        HOLDS if log["parameters"] == log["printed_parameters"] and row != other else FAILS,
        f"EfficientNet-b5 has {row}, -b4 has {other}. As released, the log of -b5's cell is of a network "
        f"with {log['parameters']:,.0f} parameters, where Table 5 prints {log['printed_parameters']:,.0f}.",
        f"Table 6, {RELEASED}",
    )


claim("caltech101", "Table 6, heading", "Top-5 val. … Top-5 test")(partial(heading, 6))
claim("cifar10", "4.3.C", "all of the models has higher accuracy when spatial transform layers were added")(
    partial(better, 8, "stn", ORIGINAL)
)


@claim(
    "cifar10", "4.3.C", "The greatest performance boost comes from EfficientNet-b2, a 0.92% accuracy advance."
)
def greatest():
    gain, lstn = difference(8, "stn", ORIGINAL), difference(8, "lstn", ORIGINAL)
    return Finding(
        parts(gain.idxmax() == "EfficientNet-b2", gain["EfficientNet-b2"] == 0.92),
        f"Read as STN, which the text adds first: the greatest gain is {gain.max():+.2f} points "
        f"({gain.idxmax()}). With L-STN it is {lstn.max():+.2f} ({lstn.idxmax()}).",
        "Table 8",
    )


claim("cifar10", "4.3.C", "All models once again outperform models with STN")(
    partial(better, 8, "vstn", "stn")
)


@claim("cifar10", "4.3.C", "3 out of 7 models increased their performance lower than 0.1%")
def three_of_seven():
    gain = difference(8, "vstn", "stn")
    low = gain[gain < 0.1]
    return Finding(
        parts(len(low) == 3, len(gain) == 7),
        f"Table 8 has {len(gain)} models, of which {len(low)} gain less than 0.1 points: {_each(low)}.",
        "Table 8",
    )


@claim("cifar10", "4.3.C", "no model has a performance leap over 0.5%")
def no_leap():
    gain = difference(8, "vstn", "stn")
    return Finding(judge(gain <= 0.5), f"V-STN against STN: {span(gain)} points.", "Table 8")


@claim("cifar10", "4.3.C", "a much greater performance leap could be observed")
def leap():
    before, after = difference(8, "vstn", "stn"), difference(8, "lstn", "vstn")
    return Finding(
        HOLDS if after.mean() > 2 * before.mean() else PART if after.mean() > before.mean() else FAILS,
        f"From V-STN to L-STN {after.mean():+.2f} points on average, from STN to V-STN {before.mean():+.2f} "
        f"(“much greater” is read as twice); the second step is the greater one in {count(after > before)} "
        "models.",
        "Table 8",
    )


@claim("cifar10", "4.3.C", "Some models even performed 1% better overall on the testing set.")
def one_point():
    vstn, original = ((g := difference(8, "lstn", v))[g >= 1] for v in ("vstn", ORIGINAL))
    return Finding(
        HOLDS if len(vstn) > 1 else PART if len(vstn) + len(original) else FAILS,
        f"Read as L-STN against V-STN, the step before it: {len(vstn)} of {len(accuracies(8))} models gain a "
        f"point or more ({_each(vstn) or 'none'}). Against no transformer it is {len(original)}.",
        "Table 8",
    )


@claim("cifar10", "4.3.C", "could be 1 to 1.5% higher than model without such architecture")
def one_to_one_and_a_half():
    gain = difference(8, "lstn", ORIGINAL)
    inside = gain.between(1, 1.5)
    return Finding(
        HOLDS if inside.any() else FAILS,
        f"L-STN adds 1 to 1.5 points to {count(inside)} models, less to {(gain < 1).sum()} and more to "
        f"{(gain > 1.5).sum()}: {span(gain)} points. “Could be” is read as: for some.",
        "Table 8",
    )


@claim(
    "cifar10",
    "4.3.C",
    "the model's accuracy before and after adding the spatial transformer layer are strongly related",
)
def related():
    cells, other = (accuracies(number).corr()[ORIGINAL].drop(ORIGINAL) for number in (8, 6))
    text = [", ".join(f"{HEADINGS[v]} {r:.2f}" for v, r in c.items()) for c in (cells, other)]
    return Finding(
        judge(cells > 0.7),
        f"Correlation with the original's test accuracy over {len(accuracies(8))} models: {text[0]} "
        f"(“strongly” is read as above 0.7). In Table 6, of which the sentence does not speak: {text[1]}.",
        "Tables 6 and 8",
    )


@claim("cifar10", "4.3.C", "DenseNet-121 model performs the best among all models without STN layers")
def densenet():
    cells, validation = (accuracies(8, s)[ORIGINAL] for s in ("test", "validation"))
    return Finding(
        judge(c.idxmax() == "DenseNet-121" for c in (cells, validation)),
        f"The best test accuracy is {cells.max():.2f} ({cells.idxmax()}), the best validation accuracy "
        f"{validation.max():.2f} ({validation.idxmax()}).",
        "Table 8",
    )


@claim("cifar10", "4.3.C", "With whatever STN layers added, the model still tops all performances.")
def tops():
    best = {
        s: accuracies(8, s).drop(columns=ORIGINAL).idxmax() == "DenseNet-121" for s in ("test", "validation")
    }
    return Finding(
        judge([*best["test"], *best["validation"]]),
        f"DenseNet-121 is the best of Table 8 by test accuracy with {count(best['test'])} transformers, by "
        f"validation accuracy with {count(best['validation'])}.",
        "Table 8",
    )


@claim("cifar10", "Table 8, DenseNet-121, L-STN", "86.17 90.28")
def densenet_row():
    cells = authors_runs.runs(8).set_index(["model", "variant"])
    row = cells.loc[("DenseNet-121", "lstn")]
    gap = (cells["validation"] - cells["test"]).drop(("DenseNet-121", "lstn"))
    return Finding(
        HOLDS if abs(row["validation"] - row["best_validation"]) < authors_runs.ROUNDING else FAILS,
        f"Validation {row['validation']:.2f} beside test {row['test']:.2f}; in the other {len(gap)} cells "
        f"validation less test is {gap.min():+.2f} to {gap.max():+.2f}. As released, the log's highest "
        f"validation accuracy is {row['best_validation']:.2f}.",
        f"Table 8, {RELEASED}",
    )


claim("cifar10", "Table 8, heading", "Top-5 val. … Top-5 test")(partial(heading, 8))


# --- the whole ----------------------------------------------------------------------------------


@claim("whole", "Abstract", "with less parameters and computational overhead")
def less():
    parameters, gflops = (q["lstn"] < q["stn"] for q in printed_costs(9))
    return Finding(
        parts(parameters.all(), gflops.all()),
        f"L-STN against STN: fewer parameters in {count(parameters)} networks, fewer GFLOPS in "
        f"{count(gflops)}. Section 3.C and the conclusions say that it has more parameters.",
        "Table 9",
    )


@claim("whole", "5", "L-STN leads in both validation and test accuracy")
def leads():
    texts, truths = [], []
    for split in ("test", "validation"):
        cells = {n: accuracies(n, split) for n in (6, 8)}
        ahead = {n: c["lstn"] > c.drop(columns="lstn").max(axis=1) for n, c in cells.items()}
        truths.append(all(a.all() for a in ahead.values()))
        texts.append(
            f"by {split} accuracy in "
            f"{' and '.join(f'{count(a)} models of Table {n}' for n, a in ahead.items())}"
        )
    return Finding(parts(*truths), f"L-STN is ahead of all others {'; '.join(texts)}.", "Tables 6 and 8")


@claim("whole", "5", "saving two thirds of the FLOPS with the cost of slightly more parameters")
def two_thirds():
    parameters, gflops = printed_costs(9)
    saved, more = 1 - gflops["lstn"] / gflops["stn"], parameters["lstn"] / parameters["stn"] - 1
    networks = pd.concat([printed_costs(n)[1] for n in (5, 7)])
    whole = 1 - networks["lstn"] / networks["stn"]
    return Finding(
        parts(((saved > 0.65) & (saved < 0.7)).all(), ((more > 0) & (more < SLIGHTLY)).all()),
        f"Of the transformer's GFLOPS {100 * saved.min():.1f} to {100 * saved.max():.1f} % are saved, for at "
        f"most {100 * more.max():.2f} % more parameters. Of the whole network's GFLOPS it is "
        f"{100 * whole.min():.1f} to {100 * whole.max():.1f} %.",
        "Tables 5, 7 and 9",
    )


@claim("whole", "5", "could seamlessly replace the regular structure with instant performance boost")
def boost():
    found, printed = trained(6, "lstn", "stn"), pd.concat([difference(n, "lstn", "stn") for n in (6, 8)])
    return found._replace(
        evidence=f"{found.evidence} As printed, L-STN is better than STN in {count(printed > 0)} rows of "
        "Tables 6 and 8, after trainings of different length (see below)."
    )
