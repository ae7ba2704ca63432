"""Tables of the pages "Is it the transformer?" and "Where a transformer helps".

The numbers are those of `analysis.effects` and `analysis.experiment`. Figures are in `experiment_figures`, sentences in
`experiment_verdicts`.
"""

import pandas as pd

from ..analysis import effects, experiment, statistics
from ..analysis.statistics import MISSING, NO_NUMBER
from ..models import CONSTANT, HEADINGS, ORIGINAL
from ..models.localization import ABLATIONS
from ..training.protocol import OTHER_SEEDS
from . import interactive
from .sentences import arm_title, count_text, difference_text, p_text, pair_title, table_or_missing

BETWEEN, AGAINST_ORIGINAL, _, OF_A_PART, _ = effects.FAMILIES
GAIN_PART_TITLES = dict(
    zip(
        experiment.GAIN_PARTS,
        ("Least fair comparison", "part: selection", "part: budget", "part: transformer"),
    )
)


# --- tables -------------------------------------------------------------------------------------


NOTE = (
    "Differences of test accuracy in points, ± half of the 95 % interval. p tests “no difference”; p, equal tests “a "
    f"difference of {statistics.MARGIN:g} point or more”. Both are Holm-corrected within comparisons of one kind."
)
RUNS_NOTE = "Mean of the runs that did not collapse, ± half of the 95 % interval. A seed leads to the page of its run."


def comparisons_table(chosen):
    """The comparisons of these studies, between transformers first, as a table to sort: points and p as numbers."""
    rows = []
    for study, found in experiment.comparisons_by_study(chosen).items():
        rows += [
            {
                "Study": plain_title(study),
                "Comparison": pair_title(row.variant, row.against),
                "Difference": row.mean,
                "±": row.half,
                "Runs": runs_text(row),
                "p": p_text(row.p_holm),
                "p, equal": p_text(row.p_apart_holm),
                "Verdict": verdict_text(row),
            }
            for row in found.itertuples()
        ]
        if found.empty:
            rows.append({"Study": plain_title(study), "Verdict": MISSING})
    view = pd.DataFrame(
        rows, columns=["Study", "Comparison", "Difference", "±", "Runs", "p", "p, equal", "Verdict"]
    )
    return interactive.show_table(view, "Comparisons of the experiment", ["Study"], NOTE)


def arms_table(chosen):
    """The accuracies of the arms of these studies, with links to their runs, as a table to sort."""
    rows = []
    for study in chosen:
        arms = effects.runs_by_arm(experiment.study_runs(*study))
        for arm in [arm for arm in (*effects.ARMS, CONSTANT, *ABLATIONS, effects.CONTROL) if arm in arms]:
            runs = arms[arm].reset_index()
            runs = runs[runs["seed"] < OTHER_SEEDS] if arm == ORIGINAL else runs
            kept = runs.loc[~runs["collapsed"].astype(bool), "test"]
            rows.append(
                {
                    "Study": plain_title(study),
                    "Arm": arm_title(arm),
                    "Test (%)": kept.mean(),
                    "±": statistics.half_width(kept),
                    "Collapsed": int(runs["collapsed"].sum()),
                    "Runs": interactive.seed_links(runs),
                }
            )
        if not arms:
            rows.append({"Study": plain_title(study), "Arm": MISSING})
    view = pd.DataFrame(rows, columns=["Study", "Arm", "Test (%)", "±", "Collapsed", "Runs"])
    return interactive.show_table(view, "Arms of the experiment", ["Study", "Arm"], RUNS_NOTE)


def runs_text(row):
    """The runs of a comparison as text: pairs of one seed, or the runs of both sides."""
    return f"{row.n} pairs" if row.paired else f"{row.n} and {row.n_against}"


def verdict_text(row):
    """The verdict of a comparison as text, with the collapsed runs of either side."""
    sides = ((row.variant, row.collapsed, row.runs), (row.against, row.collapsed_against, row.runs_against))
    lost = [
        f"{arm_title(arm)} collapsed in {number} of {count_text(of, 'run')}"
        for arm, number, of in sides
        if number
    ]
    return "; ".join([row.shown, *lost])


def plain_title(study):
    return experiment.study_title(*study).replace("`", "")


def paired_table(pairs):
    """Paired differences {name: Series in points} as a table: means, intervals, and verdicts with Holm's correction."""
    results = [statistics.compare(values, 0 * values, paired=True) for values in pairs.values()]
    verdicts = [verdict for _, _, verdict in statistics.judge_family(results)]
    return table_or_missing(
        {
            name: {"Difference": difference_text(result), "Pairs": result.n, "Verdict": verdict}
            for name, result, verdict in zip(pairs, results, verdicts)
        }
    )


def seed_pairing_table(chosen):
    """`experiment.seed_pairing` as a table to read: whether runs are compared seed by seed."""
    rows = {}
    for row in experiment.seed_pairing(chosen).itertuples():
        correlation = NO_NUMBER if pd.isna(row.correlation) else f"{row.correlation:+.2f}"
        rows[plain_title(row.study)] = {
            "Seeds": row.seeds,
            "Correlation of the arms": correlation,
            "p of no effect of the seed": p_text(row.p),
            "Test": "paired" if row.paired else "Welch",
        }
    return table_or_missing(rows)


def gain_parts_table(chosen):
    """The parts of a gain as a table, a row a study and variant; see `experiment.gain_parts`.

    Each cell shows the mean over the seeds and its 95 % interval. If at least one study has rows, the table leaves out
    the studies without rows.
    """
    parts, views = {study: experiment.gain_parts(*study) for study in chosen}, {}
    for study in [study for study in chosen if len(parts[study])] or chosen:
        rows = {}
        for variant, mine in parts[study].groupby("variant", sort=False):
            texts = {
                title: statistics.mean_text(mine[part], "", "+") for part, title in GAIN_PART_TITLES.items()
            }
            epochs, shorter = mine[["epochs", "shorter"]].iloc[-1]
            rows[HEADINGS[variant]] = texts | {"Epochs": f"{epochs} against {shorter}", "Pairs": len(mine)}
        views[plain_title(study)] = table_or_missing(rows)
    return pd.concat(views)


def strengths_table(compared):
    """`experiment.strength_comparisons` as a table: a row a study and comparison, a column a distortion."""
    studies = {study: compared[compared["study"] == study] for study in experiment.STRENGTH_STUDIES}
    return pd.concat({plain_title(study): _strength_rows(found) for study, found in studies.items()})


def _strength_rows(found):
    rows = {}
    for row in found[found["family"].isin((BETWEEN, AGAINST_ORIGINAL))].itertuples():
        cells = rows.setdefault(pair_title(row.variant, row.against), {})
        cells[row.distortion] = f"{difference_text(row)} ({row.shown})"
    if not rows:
        rows = {"": dict.fromkeys(experiment.UNITS, MISSING)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(experiment.UNITS)).fillna("")
