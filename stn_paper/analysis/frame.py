"""Run records as a table, a row a run, and how its rows are named and ordered."""

import math

import pandas as pd

from ..models import HEADINGS, ORIGINAL
from ..models.backbones import BACKBONES
from ..paths import PRINTED
from ..training import records
from ..training.spec import BEST_OF_FIVE, BEST_VALIDATION, OTHER_SEEDS

OTHERS = "Original, other seeds"  # runs that are compared with the original, and pair with no variant
RULES = (BEST_VALIDATION, BEST_OF_FIVE)
RUN_COLUMNS = ["backbone", "variant", "seed", "validation", "test", *RULES, "record"]


def runs(dataset, protocol, backbone=None):
    """One row a recorded run, of one backbone or of all, accuracies in percent: columns RUN_COLUMNS.

    `test` is the test accuracy by the protocol's own selection rule; the column of a rule's name is what that
    rule reports of the same run.
    """
    rows = []
    for record in records.records(dataset, protocol):
        names = [record["spec"][field] for field in ("backbone", "variant", "seed")]
        chosen, by_rule = records.chosen(record), [_by(record, rule) for rule in RULES]
        rows.append([*names, chosen["validation"], chosen["test"], *by_rule, record])
    found = pd.DataFrame(rows, columns=RUN_COLUMNS)
    return found if backbone is None else found[found["backbone"] == backbone]


def _by(record, rule):
    """The test accuracy that a rule reports of a run; NaN where the record does not hold it."""
    return record["selected"].get(rule, {}).get("test", math.nan)


def networks_run(dataset, protocol):
    """How many networks, each a backbone with a variant, have a run."""
    return len(runs(dataset, protocol).drop_duplicates(["backbone", "variant"]))


def arms(ours):
    """What each of these `runs` is called, the original with other seeds apart: a Series of texts."""
    others = (ours["variant"] == ORIGINAL) & (ours["seed"] >= OTHER_SEEDS)
    return ours["variant"].map(HEADINGS).mask(others, OTHERS)


def variants_of(ours):
    """Names of the variants that these `runs` are of, in the order of HEADINGS."""
    return [variant for variant in HEADINGS if variant in set(ours["variant"])]


def ordered(backbones):
    """Each name once: the paper's in its order, then the others by name."""
    known = list(BACKBONES)
    return sorted(set(backbones), key=lambda b: (known.index(b) if b in known else len(known), b))


def best_protocol(dataset, protocols):
    """The first of the protocols with records of at least half as many networks as any other has."""
    counts = [networks_run(dataset, protocol) for protocol in protocols]
    return next(p for p, count in zip(protocols, counts) if 2 * count >= max(counts))


def copies(records):
    """What is known of the images of these records where they are not the official files: sentences."""
    notes = pd.read_csv(PRINTED / "copies.csv", index_col="fingerprint")["note"]
    return [notes[f] for f in sorted({r["data"].get("fingerprint") for r in records} & set(notes.index))]
