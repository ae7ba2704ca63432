"""A model card has the numbers of its record and a valid YAML header."""

import json

import pytest
import yaml
from helpers import write_run

from stn_paper.analysis import frame
from stn_paper.cli import main
from stn_paper.errors import InputError
from stn_paper.models.small_nets import SYSTEMS
from stn_paper.paths import ROOT
from stn_paper.report import card
from stn_paper.training import records


def test_every_committed_record_has_a_card_with_its_numbers(committed):
    for name, record in frame.records_by_name().items():
        _, header, body = card.model_card(record).split("---\n", 2)
        (index,) = yaml.safe_load(header)["model-index"]
        (metric,) = index["results"][0]["metrics"]
        assert (index["name"], metric["value"]) == (name, records.selected_result(record)["test"])
        assert f"{record['parameters']:,}" in body and record["environment"]["device"] in body
        rows = [line for line in body.splitlines() if line.startswith("|")]
        assert all(line.replace(r"\|", "").count("|") == 3 for line in rows)


def test_a_card_is_printed_for_a_name_and_for_a_file(capsys):
    path = write_run("lstn", 3, 61.5)
    printed = []
    for run in (path.stem, str(path)):
        main(["card", run])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] == card.model_card(json.loads(path.read_text()))
    assert "61.50 %" in printed[0] and "--seed 3" in printed[0]


def test_a_card_names_the_paper_only_for_what_is_the_papers():
    cards = {
        (backbone, variant): card.model_card(
            json.loads(write_run(variant, 0, 60.0, backbone, dataset).read_text())
        )
        for backbone, variant, dataset in (
            ("resnet18", "lstn", "cifar10"),
            ("mnist-cnn", "lstn", "mnist-rts"),
            ("mnist-cnn", "original", "mnist-rts"),
            ("sign-cnn-bn", "two", "gtsrb"),
            ("timm/resnet10t", "original", "cifar10"),
        )
    }
    assert [card.PAPER in text for text in cards.values()] == [True, True, False, False, False]
    assert all(
        card.SOURCES[backbone] in text for (backbone, _), text in cards.items() if backbone in card.SOURCES
    )
    assert set(card.SOURCES) == set(SYSTEMS)


def test_an_accuracy_over_several_labels_an_image_says_so():
    record = json.loads(write_run("rnn", 0, 97.0, "sequence-cnn", "mnist-sequence", "system").read_text())
    assert card.model_card(record).count("of the labels, 3 an image") == 2


def test_a_record_is_found_by_its_name_its_files_name_or_its_path(committed):
    path = next((ROOT / "results/digits").glob("*.json"))
    for run in (path.stem, path.name, str(path)):
        assert card.find_record(run)["spec"]["dataset"] == "digits"


@pytest.mark.parametrize("run", ["no_such_run", "no/such.json", ""])
def test_a_run_without_a_record_is_one_sentence(run):
    with pytest.raises(InputError, match="has no record"):
        card.find_record(run)
