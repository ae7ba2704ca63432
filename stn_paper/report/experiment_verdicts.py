"""Sentences of the pages "Is it the transformer?" and "Where a transformer helps"; `experiment_page` has the tables."""

import pandas as pd

from ..analysis import effects, experiment, frame, statistics, theta
from ..analysis.statistics import (
    BETTER,
    BY_LITTLE,
    EQUAL,
    FEW,
    LEFT_OUT,
    MISSING,
    NOT_SHOWN,
    SAME,
    WORSE,
    count_verdicts,
)
from ..data.datasets import DATASETS
from ..models import CONSTANT, HEADINGS, ORIGINAL
from .experiment_page import AGAINST_ORIGINAL, BETWEEN, OF_A_PART, plain_title, verdict_text
from .sentences import difference_text, join_words


def cause_verdict(chosen):
    """Whether the transformer causes a gain, as Markdown: the studies in which L-STN is better than both controls.

    The controls are no transformer, and a constant map, which treats all images alike.
    """
    compared, gains = 0, {}
    for study, rows in experiment.comparisons_by_study(chosen).items():
        pairs = [effects.rows_of_pair(rows, "lstn", against) for against in (ORIGINAL, CONSTANT)]
        if any(pair.empty for pair in pairs):
            continue
        compared += 1
        alone, constant = (next(pair.itertuples()) for pair in pairs)
        if count_verdicts((alone.shown, constant.shown), BETTER) == 2:
            gains[experiment.study_title(*study)] = (
                f"{difference_text(alone)} and {difference_text(constant)} points"
            )
    if not compared:
        return f"{MISSING.capitalize()}."
    kind = " with a constant map" if compared < len(chosen) else ""
    claim = (
        f"in {len(gains)} of {compared} studies{kind} L-STN is better than no transformer and than one map for all "
        "images"
    )
    if not gains:
        return f"**Not shown**: {claim}."
    shown = "; ".join(f"{name}: {points}" for name, points in gains.items())
    return f"**Yes{', but not everywhere' if len(gains) < compared else ''}: {claim}** ({shown})."


def studies_verdict(chosen):
    """The verdict on the studies, as Markdown: what the comparisons show, and how many of them are undecided."""
    found, titles_by_clause = experiment.comparisons_by_study(chosen), {}
    found = {study: rows[rows["family"].isin(CLAUSE_WRITERS)] for study, rows in found.items() if len(rows)}
    for study, rows in found.items():
        clauses = [
            write(_decided(rows[rows["family"] == family])) for family, write in CLAUSE_WRITERS.items()
        ]
        if clause := ", and ".join(filter(None, clauses)):
            titles_by_clause.setdefault(clause, []).append(experiment.study_title(*study))
    rows = pd.concat([*found.values(), pd.DataFrame({"shown": []})])
    if rows.empty:
        return f"{MISSING.capitalize()}."
    sentences = [
        f"{clause[0].upper()}{clause[1:]} ({join_words(titles)})."
        for clause, titles in titles_by_clause.items()
    ]
    undecided = len(rows) - len(_decided(rows))
    with_few_runs = (rows["shown"] == FEW).sum()
    lead = f"**{sentences[0]}**" if sentences else "**Open.**"
    rest = f"{undecided} of {len(rows)} comparisons among the original and the transformers show neither a difference "
    rest += "nor equality"
    rest += f", {with_few_runs} of them for lack of runs." if with_few_runs else "."
    return " ".join([lead, *sentences[1:], *([rest] if undecided else [])])


def strength_verdict(compared):
    """Two sentences on distorted test images, as Markdown: transformers against none, and against each other.

    `compared` is the result of `experiment.strength_comparisons`.
    """
    against, between = (compared[compared["family"] == family] for family in (AGAINST_ORIGINAL, BETWEEN))
    if against.empty:
        return f"{MISSING.capitalize()}."
    worse = count_verdicts(against["shown"], WORSE)
    counts = [
        f"{count_verdicts(mine, BETTER)} of {len(mine)} comparisons under {distortion}"
        for distortion, mine in against.groupby("distortion", sort=False)["shown"]
    ]
    apart, equal = count_verdicts(between["shown"], BETTER, WORSE), count_verdicts(between["shown"], EQUAL)
    named = f" ({'; '.join(_winners(between))})" if apart else ""
    lowest = against.loc[against["mean"].idxmin()]
    where = (
        f"{HEADINGS[lowest['variant']]} under {lowest['distortion']}, {DATASETS[lowest['study'][0]].title}"
    )
    return (
        f"**On distorted test images a transformer is better than none in {join_words(counts)}, and worse than none in "
        f"{worse} comparisons** (lowest mean: {lowest['mean']:+.2f} points, {where}). Of {len(between)} comparisons "
        f"between two transformers, {apart} show a difference{named}, {equal} show that both are equal, and "
        f"{len(between) - apart - equal} show neither."
    )


def _winners(rows):
    """Each comparison that shows a difference on distorted test images, as text: the better transformer first."""
    texts = []
    for row in rows[rows["shown"].str.startswith((BETTER, WORSE))].itertuples():
        pair = HEADINGS[row.variant], HEADINGS[row.against]
        first, second = pair if row.shown.startswith(BETTER) else pair[::-1]
        texts.append(f"{first} better than {second} under {row.distortion}, {DATASETS[row.study[0]].title}")
    return texts


def _decided(rows):
    """The comparisons that show a difference or equality."""
    return rows[~rows["shown"].isin((NOT_SHOWN, FEW, LEFT_OUT))]


def _lines(texts):
    """A Markdown list of {study: text}; each text follows the names of its studies."""
    studies = {}
    for study, text in texts.items():
        studies.setdefault(text, []).append(experiment.study_title(*study))
    return "\n".join(f"- **{join_words(names)}.** {text}" for text, names in studies.items())


def notes(chosen):
    """Pairs of runs from two commits or devices, and images that are not the official files, as a Markdown list."""
    texts = {}
    for study in chosen:
        copies = frame.image_notes(experiment.study_runs(*study)["record"])
        if sentences := [*_mixed_pairs_note(study), *_environment_note(study), *copies]:
            texts[study] = " ".join(sentences)
    return _lines(texts)


def _between_transformers(rows):
    """Which transformer is better than which, and which are equal, as a clause."""
    pairs, winners = {EQUAL: [], SAME: []}, {}
    for row in rows.itertuples():
        first, second = HEADINGS[row.variant], HEADINGS[row.against]
        if row.shown.startswith((BETTER, WORSE)):
            better, than = (first, second) if row.shown.startswith(BETTER) else (second, first)
            little = BY_LITTLE if row.shown.endswith(BY_LITTLE) else ""
            winners.setdefault(f"better than {than}{little}", []).append(better)
        else:
            pairs[row.shown].append(f"{first} and {second}")
    whole = len(effects.FAMILIES[BETWEEN])
    names = {
        k: "any two of the three transformers" if len(v) == whole else join_words(v, ", and ")
        for k, v in pairs.items()
    }
    sentences = {
        EQUAL: f"{names[EQUAL]} are equal within {statistics.MARGIN:g} point",
        SAME: f"{names[SAME]} are identical",
    }
    parts = [f"{join_words(v)} {'is' if len(v) == 1 else 'are'} {k}" for k, v in winners.items()]
    return "; ".join([*parts, *(text for kind, text in sentences.items() if pairs[kind])])


def _against_original(rows):
    """Which transformers are better than the original, worse or equal, as a clause."""
    kinds, parts = {}, []
    for row in rows.itertuples():
        kinds.setdefault(row.shown, []).append(HEADINGS[row.variant])
    for shown, variants in kinds.items():
        names = "all three transformers" if len(variants) == len(effects.APPLIED) else join_words(variants)
        is_ = "is" if len(variants) == 1 else "are"
        little = BY_LITTLE if shown.endswith(BY_LITTLE) else ""
        sentences = {
            EQUAL: f"{names} {is_} equal to the original within {statistics.MARGIN:g} point",
            SAME: f"{names} {is_} identical to the original",
        }
        comparison = f"{names} {is_} {shown.removesuffix(BY_LITTLE)} than the original{little}"
        parts.append(sentences.get(shown, comparison))
    return "; ".join(parts)


CLAUSE_WRITERS = {
    BETWEEN: _between_transformers,
    AGAINST_ORIGINAL: _against_original,
}  # family -> the function that writes its clause of a verdict


def _mixed_pairs_note(study):
    """How many pairs of one seed were trained by two commits or on two devices: a list of sentences."""
    pairs, commits, devices = experiment.count_mixed_pairs(*study)
    if not commits and not devices:
        return []
    return [
        f"{pairs} runs have an original with the same seed; bypassed runs do not count. Of these pairs, {commits} mix "
        f"two commits of the code, and {devices} mix two devices."
    ]


def _environment_note(study):
    """Why bypassed runs differ from the original's, where they are not identical: a list of sentences."""
    differences = experiment.environment_differences(*study)
    if not differences:
        return []
    fields = set().union(*differences)
    difference = (
        f"another {', '.join(sorted(fields))}"
        if all(differences)
        else "the same environment, which is an error"
    )
    return [
        "A bypassed transformer changes no digit under one code on one machine; here the original's runs are "
        f"of {difference}."
    ]


def constant_map_in_words(chosen):
    """Return a sentence that says in how many studies a constant map is better than no transformer.

    It is "" if no study has a run with a constant map.
    """
    studies = {}
    for study, rows in experiment.comparisons_by_study(chosen).items():
        for row in effects.rows_of_pair(rows, CONSTANT, ORIGINAL).itertuples():
            studies[experiment.study_title(*study)] = row.shown
    if not studies:
        return ""
    better = count_verdicts(studies.values(), BETTER)
    equal = [name for name, shown in studies.items() if shown == EQUAL]
    also = f", and equal to it within {statistics.MARGIN:g} point on {join_words(equal)}" if equal else ""
    return (
        "A constant map, the same for every image, is better than no transformer in "
        f"{better} of {len(studies)} studies{also}."
    )


def parts_in_words(chosen):
    """Return two sentences of Markdown for each study with ablations.

    The first says in how many runs L-STN without batch norm gives every image nearly the same theta. The second says by
    how many points each part of L-STN changes the test accuracy.
    """
    sentences = []
    for study, rows in experiment.comparisons_by_study(chosen).items():
        parts = [
            f"{HEADINGS[row.variant]} minus {HEADINGS[row.against]} is {difference_text(row)} points ({row.shown})"
            for row in rows[rows["family"] == OF_A_PART].itertuples()
        ]
        where = f"With the {experiment.study_title(*study)}, "
        if "lstn-no-bn" in set(rows["against"]):
            still = count_still(study, "lstn-no-bn")
            sentences.append(
                f"**{where}{HEADINGS['lstn-no-bn']} gives every image nearly the same theta (standard deviation below "
                f"{theta.STILL_BELOW}) in {still} runs.**"
            )
            where = ""
        if parts:
            sentences.append(f"{where}{join_words(parts)}.")
    return " ".join(sentences) or f"{MISSING.capitalize()}."


def count_still(study, variant):
    """In how many runs of a variant theta is nearly the same for every image, as text: "3 of 3"."""
    mine = experiment.study_runs(*study)
    names = mine.loc[mine["variant"] == variant, "run"]
    found = theta.theta_by_run()
    still = found["run"].isin(names) & (found["std"] < theta.STILL_BELOW)
    return f"{still.sum()} of {len(names)}"


def untrained_in_words(chosen):
    """Which arms of these studies are not yet trained, in one sentence; empty if all are."""
    parts = []
    for variant, studies in experiment.untrained_arms(chosen).items():
        where = (
            "in any study"
            if len(studies) == len(chosen)
            else f"on {join_words([plain_title(s) for s in studies])}"
        )
        parts.append(f"{HEADINGS[variant]} {where}")
    return f"Not yet trained: {'; '.join(parts)}." if parts else ""


def gain_in_words(study, variant="lstn", against=ORIGINAL):
    """Test accuracy of a variant minus another's in a study, in points, with its verdict, as text."""
    found = effects.rows_of_pair(effects.comparisons(*study), variant, against)
    if found.empty:
        return MISSING
    row = next(found.itertuples())
    return f"{difference_text(row)} points ({verdict_text(row)})"
