"""Compare the arms of a study: a network with each transformer, without a transformer, and the controls.

A study is a dataset, a backbone and a protocol. The verdicts of the experiment, of the front page and of the claims
are computed here. The experiment's page says when these rules were set:

- The families of FAMILIES are compared in their order, and Holm's correction is made within each family.
- Runs are compared seed by seed if the study's arms show an effect of the seed (`statistics.seeds_pair`); else
  Welch's test takes all seeds of both arms. A bypassed transformer is always compared with the original seed by seed,
  because it is the same network. The seed control is never compared seed by seed, because it has different seeds.
- Runs whose transformer collapsed are counted, and are in no mean.
- Nothing is concluded from a study in which at least half of the original's runs failed to train (`frame.UNTRAINED`).
"""

import pandas as pd

from ..models import CONSTANT, ORIGINAL, RELEASED
from ..models.localization import LOCALIZATION_NETS
from ..training.protocol import OTHER_SEEDS
from . import frame, statistics

APPLIED = tuple(LOCALIZATION_NETS)
BYPASSED = tuple(v + RELEASED for v in APPLIED)
ARMS = (ORIGINAL, *APPLIED, *BYPASSED)
CONTROL = "seed control"  # the original with the seeds from OTHER_SEEDS on
FAMILIES = {  # family -> its comparisons, (variant, against), in the order in which pages show them
    "between transformers": (("lstn", "stn"), ("vstn", "stn"), ("lstn", "vstn")),
    "against the original": tuple((variant, ORIGINAL) for variant in APPLIED),
    "of a constant map": ((CONSTANT, ORIGINAL), ("lstn", CONSTANT)),
    "of a part": (("lstn", "lstn-no-bn"), ("lstn", "lstn-no-1x1"), ("stn-bn", "stn")),
    "controls": ((CONTROL, ORIGINAL), *((variant, ORIGINAL) for variant in BYPASSED)),
}
COMPARISON_COLUMNS = [
    "family",
    "variant",
    "against",
    *statistics.Comparison._fields,
    "p_holm",
    "p_apart_holm",
    "shown",
    "collapsed",
    "collapsed_against",
    "runs",
    "runs_against",
    "left_out",
]


def comparisons(dataset, backbone, protocol):
    """The comparisons of FAMILIES in a study, in points of test accuracy; columns and source as in `compare_arms`.

    Raises InputError for a damaged record.

    >>> comparisons("mnist-rts", "mnist-cnn-400k", "system")[["variant", "against", "mean", "shown"]]  # doctest: +SKIP
    """
    return compare_arms(frame.runs(dataset, protocol, backbone))


def compare_arms(ours, column="test"):
    """The comparisons of FAMILIES among the runs of one study, a row for each comparison that has runs of both sides.

    `ours` has the columns variant, seed, collapsed, failed and `column`, an accuracy in percent. Columns of the result:
    family, variant, against, the fields of `statistics.Comparison` (in points), p_holm and p_apart_holm (adjusted
    within the family), shown (the verdict by these p-values, or LEFT_OUT), collapsed and collapsed_against (numbers of
    collapsed runs, which are in no mean), runs and runs_against (all runs of a side), left_out (see `original_failed`).

    >>> compare_arms(frame.runs("gtsrb", "system", "mnist-cnn"))["shown"]  # doctest: +SKIP
    """
    arms = runs_by_arm(ours)
    paired, left_out = statistics.seeds_pair(accuracies_by_seed(ours, column)), original_failed(ours)
    rows = []
    for family, pairs in FAMILIES.items():
        sides = [pair for pair in pairs if arms.keys() >= set(pair)]
        of_study = {"family": family, "left_out": left_out}
        rows += [_comparison_row(arms, *pair, column, paired) | of_study for pair in sides]
    return judge_together(pd.DataFrame(rows, columns=COMPARISON_COLUMNS))


def rows_of_pair(rows, variant, against):
    """The rows that compare `variant` with `against`."""
    return rows[(rows["variant"] == variant) & (rows["against"] == against)]


def judge_together(rows):
    """Fill the columns p_holm, p_apart_holm and shown of comparisons, for example of several studies.

    Holm's correction is made within each family, over all rows.
    """
    rows, judged = rows.reset_index(drop=True), {}
    for _, mine in rows.groupby("family"):
        compared = [statistics.Comparison(*row) for row in mine[[*statistics.Comparison._fields]].to_numpy()]
        judged |= dict(zip(mine.index, statistics.judge_family(compared)))
    p_holm, p_apart_holm, shown = zip(*(judged[at] for at in rows.index)) if judged else ((), (), ())
    shown = pd.Series(shown, dtype=object).mask(rows["left_out"].astype(bool), statistics.LEFT_OUT)
    return rows.assign(p_holm=list(p_holm), p_apart_holm=list(p_apart_holm), shown=shown)


def runs_by_arm(ours):
    """The runs of each arm: {variant: rows indexed by seed}; the seed control is the arm CONTROL.

    The arm ORIGINAL has all seeds, those of the seed control too, because Welch's test takes all of them.
    """
    arms = {variant: rows.set_index("seed").sort_index() for variant, rows in ours.groupby("variant")}
    if ORIGINAL in arms:
        control = arms[ORIGINAL][arms[ORIGINAL].index >= OTHER_SEEDS]
        arms |= {CONTROL: control} if len(control) else {}
    return arms


def _comparison_row(arms, variant, against, column, paired):
    first, second = arms[variant], arms[against]
    if variant == CONTROL:
        paired, second = False, second[second.index < OTHER_SEEDS]
    kept = [side.loc[~side["collapsed"].astype(bool), column].dropna() for side in (first, second)]
    comparison = statistics.compare(*kept, paired=paired or variant.endswith(RELEASED))
    collapsed = [int(side["collapsed"].sum()) for side in (first, second)]
    return (
        {"variant": variant, "against": against}
        | comparison._asdict()
        | {"collapsed": collapsed[0], "collapsed_against": collapsed[1]}
        | {"runs": len(first), "runs_against": len(second)}
    )


def accuracies_by_seed(ours, column="test"):
    """Accuracies of the original and the applied variants: a row a seed below OTHER_SEEDS, a column a variant.

    Collapsed runs are NaN.
    """
    used = ours[ours["variant"].isin((ORIGINAL, *APPLIED)) & (ours["seed"] < OTHER_SEEDS)]
    used = used[~used["collapsed"].astype(bool)]
    return used.pivot_table(index="seed", columns="variant", values=column)


def single_differences(ours, row):
    """Return the single differences of a row of `compare_arms`; their mean is the row's mean.

    In a paired comparison: the difference of the two runs of each seed. Otherwise: each run of the variant minus the
    mean of the other arm. Collapsed runs are left out. Only for the original and the applied variants.
    """
    if row.paired:
        cells = accuracies_by_seed(ours)
        return (cells[row.variant] - cells[row.against]).dropna()
    arms = runs_by_arm(ours[~ours["collapsed"].astype(bool)])
    return arms[row.variant]["test"] - arms[row.against]["test"].mean()


def original_failed(ours):
    """Whether at least half of the original's runs failed to train; if so, nothing is compared with it."""
    original = ours[ours["variant"] == ORIGINAL]
    return mostly_failed(original["failed"].sum(), len(original))


def mostly_failed(failed, runs):
    """Return whether at least half of the runs failed to train, from both counts; False if there is no run."""
    return bool(runs and 2 * failed >= runs)


def comparisons_by_backbone(dataset, protocol):
    """`comparisons` of all backbones, with the column `backbone` first; left-out backbones are marked, not dropped."""
    views = []
    for backbone in frame.order_backbones(frame.runs(dataset, protocol)["backbone"]):
        view = comparisons(dataset, backbone, protocol)
        view.insert(0, "backbone", backbone)
        views.append(view)
    filled = [view for view in views if len(view)]
    return (
        pd.concat(filled, ignore_index=True)
        if filled
        else pd.DataFrame(columns=["backbone", *COMPARISON_COLUMNS])
    )
