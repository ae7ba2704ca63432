"""The page on faults shows the committed counts, and says if there are none."""

import json
import re

import pandas as pd

from stn_paper.analysis.statistics import MISSING
from stn_paper.paths import RELIABILITY, ROOT
from stn_paper.report import reliability


def test_the_tables_show_every_count():
    kept = json.loads(RELIABILITY.read_text(encoding="utf-8"))
    faults, kinds = reliability.faults_table(), reliability.hostile_input_table()
    assert list(faults.index) == [name.replace("`", "") for name in kept["faults"]["found"]]
    assert [int(n.replace(",", "")) for n in faults["Tries"]] == [
        row["tries"] for row in kept["faults"]["found"].values()
    ]
    cases = [row["cases"] for row in kept["fuzz"]["found"].values()]
    assert [int(n.replace(",", "")) for n in kinds["Cases"]] == cases
    assert (kinds["What is drawn"] != "").all()
    assert (
        f"{sum(cases):,}" in reliability.count_tries_in_words()
        and kept["faults"]["device"] in reliability.count_tries_in_words()
    )


def test_every_fault_of_an_earlier_commit_names_tests_that_exist():
    rows = pd.read_csv(reliability.DEFECTS)
    assert rows["fault"].is_unique and set(rows["shown by"]) <= set(reliability.SHOWN_BY)
    for test in " ".join(rows["tests"]).split():
        file, _, name = test.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), test
    assert list(reliability.defects_table().index) == list(rows["fault"].str.replace("`", ""))
    numbers = [int(n) for n in re.findall(r"\b\d+\b", reliability.count_defects_in_words())]
    assert numbers == [len(rows), *(n for how in reliability.SHOWN_BY if (n := sum(rows["shown by"] == how)))]


def test_without_counts_nothing_is_claimed(tmp_path, monkeypatch):
    for name in ("RELIABILITY", "DEFECTS"):
        monkeypatch.setattr(reliability, name, tmp_path / "none")
    for table in (reliability.faults_table, reliability.hostile_input_table, reliability.defects_table):
        assert table().to_numpy().tolist() == [[MISSING]]
    for sentence in (reliability.count_tries_in_words, reliability.count_defects_in_words):
        assert sentence() == reliability.NOT_TRIED
