"""Exact and near copies of test images are found; baselines and accuracies are counted with and without copies."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import real
from PIL import Image

from stn_paper import cli
from stn_paper.analysis import copies, copy_search, crops
from stn_paper.data import datasets, files, listings
from stn_paper.data.datasets import DATASETS, Dataset
from stn_paper.paths import PRINTED
from stn_paper.report import copies_page
from stn_paper.training import evaluation

SIZE = copy_search.COLOR_SIDE


def photographs(number, seed=0):
    """Smooth random color pictures, uint8 (number, 32, 32, 3)."""
    draw = np.random.RandomState(seed)
    small = draw.randint(0, 256, (number, 6, 6, 3)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((SIZE, SIZE))) for one in small])


def brighter(image):
    """The picture with a little noise, lower contrast and more light."""
    noise = np.random.RandomState(9).randint(-6, 7, image.shape)
    return (0.8 * image + 40 + noise).clip(0, 255).astype(np.uint8)


# --- the method ---


def test_normalized_pictures_have_mean_0_and_length_1():
    flat = copy_search.normalize_pictures(photographs(3))
    assert flat.shape == (3, copy_search.GREY_SIDE**2) and flat.dtype == torch.float32
    assert flat.mean(1).abs().max() < 1e-6
    torch.testing.assert_close(flat.norm(dim=1), torch.ones(3))
    assert copy_search.normalize_pictures(np.full((1, SIZE, SIZE, 3), 7, np.uint8)).abs().max() == 0


def test_a_changed_picture_is_a_near_copy_and_another_is_not(monkeypatch):
    training, other = photographs(80), photographs(2, seed=1)
    queries = np.stack([training[5], brighter(training[7]), *other])
    found = copy_search.nearest(*map(copy_search.normalize_pictures, (queries, training)))
    assert found.index[:2].tolist() == [5, 7]
    assert copy_search.is_near(found).tolist() == [True, True, False, False]
    assert found.distance[0] == pytest.approx(0, abs=1e-5) and found.distance[1] < 0.05
    monkeypatch.setattr(copy_search, "IMAGES_AT_ONCE", 3)
    again = copy_search.nearest(*map(copy_search.normalize_pictures, (queries, training)))
    assert np.array_equal(found.index, again.index)
    assert np.allclose(found.ratio, again.ratio, atol=1e-5)


def test_an_image_with_many_close_neighbours_has_no_near_copy():
    """Each of 60 slightly different pictures is close to all others, like MNIST's digits 1."""
    one = photographs(1)[0].astype(int)
    noise = np.random.RandomState(1).randint(-9, 10, (61, *one.shape))
    similar = (one + noise).clip(0, 255).astype(np.uint8)
    found = copy_search.nearest(*map(copy_search.normalize_pictures, (similar[:1], similar[1:])))
    assert found.distance[0] < 0.05 and not copy_search.is_near(found)[0]


def test_the_threshold_counts_as_near():
    ratio = np.array([copies.THRESHOLD, np.nextafter(copies.THRESHOLD, 1)])
    assert copy_search.is_near(copy_search.Neighbours(None, None, ratio)).tolist() == [True, False]


def test_the_ratio_is_that_of_the_first_and_the_last_neighbour():
    keys = torch.tensor([[1.0, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]])
    found = copy_search.nearest(torch.tensor([[0.0, 1.0]]), keys[:3], neighbour=3)
    assert found.index == 2 and found.distance == pytest.approx(0.2) and found.ratio == pytest.approx(0.2)
    assert copy_search.nearest(keys[:1], keys[1:], neighbour=50).ratio == pytest.approx(0.2)  # of three


# --- a whole dataset, made up ---

LABELS = np.arange(40) % 4


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder of Caltech-101 with 40 images in 4 classes; the files of images 0 and 1 have the same bytes."""
    row = Dataset("Tiny", 4, {"train": 24, "validation": 8, "test": 8})
    monkeypatch.setitem(DATASETS, "caltech101", row)
    root = tmp_path / "data" / files.LAYOUTS["caltech101"].folders[0]
    names = ("Faces", "Faces_easy", "ant", "bee")
    images = photographs(40)
    images[4] = images[0]
    for i, (label, image) in enumerate(zip(LABELS, images)):
        folder = root / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"image_{i // 4:04d}.png")
    return tmp_path / "data"


def test_the_command_writes_what_the_page_reads(tiny, capsys):
    cli.main(["copies", "--data-dir", str(tiny)])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(copies.STUDIED) and sum("left as they were" in line for line in printed) == 5
    row = copies.read_table("counts").query("images == 'test'").iloc[0]
    assert row["dataset"] == "caltech101" and (row["number"], row["training"]) == (8, 24)
    listing, compared = copy_search.compare_splits("caltech101", tiny)
    content = listings.number_contents(listing.items)
    expected = [content[i] in content[compared.split.train] for i in compared.split.test]
    assert compared.exact.tolist() == expected and row["exact"] == sum(expected)
    assert not (compared.exact & compared.near).any()
    assert copies.read_table("ratios")["images"].sum() <= 8
    assert copies.read_table("crops").iloc[0]["pairs"] == 10
    with Image.open(copies.sheet_path("caltech101")) as sheet:
        assert sheet.width > 100


def test_a_dataset_keeps_its_rows_when_another_is_written():
    for name, number in (("mnist", 1), ("tsrd", 2), ("mnist", 3)):
        copy_search._store("counts", pd.DataFrame({"dataset": [name], "number": [number]}))
    assert copies.read_table("counts").to_dict("list") == {"dataset": ["tsrd", "mnist"], "number": [2, 3]}


# --- crops ---


def test_a_part_of_a_photograph_is_found_at_its_place():
    photo = Image.fromarray(photographs(1)[0]).resize((120, 80), Image.Resampling.BICUBIC)
    other = Image.fromarray(photographs(1, seed=3)[0]).resize((120, 80), Image.Resampling.BICUBIC)
    part = photo.crop((30, 10, 90, 70))
    assert crops.best_correlation(photo, part) > 0.98 > 0.8 > crops.best_correlation(other, part)
    assert crops.best_correlation(photo, photo) == pytest.approx(1, abs=1e-3)


# --- baselines ---


def test_the_look_up_by_hand_on_ten_images():
    """Training: contents 0 to 5 of classes 2, 2, 2, 0, 1, 1. Of four test images, two contents are known."""
    contents, labels = np.array([0, 1, 2, 3, 4, 5]), np.array([2, 2, 2, 0, 1, 1])
    queries, truth = np.array([4, 9, 3, 8]), np.array([1, 2, 0, 0])
    predicted = copy_search.look_up(contents, labels, queries)
    assert predicted.tolist() == [1, 2, 0, 2]  # the unknown ones get the most frequent class, 2
    apart = copies.count_by_copies(predicted == truth, np.isin(queries, contents))
    assert apart == {"all": (4, 3), "with copy": (2, 2), "without copy": (2, 1)}


def test_the_nearest_training_image_gives_its_class(monkeypatch):
    images, labels = photographs(6), np.array([0, 1, 2, 0, 1, 2])
    queries = np.stack([images[4], (images[2] * 0.98).astype(np.uint8), images[0]])
    assert copy_search.nearest_pixels(images, labels, queries).tolist() == [1, 2, 0]


# --- accuracies of records ---


@pytest.mark.parametrize("number", [1, 8, 13])
def test_flags_survive_packing(number):
    flags = np.random.RandomState(number).rand(number) < 0.5
    assert np.array_equal(evaluation.unpack_flags(evaluation.pack_flags(flags), number), flags)


@pytest.fixture
def record():
    """A record with eight test images, five of them classified correctly, and the counted copies of its split."""
    exact, near = (np.array(flags, bool) for flags in ([1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0]))
    row = {"dataset": "tsrd", "split_seed": 0, "fingerprint": "f", "train": 24, "test": 8}
    row |= {"exact": evaluation.pack_flags(exact), "near": evaluation.pack_flags(near)}
    copy_search._store("test_images", pd.DataFrame([row]))
    correct = np.array([1, 1, 1, 0, 1, 1, 0, 0], bool)
    return {
        "spec": {"dataset": "tsrd", "protocol": {"split_seed": 0}},
        "data": {"fingerprint": "f", "train": 24, "test": 8},
        "test": {"correct": evaluation.pack_flags(correct)},
    }


def test_images_with_and_without_a_copy_have_their_own_accuracy(record):
    assert copies.accuracy_by_copies(record) == {"all": 62.5, "with copy": 100, "without copy": 40}
    assert copies.accuracy_by_copies(record, near=True) == {"all": 62.5, "with copy": 75, "without copy": 50}


@pytest.mark.parametrize(
    "part, change",
    [
        ("data", {"fingerprint": "g"}),
        ("data", {"train": 12}),
        ("data", {"test": 4}),
        ("spec", {"dataset": "digits"}),
        ("spec", {"protocol": {"split_seed": 1}}),
        ("test", {"correct": None}),
    ],
)
def test_other_images_or_no_answers_have_no_accuracy_by_copies(record, part, change):
    assert copies.accuracy_by_copies(record | {part: record[part] | change}) is None


def test_a_group_without_images_has_no_accuracy(record):
    row = copies.read_table("test_images").assign(exact=evaluation.pack_flags(np.zeros(8, bool)))
    copy_search._store("test_images", row)
    assert np.isnan(copies.accuracy_by_copies(record)["with copy"])


# --- what is committed ---


def test_the_committed_results_agree_with_each_other(committed):
    counted = copies.read_table("counts").query("images == 'test'").set_index("dataset")
    flagged = copies.read_table("test_images").set_index("dataset")
    assert tuple(counted.index) == tuple(flagged.index) == copies.STUDIED
    eye = copies_page.checked_by_eye()
    for name, row in flagged.iterrows():
        exact, near = (evaluation.unpack_flags(row[kind], row["test"]) for kind in ("exact", "near"))
        assert (exact.sum(), near.sum()) == tuple(counted.loc[name, ["exact", "near"]])
        sizes = DATASETS[name].splits
        assert row["test"] == sizes["test"] == counted.loc[name, "number"]
        assert copies.sheet_path(name).stat().st_size < 150e3
        histogram = copies.read_table("ratios").query("dataset == @name").set_index("below")["images"]
        bands = [
            histogram[(histogram.index > low + 1e-6) & (histogram.index <= top + 1e-6)]
            for low, top in copy_search.BANDS
        ]
        shown = sum(min(copy_search.PAIRS, band.sum()) for band in bands[:4])
        assert abs(eye.loc[name, "pairs"] - shown) <= 1  # a ratio on the edge of two bands
        assert near.sum() >= eye.loc[name, "pairs"] >= eye.loc[name, "same"]
    total = copies.read_table("files").set_index("dataset").loc["tsrd"]
    assert total.tolist() == [5998, 166, 2425, 0]
    first = copies.read_table("seeds").set_index("seed").loc[copies.SPLIT_SEED, "exact"]
    assert first == counted.loc["tsrd", "exact"]
    notes = (PRINTED / "altered_files.csv").read_text()
    assert all(flagged.loc[name, "fingerprint"] in notes for name in ("tsrd", "tsrd-distinct"))


def test_the_page_shows_the_committed_results(committed):
    assert len(copies_page.test_copies_table()) == len(copies.STUDIED)
    assert len(copies_page.validation_copies_table()) == len(copies.STUDIED) + 1
    for text in (copies_page.copies_verdict(), copies_page.merging_in_words(), copies_page.faces_in_words()):
        assert "nan" not in text and "{" not in text
    for figure in (copies_page.seeds_plot(), copies_page.thresholds_plot()):
        assert figure.axes[0].has_data()


@pytest.mark.parametrize("name", ["tsrd", "tsrd-distinct"])
def test_the_real_copies_are_those_committed(committed, name):
    real(name)
    listing, compared = copy_search.compare_splits(name)
    row = copies.read_table("test_images").set_index("dataset").loc[name]
    assert datasets.fingerprint_of(listing) == row["fingerprint"]
    assert (
        evaluation.pack_flags(compared.exact) == row["exact"]
        and evaluation.pack_flags(compared.near) == row["near"]
    )
    counted = copies.read_table("baselines").query("dataset == @name").reset_index(drop=True)
    pd.testing.assert_frame_equal(copy_search.test_baselines(name, compared), counted)
