"""The page on faults shows the committed counts, and says so where there are none."""

import json

from stn_paper.paths import RELIABILITY
from stn_paper.report import reliability


def test_the_tables_show_every_count():
    kept = json.loads(RELIABILITY.read_text(encoding="utf-8"))
    faults, kinds = reliability.faults(), reliability.hostile_input()
    assert list(faults.index) == list(kept["faults"]["found"])
    assert [int(n.replace(",", "")) for n in faults["Tries"]] == [
        row["tries"] for row in kept["faults"]["found"].values()
    ]
    cases = [row["cases"] for row in kept["fuzz"]["found"].values()]
    assert [int(n.replace(",", "")) for n in kinds["Cases"]] == cases
    assert (kinds["What is drawn"] != "").all()
    assert f"{sum(cases):,}" in reliability.verdict() and kept["faults"]["device"] in reliability.verdict()


def test_without_counts_nothing_is_claimed(tmp_path, monkeypatch):
    monkeypatch.setattr(reliability, "RELIABILITY", tmp_path / "none.json")
    shown = [reliability.faults(), reliability.hostile_input(), reliability.verdict()]
    assert shown == [reliability.MISSING] * 3
