"""The printed tables: their sums, their sizes, and the corrections of misprints."""

import pytest

from stn_paper.analysis import accuracy, paper
from stn_paper.errors import InputError
from stn_paper.models import HEADINGS
from stn_paper.models.backbones import BACKBONES

ROWS = {4: 14, 5: 28, 6: 28, 7: 32, 8: 32, 9: 30}


def in_cells():
    """Every correction of a cell: table number and the row of corrections.csv."""
    misprints = [(n, c) for n in range(1, 10) for c in paper.corrections(n).itertuples()]
    return [(n, c) for n, c in misprints if c.column != "heading"]


def printed_cell(number, correction):
    printed = paper.table(number)
    if correction.row.isdigit():
        return printed.loc[int(correction.row) - 1, correction.column]
    model, *heading = correction.row.split(", ")
    rows = printed[printed["model"] == model]
    if heading:
        rows = rows[rows["variant"].map(HEADINGS) == heading[0]]
    assert len(rows) == 1
    return rows[correction.column].item()


def as_printed(number):
    cells = paper.table(number)["parameters"]
    return sum(int(n) for cell in cells[:-1] for n in cell.split("+")), int(cells.iloc[-1])


@pytest.mark.parametrize("number", paper.LOCALIZATION_TABLES)
def test_layers_sum_to_the_printed_total(number):
    _, total = as_printed(number)
    assert sum(layer.parameters + layer.norm_parameters for layer in paper.printed_layers(number)) == total


def test_table_3_sums_to_its_total_only_when_corrected():
    assert as_printed(1) == (3194, 3194)
    assert as_printed(2) == (3032, 3032)
    assert as_printed(3) == (3690 + 2 * 8, 3690)


@pytest.mark.parametrize("number, correction", in_cells(), ids=lambda v: getattr(v, "printed", v))
def test_the_corrected_misprint_stands_in_the_table(number, correction):
    assert printed_cell(number, correction) == correction.printed
    assert paper.corrected(number, correction.printed, correction.row) == correction.right
    assert correction.right != correction.printed and correction.why


def test_a_row_without_misprint_stays_as_printed():
    assert paper.corrected(3, "36+16", 2) == "36+16"
    assert paper.corrected(4, "ResNet-50") == "ResNet-50"


def test_misprinted_accuracies_are_those_of_four_cells():
    found = {
        (number, cell.model, cell.variant, split)
        for number in (6, 8)
        for cell in paper.table(number).itertuples()
        for split in ("validation", "test")
        if paper.is_misprint(number, cell.model, cell.variant, split)
    }
    b5, b3 = (6, "EfficientNet-b5", "vstn"), (6, "EfficientNet-b3", "stn")
    densenet, resnet = (8, "DenseNet-121", "lstn"), (8, "ResNet-152", "lstn")
    one = {(*b5, "validation"), (*b5, "test"), (*b3, "test")}
    assert found == one | {(*densenet, "validation"), (*resnet, "test")}


def test_every_accuracy_heading_is_corrected():
    for number in paper.DATASET_OF:
        notes = paper.corrections(number)
        assert list(notes.loc[notes["column"] == "heading", "row"]) == ["all", "all"]


@pytest.mark.parametrize("number, rows", ROWS.items())
def test_every_row_is_there_once_and_names_a_backbone(number, rows):
    printed = paper.table(number)
    names = ["backbone", "variant"] if "variant" in printed else ["backbone"]
    assert len(printed) == rows and not printed.duplicated(names).any()
    assert set(printed["backbone"]) <= set(BACKBONES)


def test_table_4_has_the_networks_that_its_wrong_names_mean():
    printed = paper.table(4).set_index("model")["backbone"]
    wrong = {f"DenseNet-{n}": f"densenet{m}" for n, m in [(120, 169), (119, 201), (118, 264)]}
    assert printed[[*wrong, "ResNet-150"]].to_dict() == wrong | {"ResNet-150": "resnet152"}


def test_the_classes_of_caltech101_hold_its_images():
    images = paper.caltech101_classes()
    assert (len(images), images.sum()) == (101, 8677) and images.index.is_unique


def test_accuracies_are_percentages():
    for number in paper.DATASET_OF:
        values = paper.table(number).filter(["training", "validation", "test"]).astype(float)
        assert values.shape[1] == 2 and values.min(axis=None) > 60 and values.max(axis=None) <= 100


def test_networks_have_a_variant_and_leave_the_printed_table_as_it_is():
    assert set(paper.networks(4)["variant"]) == {"original"}
    assert "variant" not in paper.table(4)
    assert paper.networks(6).equals(paper.table(6))


@pytest.mark.parametrize(
    "function, number",
    [(paper.table, 10), (paper.table, "table6"), (accuracy.cells, 5), (accuracy.replication, 4)],
)
def test_a_number_without_such_a_table_is_named(function, number):
    with pytest.raises(InputError, match=repr(number)):
        function(number)
