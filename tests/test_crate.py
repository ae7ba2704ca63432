"""The RO-Crate names files that exist, and each record with its accuracy, dataset, code and training."""

import importlib

import pytest

from stn_paper.analysis import frame
from stn_paper.paths import ROOT
from stn_paper.training import records


@pytest.fixture(scope="module")
def entities():
    """The entities of the crate of the committed records: {id: entity}."""
    pytest.importorskip("rocrate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STN_PAPER_RESULTS", str(ROOT / "results"))
        patch.syspath_prepend(str(ROOT / "tools"))
        crate = importlib.import_module("crate")
        return {entity["@id"]: entity for entity in crate.crate().metadata.generate()["@graph"]}


def test_each_record_is_the_result_of_a_training_with_its_numbers(entities, committed):
    every = frame.records_by_name()
    trainings = {i: e for i, e in entities.items() if e["@type"] == "CreateAction"}
    assert every and set(trainings) == {f"#{name}" for name in every}
    assert {m["@id"] for m in entities["./"]["mentions"]} == set(trainings)
    for name, record in every.items():
        training = trainings[f"#{name}"]
        result = entities[training["result"]["@id"]]
        (value,) = (entities[m["@id"]]["value"] for m in result["variableMeasured"] if "/test" in m["@id"])
        assert value == records.selected_result(record)["test"]
        assert entities[training["instrument"]["@id"]]["softwareVersion"] == record["environment"]["commit"]
        assert entities[training["object"]["@id"]]["identifier"] == record["data"]["fingerprint"]
        assert training.get("endTime") == record["environment"].get("ended")


def test_files_in_the_crate_are_in_the_repository(entities):
    parts = [part["@id"] for part in entities["./"]["hasPart"]]
    assert {"results/results.csv", "workflow/Snakefile", entities["./"]["mainEntity"]["@id"]} <= set(parts)
    assert [part for part in parts if not (ROOT / part).exists()] == []


def test_every_reference_leads_to_an_entity_or_an_address(entities):
    def references(value):
        if isinstance(value, list):
            return {identity for inner in value for identity in references(inner)}
        return {value["@id"]} if isinstance(value, dict) else set()

    found = {i for entity in entities.values() for value in entity.values() for i in references(value)}
    assert {i for i in found - entities.keys() if not i.startswith("https://")} == set()
