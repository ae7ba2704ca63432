"""Tables and sentences of the pages "Is it the transformer?" and "Where a transformer helps".

The numbers are those of `analysis.effects` and `analysis.experiment`; their figures are in
`experiment_figures`.
"""

import pandas as pd

from ..analysis import effects, experiment, frame, statistics
from ..analysis.statistics import BETTER, BY_LITTLE, EQUAL, FEW, MISSING, NOT_SHOWN, SAME, WORSE
from ..data.datasets import DATASETS
from ..models import CONSTANT, HEADINGS, ORIGINAL
from ..models.backbones import title
from ..models.localization import ABLATIONS
from ..training.records import SMOKE
from ..training.spec import OTHER_SEEDS
from . import interactive
from .sentences import NO_NUMBER, join_words

BETWEEN, ALONE, *_ = effects.FAMILIES
GAIN_PART_TITLES = dict(
    zip(
        experiment.GAIN_PARTS,
        ("At worst for the original", "by selection", "by budget", "under one rule and budget"),
    )
)


def arm_title(arm):
    """How a page calls an arm of `effects`."""
    return frame.SEED_CONTROL if arm == effects.CONTROL else HEADINGS[arm]


def comparison_title(row):
    """How a page calls a comparison, a row of `effects.compare_arms`."""
    return f"{arm_title(row.variant)} − {arm_title(row.against)}"


# --- tables -------------------------------------------------------------------------------------


NOTE = (
    "Differences of test accuracy in points, ± half of the 95 % interval. p, equal: p of a difference of "
    f"{statistics.MARGIN:g} point or more. Both p are Holm's, within a study's comparisons of one kind."
)
RUNS_NOTE = "Mean of the runs that did not collapse, ± half of the 95 % interval. A seed leads to the page of its run."


def comparisons_table(chosen):
    """The comparisons of these studies, between transformers first, as a table to sort: points and p as numbers."""
    rows = []
    for study, found in experiment.comparisons_by_study(chosen).items():
        rows += [
            {"Study": _plain_title(study), "Comparison": comparison_title(row)} | comparison_cells(row)
            for row in found.itertuples()
        ]
        if found.empty:
            rows.append({"Study": _plain_title(study), "Verdict": MISSING})
    view = pd.DataFrame(
        rows, columns=["Study", "Comparison", "Difference", "±", "Runs", "p", "p, equal", "Verdict"]
    )
    return interactive.show_table(view, "Comparisons of the experiment", ["Study"], NOTE)


def arms_table(chosen):
    """The accuracies of the arms of these studies, with links to their runs, as a table to sort."""
    rows = []
    for study in chosen:
        found = effects.runs_by_arm(experiment.study_runs(*study))
        for arm in [arm for arm in (*effects.ARMS, CONSTANT, *ABLATIONS, effects.CONTROL) if arm in found]:
            runs = found[arm].reset_index()
            runs = runs[runs["seed"] < OTHER_SEEDS] if arm == ORIGINAL else runs
            kept = runs.loc[~runs["collapsed"].astype(bool), "test"]
            rows.append(
                {
                    "Study": _plain_title(study),
                    "Arm": arm_title(arm),
                    "Test (%)": kept.mean(),
                    "±": statistics.half_width(kept),
                    "Collapsed": int(runs["collapsed"].sum()),
                    "Runs": interactive.seed_links(runs),
                }
            )
        if not found:
            rows.append({"Study": _plain_title(study), "Arm": MISSING})
    view = pd.DataFrame(rows, columns=["Study", "Arm", "Test (%)", "±", "Collapsed", "Runs"])
    return interactive.show_table(view, "Arms of the experiment", ["Study", "Arm"], RUNS_NOTE)


def comparison_cells(row):
    """A comparison as cells of a table: points with half of their interval, runs of both sides, both p, verdict."""
    return {
        "Difference": row.mean,
        "±": row.half,
        "Runs": f"{row.n} pairs" if row.paired else f"{row.n} and {row.n_against}",
        "p": _p_text(row.p_holm),
        "p, equal": _p_text(row.p_apart_holm),
        "Verdict": verdict_text(row),
    }


def difference_text(row):
    """The difference of a comparison with half of its interval, as text."""
    half = "" if pd.isna(row.half) else f" ± {row.half:.2f}"
    return f"{row.mean:+.2f}{half}" if not pd.isna(row.mean) else NO_NUMBER


def verdict_text(row):
    """The verdict of a comparison, with the collapsed runs of either side and what left the network out."""
    if row.left_out:
        return "left out: the original failed to train"
    sides = ((row.variant, row.collapsed, row.runs), (row.against, row.collapsed_against, row.runs_against))
    lost = [f"{arm_title(arm)} collapsed in {number} of {of} runs" for arm, number, of in sides if number]
    return "; ".join([row.shown, *lost])


def _p_text(value):
    return NO_NUMBER if pd.isna(value) else "under 0.001" if value < 0.001 else f"{value:.3f}"


def _plain_title(study):
    return experiment.study_title(*study).replace("`", "")


def paired_table(pairs):
    """Paired differences {what: Series in points} as a table: means, intervals and what they show."""
    rows = {}
    for what, values in pairs.items():
        result = statistics.compare(values, 0 * values, paired=True)
        half = "" if pd.isna(result.half) else f" ± {result.half:.2f}"
        rows[what] = [f"{result.mean:+.2f}{half}", result.n, statistics.judge(result)]
    return _table_or_missing(rows, ["Difference", "Pairs", "Verdict"])


def _table_or_missing(rows, columns):
    """Rows {name: cells} as a table, or one row that says that there are none."""
    rows = rows or {"": [MISSING] + [""] * (len(columns) - 1)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def seed_pairing_table(chosen):
    """Whether the seeds of each study pair, and by what: `experiment.seed_pairing` as a table."""
    rows = {}
    for row in experiment.seed_pairing(chosen).itertuples():
        correlation = NO_NUMBER if pd.isna(row.correlation) else f"{row.correlation:+.2f}"
        rows[_plain_title(row.study)] = [
            row.seeds,
            correlation,
            _p_text(row.p),
            "paired" if row.paired else "Welch",
        ]
    return _table_or_missing(rows, ["Seeds", "Correlation of the arms", "p, seed has no effect", "Test"])


def gain_parts_table(chosen):
    """The `experiment.gain_parts` of each study as text, one below the other: means with 95 % intervals."""
    views = {}
    for study in chosen:
        found, rows = experiment.gain_parts(*study), {}
        for variant, mine in found.groupby("variant", sort=False):
            texts = [statistics.mean_text(mine[part], "", "+") for part in experiment.GAIN_PARTS]
            epochs, shorter = mine[["epochs", "shorter"]].iloc[-1]
            rows[HEADINGS[variant]] = [*texts, f"{epochs} against {shorter}", len(mine)]
        views[_plain_title(study)] = _table_or_missing(rows, [*GAIN_PART_TITLES.values(), "Epochs", "Pairs"])
    return pd.concat(views)


def strengths_table(chosen=experiment.STRENGTH_STUDIES):
    """Mean accuracies over the strengths of a distortion compared: a row a comparison, a column a distortion."""
    return pd.concat({_plain_title(study): _strength_rows(study) for study in chosen})


def _strength_rows(study):
    found, rows = experiment.strength_comparisons(*study), {}
    for row in found[found["family"].isin((BETWEEN, ALONE))].itertuples():
        half = "" if pd.isna(row.half) else f" ± {row.half:.2f}"
        rows.setdefault(comparison_title(row), {})[row.distortion] = f"{row.mean:+.2f}{half} ({row.shown})"
    if not rows:
        rows = {"": dict.fromkeys(experiment.UNITS, MISSING)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(experiment.UNITS)).fillna("")


# --- in words -----------------------------------------------------------------------------------


def studies_verdict(chosen):
    """The verdict on the studies, as Markdown: two sentences for all studies of which they are true."""
    found = experiment.comparisons_by_study(chosen)
    return _lines({study: comparisons_in_words(rows) for study, rows in found.items()})


def _lines(told):
    """A line of a list for each text of `told`, {study: text}, after the names of its studies."""
    studies = {}
    for study, text in told.items():
        studies.setdefault(text, []).append(experiment.study_title(*study))
    return "\n".join(f"- **{join_words(names)}.** {text}" for text, names in studies.items())


def notes(chosen):
    """Which pairs are of unlike runs and which images are not the official files, as a Markdown list of studies."""
    told = {}
    for study in chosen:
        copies = frame.image_notes(experiment.study_runs(*study)["record"])
        if sentences := [*_mixed_pairs_note(study), *_environment_note(study), *copies]:
            told[study] = " ".join(sentences)
    return _lines(told)


def comparisons_in_words(found):
    """The comparisons of one study in words: between the transformers, then against the original."""
    if found.empty:
        return f"{MISSING.capitalize()}."
    if found["left_out"].any():
        return "Nothing is compared, as the original failed to train in at least half of its runs."
    texts = [
        _between_transformers(found[found["family"] == BETWEEN]),
        _against_original(found[found["family"] == ALONE]),
    ]
    return " ".join([*filter(None, texts), *_collapsed_note(found)]) or f"{MISSING.capitalize()}."


def _between_transformers(rows):
    """Which transformer is better than which, and which are equal, in a sentence."""
    told = {EQUAL: [], NOT_SHOWN: [], FEW: [], SAME: []}
    parts = []
    for row in rows.itertuples():
        first, second = HEADINGS[row.variant], HEADINGS[row.against]
        if row.shown.startswith((BETTER, WORSE)):
            better, than = (first, second) if row.shown.startswith(BETTER) else (second, first)
            little = BY_LITTLE if row.shown.endswith(BY_LITTLE) else ""
            parts.append(f"{better} is better than {than}{little}")
        else:
            told[row.shown].append(f"{first} and {second}")
    whole = len(effects.FAMILIES[BETWEEN])
    names = {
        k: "any two of the three transformers" if len(v) == whole else join_words(v, ", and ")
        for k, v in told.items()
    }
    sentences = {
        EQUAL: f"{names[EQUAL]} are equal within {statistics.MARGIN:g} point",
        SAME: f"{names[SAME]} are identical",
        NOT_SHOWN: f"between {names[NOT_SHOWN]} neither a difference nor equality is shown",
        FEW: f"{names[FEW]} have too few runs to compare",
    }
    return _sentence([*parts, *(text for kind, text in sentences.items() if told[kind])])


def _against_original(rows):
    """Which transformers are better than the original, worse or equal, in a sentence."""
    kinds, parts = {}, []
    for row in rows.itertuples():
        kinds.setdefault(row.shown, []).append(HEADINGS[row.variant])
    for shown, variants in kinds.items():
        names = "all three transformers" if len(variants) == len(effects.APPLIED) else join_words(variants)
        is_, has = ("is", "has") if len(variants) == 1 else ("are", "have")
        better, *little = shown.split(",")
        sentences = {
            NOT_SHOWN: f"no difference from the original is shown for {names.replace('all three', 'any of the three')}",
            FEW: f"{names} {has} too few runs to compare with the original",
            EQUAL: f"{names} {is_} equal to the original within {statistics.MARGIN:g} point",
            SAME: f"{names} {is_} identical to the original",
        }
        told = f"{names} {is_} {better} than the original{','.join(['', *little])}"
        parts.append(sentences.get(shown, told))
    return _sentence(parts)


def _collapsed_note(found):
    """A sentence on the collapsed runs of a study, if there are any."""
    counts = {}
    for row in found.itertuples():
        counts |= {
            row.variant: (row.collapsed, row.runs),
            row.against: (row.collapsed_against, row.runs_against),
        }
    lost = [f"{arm_title(arm)} in {number} of {of} runs" for arm, (number, of) in counts.items() if number]
    return [f"Collapsed: {join_words(lost)}."] if lost else []


def _mixed_pairs_note(study):
    """How many pairs of one seed were trained by two commits or on two devices: a list of sentences."""
    pairs, commits, devices = experiment.count_mixed_pairs(*study)
    if not commits and not devices:
        return []
    return [
        f"Of {pairs} pairs of one seed, {commits} are of two commits of the code, {devices} of two devices."
    ]


def _environment_note(study):
    """Why bypassed runs differ from the original's, where they are not identical: a list of sentences."""
    apart = experiment.environment_differences(*study)
    if not apart:
        return []
    fields = set().union(*apart)
    told = f"another {', '.join(sorted(fields))}" if fields else "the same environment, which is an error"
    return [
        "A bypassed transformer changes no digit under one code on one machine; here the original's runs are "
        f"of {told}."
    ]


def untrained_in_words(chosen):
    """Which arms of these studies are not yet trained, in one sentence; empty if all are."""
    parts = []
    for variant, studies in experiment.untrained_arms(chosen).items():
        where = (
            "in any study"
            if len(studies) == len(chosen)
            else f"on {join_words([_plain_title(s) for s in studies])}"
        )
        parts.append(f"{HEADINGS[variant]} {where}")
    return f"Not yet trained: {'; '.join(parts)}." if parts else ""


def strength_verdict(chosen=experiment.STRENGTH_STUDIES):
    """The verdict on distorted test images in the studies, as Markdown."""
    lines = {}
    for study in chosen:
        found = experiment.strength_comparisons(*study)
        parts = []
        for family, tell in ((ALONE, _against_original), (BETWEEN, _between_transformers)):
            told = {}
            for distortion in experiment.UNITS:
                rows = found[(found["family"] == family) & (found["distortion"] == distortion)]
                if text := tell(rows):
                    told.setdefault(text, []).append(distortion)
            parts += [f"Under {join_words(names)}, {_lower(text)}" for text, names in told.items()]
        lines[study] = " ".join(parts) or f"{MISSING.capitalize()}."
    return _lines(lines)


def networks_verdict(dataset, protocol):
    """The verdict on each network of a dataset and protocol; without transformers, which does best."""
    ours = frame.runs(dataset, protocol)
    if protocol == SMOKE:
        return "Everything runs. Nothing follows from a smoke run's accuracies."
    if ours.empty:
        return f"At the protocol `{protocol}`: {MISSING}."
    if set(ours["variant"]) == {ORIGINAL}:
        means = ours.groupby("backbone")["test"].mean()
        best, last = title(means.idxmax()), title(means.idxmin())
        lead = f"Without a transformer {best} does best, with {means.max():.2f} % of the test images"
        return f"{lead} (protocol `{protocol}`)." + (f" {last} does worst." if len(means) > 1 else "")
    studies = [(dataset, backbone, protocol) for backbone in frame.order_backbones(ours["backbone"])]
    return studies_verdict(studies)


def gain_in_words(study, variant="lstn", against=ORIGINAL):
    """Test accuracy of a variant minus another's in a study, in points, with its verdict, as text."""
    found = _of_pair(effects.compare_arms(experiment.study_runs(*study)), variant, against)
    if found.empty:
        return MISSING
    row = next(found.itertuples())
    return f"{difference_text(row)} points ({verdict_text(row)})"


def lstn_gain_in_words():
    """Whether L-STN improves on STN, where a transformer works, in one sentence with its numbers."""
    found = experiment.comparisons_by_study(experiment.STUDIES)
    works = [s for s, rows in found.items() if (_of_pair(rows, "stn", ORIGINAL)["shown"] == BETTER).any()]
    parts = [f"{gain_in_words(study, against='stn')} on {DATASETS[study[0]].title}" for study in works]
    return f"L-STN minus STN is {join_words(parts)}" if parts else MISSING


def _of_pair(found, variant, against):
    return found[(found["variant"] == variant) & (found["against"] == against)]


def count_verdicts_in_words():
    """How often which verdict was reached over all studies, in two sentences."""
    found = pd.concat(experiment.comparisons_by_study(experiment.shown_studies()).values())
    parts = []
    for family, name in ((BETWEEN, "two transformers"), (ALONE, "a transformer and the network alone")):
        kinds = found.loc[found["family"] == family, "shown"].str.split(",").str[0].value_counts()
        told = ", ".join(
            f"{kinds[kind]} “{kind}”" for kind in (BETTER, WORSE, EQUAL, NOT_SHOWN, FEW) if kind in kinds
        )
        parts.append(f"Of {kinds.sum()} comparisons of {name}: {told or MISSING}.")
    bypassed = found[found["variant"].isin(effects.BYPASSED)]
    parts.append(
        f"A bypassed transformer leaves every accuracy identical in {bypassed['identical'].sum()} of "
        f"{len(bypassed)} comparisons."
    )
    return " ".join(parts) if len(found) else f"{MISSING.capitalize()}."


def _lower(text):
    """A sentence as a part of another: names keep their capitals."""
    return text[0].lower() + text[1:] if text.startswith(("No ", "Between ", "All ", "Any ")) else text


def _sentence(parts):
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""
