"""Sentences of the pages "Is it the transformer?" and "Where a transformer helps"; `experiment_page` has the tables."""

from ..analysis import effects, experiment, frame, statistics
from ..analysis.statistics import BETTER, BY_LITTLE, EQUAL, FEW, MISSING, NOT_SHOWN, SAME, WORSE
from ..models import HEADINGS, ORIGINAL
from ..models.backbones import title
from ..training.records import SMOKE
from .experiment_page import AGAINST_ORIGINAL, BETWEEN, arm_title, difference_text, plain_title, verdict_text
from .sentences import join_words


def studies_verdict(chosen):
    """The verdict on the studies, as a Markdown list; studies with the same verdict share a line."""
    found = experiment.comparisons_by_study(chosen)
    return _lines({study: comparisons_in_words(rows) for study, rows in found.items()})


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


def comparisons_in_words(found):
    """The comparisons of one study in words: between the transformers, then against the original."""
    if found.empty:
        return f"{MISSING.capitalize()}."
    if found["left_out"].any():
        return "Nothing is compared, as the original failed to train in at least half of its runs."
    texts = [
        _between_transformers(found[found["family"] == BETWEEN]),
        _against_original(found[found["family"] == AGAINST_ORIGINAL]),
    ]
    return " ".join([*filter(None, texts), *_collapsed_note(found)]) or f"{MISSING.capitalize()}."


def _between_transformers(rows):
    """Which transformer is better than which, and which are equal, in a sentence."""
    pairs = {EQUAL: [], NOT_SHOWN: [], FEW: [], SAME: []}
    parts = []
    for row in rows.itertuples():
        first, second = HEADINGS[row.variant], HEADINGS[row.against]
        if row.shown.startswith((BETTER, WORSE)):
            better, than = (first, second) if row.shown.startswith(BETTER) else (second, first)
            little = BY_LITTLE if row.shown.endswith(BY_LITTLE) else ""
            parts.append(f"{better} is better than {than}{little}")
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
        NOT_SHOWN: f"between {names[NOT_SHOWN]} neither a difference nor equality is shown",
        FEW: f"{names[FEW]} have too few runs to compare",
    }
    return _sentence([*parts, *(text for kind, text in sentences.items() if pairs[kind])])


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
        comparison = f"{names} {is_} {better} than the original{','.join(['', *little])}"
        parts.append(sentences.get(shown, comparison))
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
    differences = experiment.environment_differences(*study)
    if not differences:
        return []
    fields = set().union(*differences)
    difference = (
        f"another {', '.join(sorted(fields))}" if fields else "the same environment, which is an error"
    )
    return [
        "A bypassed transformer changes no digit under one code on one machine; here the original's runs are "
        f"of {difference}."
    ]


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


def strength_verdict(chosen=experiment.STRENGTH_STUDIES):
    """The verdict on distorted test images in the studies, as Markdown."""
    lines = {}
    for study in chosen:
        found = experiment.strength_comparisons(*study)
        parts = []
        for family, tell in ((AGAINST_ORIGINAL, _against_original), (BETWEEN, _between_transformers)):
            distortions = {}
            for distortion in experiment.UNITS:
                rows = found[(found["family"] == family) & (found["distortion"] == distortion)]
                if text := tell(rows):
                    distortions.setdefault(text, []).append(distortion)
            parts += [f"Under {join_words(names)}, {_lower(text)}" for text, names in distortions.items()]
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
    found = effects.compare_arms(experiment.study_runs(*study))
    found = found[(found["variant"] == variant) & (found["against"] == against)]
    if found.empty:
        return MISSING
    row = next(found.itertuples())
    return f"{difference_text(row)} points ({verdict_text(row)})"


def _lower(text):
    """A sentence as a part of another sentence: its first letter is small, unless it begins a name."""
    return text[0].lower() + text[1:] if text.startswith(("No ", "Between ", "All ", "Any ")) else text


def _sentence(parts):
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""
