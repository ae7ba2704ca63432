"""`python -m stn_paper results check`: find all faults in a folder of records at once.

Results of several machines are merged by copying files; the check finds records that do not fit together.
"""

import os
from collections import Counter
from pathlib import Path

from ..errors import InputError
from ..paths import IN_CLONE, files_below, results_dir
from ..training import records
from ..training.hardware import current_commit


def check(folders=()):
    """Return (faults, notes) on all records in the results folder and in other folders, as lists of sentences.

    Faults: a damaged record, a record of other code, a record whose file is not named after its settings, two records
    of one run that disagree. Notes: the number of records, the commits of their code, and runs with several records.
    Raises InputError for a folder that does not exist.
    """
    runs, faults = {}, []
    for path in _record_files(folders):
        try:
            record = records.read_record(path)
            spec = records.spec_of(record)
        except InputError as error:
            faults.append(str(error))
            continue
        if path.stem != spec.name or path.parent.name != records.record_path(spec).parent.name:
            place = f"{records.record_path(spec).parent.name}/{spec.name}.json"
            faults.append(f"Record {path} is of the run {place}: name it so, or delete it if it is a copy.")
        runs.setdefault(spec.name, []).append((path, record))
    for (first, first_record), *others in runs.values():
        for path, record in others:
            first_fields, fields = _compared_fields(first_record), _compared_fields(record)
            if names := ", ".join(key for key in fields if fields[key] != first_fields[key]):
                faults.append(f"Records {first} and {path} are of one run and disagree ({names}): keep one.")
    return faults, _notes_on_runs(runs)


def _record_files(folders):
    """All JSON files in these folders and the results folder, without repetition, sorted."""
    places = [results_dir(), *map(Path, folders)]
    if not IN_CLONE and not os.path.isdir(places[0]):
        raise InputError(
            f"Folder {places[0]} has no records yet: an installed package has none, and the book's records are in "
            "the repository's folder results/."
        )
    for place in places:
        if not os.path.isdir(place):
            raise InputError(f"Folder {place} does not exist: give a folder with records.")
    paths = {os.path.realpath(path) for place in places for path in files_below(place, "*.json")}
    return sorted(map(Path, paths))


def _compared_fields(record):
    """The fields that two records of one run must agree on; times, memory and the machine may differ."""
    return {
        "images": record["data"].get("fingerprint"),
        "parameters": record["parameters"],
        "epochs": [[epoch.get(field) for field in records.EPOCH_FIELDS] for epoch in record["epochs"]],
        "test": record.get("test"),
        "stopped": record["stopped"],
    }


def _notes_on_runs(runs):
    """Sentences on the records that can be read, by run."""
    records = [record for group in runs.values() for _, record in group]
    notes = [f"{len(records)} records of {len(runs)} runs were read."]
    now = current_commit()
    others = Counter(record["environment"].get("commit") for record in records)
    others.pop(now, None)
    if others:
        counts = ", ".join(f"{count} of {name or 'unknown'}" for name, count in others.most_common())
        notes.append(f"{others.total()} are of another commit than {now or 'the code here'}: {counts}.")
    twice = [group for group in runs.values() if len(group) > 1]
    return notes + [f"There more than once: {', '.join(str(path) for path, _ in group)}." for group in twice]
