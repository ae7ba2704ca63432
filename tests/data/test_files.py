"""The files of each dataset: official archives and plain folders are found, incomplete and damaged ones are named."""

import hashlib
import os
import pickle

import numpy as np
import pytest
from helpers import real, refusal
from PIL import Image
from torchvision.datasets import CIFAR10

from stn_paper.data import datasets, files, image_cache, listings, traffic_signs
from stn_paper.data.datasets import DATASETS, Dataset
from stn_paper.errors import InputError


def picture(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 6), (number, 2 * number, 3 * number)).save(path)


def find(name, dataset, folder):
    found = files.find_files(name, dataset, folder)
    assert len(found.items) == len(found.labels)
    return found


def sentence(name, dataset, folder):
    message = refusal(files.find_files, name, dataset, folder)
    assert files.LAYOUTS[name].address in message
    return message


# --- TSRD ---

TSRD = Dataset("Tiny", 58, {"train": 3, "validation": 1, "test": 1})
DISTINCT = Dataset("Tiny", 58, {"train": 2, "validation": 1, "test": 1}, stratify=TSRD.splits)


@pytest.fixture
def tsrd(tmp_path, monkeypatch):
    """Four training and two test images: one name is in both archives, one test image is a copy."""
    monkeypatch.setitem(traffic_signs.TSRD_ARCHIVES, "train", ("TsignRecgTrain4170Annotation.txt", 4))
    monkeypatch.setitem(traffic_signs.TSRD_ARCHIVES, "test", ("TsignRecgTest1994Annotation.txt", 2))
    images = {"train": {"000_2.png": 0, "000_1.png": 0, "057_1.png": 57, "031_1.png": 31}}
    images["test"] = {"000_1.png": 0, "000_1_1.png": 31}
    for part, (file, _) in traffic_signs.TSRD_ARCHIVES.items():
        lines = [f"{name};6;6;1;1;5;5;{label};" for name, label in images[part].items()]
        (tmp_path / "tsrd").mkdir(exist_ok=True)
        (tmp_path / "tsrd" / file).write_text("\n".join(lines) + "\n")
        for i, name in enumerate(images[part]):
            picture(tmp_path / "tsrd" / f"tsrd-{part}" / name, i + 10 * (part == "test"))
    copy = tmp_path / "tsrd/tsrd-train/031_1.png"
    (tmp_path / "tsrd/tsrd-test/000_1_1.png").write_bytes(copy.read_bytes())
    return tmp_path


def names(listing):
    return [f"{item.parent.name}/{item.name}" for item in listing.items]


def test_tsrd_is_merged_by_file_name_and_its_copies_are_numbered(tsrd):
    found = find("tsrd", TSRD, tsrd)
    files = ["train/000_1", "test/000_1_1", "train/000_2", "train/031_1", "train/057_1"]
    assert names(found) == [f"tsrd-{file}.png" for file in files]
    assert found.labels == [0, 31, 0, 31, 57] and len(found.classes) == 58
    assert found.copies.tolist() == [0, 1, 2, 1, 3] and found.copies.dtype == np.int64
    assert found.replaced == ("tsrd-test/000_1.png",) and found.duplicates == ()


def test_distinct_tsrd_keeps_the_first_image_of_each_content(tsrd):
    found = find("tsrd-distinct", DISTINCT, tsrd)
    assert found.labels == [0, 31, 0, 57] and found.copies.tolist() == [0, 1, 2, 3]
    assert found.duplicates == ("tsrd-train/031_1.png",) and found.replaced == ("tsrd-test/000_1.png",)


def splits(data, seed):
    """The sizes of the splits; () if the split is refused because a class would have no training image."""
    try:
        return tuple(map(len, datasets.split("tsrd", data, seed)))
    except InputError:
        return ()


def test_tsrd_trains_on_all_images_or_on_distinct_ones(tsrd, monkeypatch):
    monkeypatch.setitem(DATASETS, "tsrd", TSRD)
    monkeypatch.setitem(DATASETS, "tsrd-distinct", DISTINCT)
    data = datasets.load_images("tsrd", 6, tsrd)
    assert data.images[:, 2, 0, 0].tolist() == [3, 9, 0, 9, 6]
    assert data.copies.tolist() == [0, 1, 2, 1, 3]
    seeds = [seed for seed in range(20) if splits(data, seed)]
    assert 0 < len(seeds) < 20 and splits(data, seeds[0]) == (3, 1, 1)
    distinct = datasets.load_images("tsrd-distinct", 6, tsrd)
    assert distinct.images[:, 2, 0, 0].tolist() == [3, 9, 0, 6]
    states = {name: state for name, *_, state in datasets.dataset_states(tsrd)}
    assert "1 files left out" in states["tsrd"] and "1 images are copies" in states["tsrd"]
    assert "1 copies of other images left out" in states["tsrd-distinct"]


def test_another_number_of_images_than_stated_is_named(tsrd):
    wrong = TSRD._replace(splits={"train": 4, "validation": 1, "test": 1})
    assert "has 5 images" in sentence("tsrd", wrong, tsrd)
    assert "has 4 distinct images" in sentence("tsrd-distinct", wrong, tsrd)


def test_contents_are_numbered_in_order(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for file, content in zip(paths, (b"x", b"y", b"x")):
        file.write_bytes(content)
    assert listings.number_contents(paths).tolist() == [0, 1, 0]
    arrays = [np.full((2, 2), value, np.uint8) for value in (7, 7, 8)]
    assert listings.number_contents(arrays).tolist() == [0, 0, 1]


def shared_with_training(copies, parts):
    """Percent of the test images whose content is in training."""
    return 100 * np.isin(copies[parts.test], copies[parts.train]).mean()


def test_the_real_tsrd_has_the_counted_copies():
    found = real("tsrd")
    assert len(found.items) == 5998 and len(found.replaced) == 166 and len(np.unique(found.copies)) == 2425
    assert np.bincount(found.copies).min() == 2
    labels = np.array(found.labels)
    first = np.unique(found.copies, return_index=True)[1]
    assert np.array_equal(labels, labels[first][found.copies])  # copies have one label
    kept = found.root / "tsrd-train"
    for name in found.replaced:
        path = found.root / name
        assert path.parent != kept and (kept / path.name).read_bytes() != path.read_bytes()
    data = datasets.Images(None, labels, found.classes, "", copies=found.copies)
    assert shared_with_training(found.copies, datasets.split("tsrd", data, 0)) == pytest.approx(77.8)


def test_the_real_distinct_tsrd_shares_no_picture_between_splits():
    found = real("tsrd-distinct")
    assert len(found.items) == 2425 and len(found.duplicates) == 5998 - 2425
    assert np.array_equal(listings.number_contents(found.items), np.arange(2425))
    labels = np.array(found.labels)
    data = datasets.Images(None, labels, found.classes, "", copies=found.copies)
    for seed in range(3):
        parts = datasets.split("tsrd-distinct", data, seed)
        assert dict(zip(parts._fields, map(len, parts))) == DATASETS["tsrd-distinct"].splits
        assert shared_with_training(found.copies, parts) == 0


def test_tsrd_names_what_is_missing(tsrd):
    (tsrd / "tsrd/tsrd-train/057_1.png").unlink()
    assert "lacks 1 of the images named in TsignRecgTrain4170Annotation.txt" in sentence("tsrd", TSRD, tsrd)
    (tsrd / "tsrd/TsignRecgTrain4170Annotation.txt").unlink()
    assert "has no TsignRecgTrain4170Annotation.txt" in sentence("tsrd", TSRD, tsrd)


@pytest.mark.parametrize("line", ["000_1.png;6;6;1;1;5;5;58;", "000_1.png;6;6;1;1;5;5;x;", "rubbish"])
def test_tsrd_names_a_wrong_line(tsrd, line):
    file = tsrd / "tsrd/TsignRecgTest1994Annotation.txt"
    file.write_text(line + "\n" + file.read_text())
    assert f"has the wrong line {line!r}" in sentence("tsrd", TSRD, tsrd)


def test_tsrd_names_lines_that_are_no_text(tsrd):
    (tsrd / "tsrd/TsignRecgTest1994Annotation.txt").write_bytes(b"\xff\xfe\x00\xd8;1;2")
    assert "TsignRecgTest1994Annotation.txt" in sentence("tsrd", TSRD, tsrd)


def test_tsrd_numbers_images_that_cannot_be_read_apart(tsrd):
    for name in ("000_2", "057_1"):
        (tsrd / f"tsrd/tsrd-train/{name}.png").unlink()
        (tsrd / f"tsrd/tsrd-train/{name}.png").symlink_to("nowhere")
    assert find("tsrd", TSRD, tsrd).copies.tolist() == [0, 1, 2, 1, 3]


def test_a_dataset_without_an_address_cannot_be_downloaded(tmp_path):
    message = sentence("tsrd", DATASETS["tsrd"], tmp_path)
    assert f"has no folder {tmp_path / 'tsrd'}" in message and "--download" not in message
    assert "TsignRecgTrain4170Annotation.txt with its 4170 PNG images" in message


# --- GTSRB ---

GTSRB = Dataset("Tiny", 2, {"train": 4, "validation": 2, "test": 2})


@pytest.fixture(params=["Final_Training/Images", "Training"])
def gtsrb(tmp_path, request):
    """Two classes of three images in two tracks each, and two test images, all as the archives unpack."""
    root = tmp_path / "gtsrb/GTSRB"
    for label in range(2):
        for name in ("00000_00000", "00000_00001", "00001_00000"):
            picture(root / request.param / f"{label:05d}" / f"{name}.ppm", label)
    for i in range(2):
        picture(root / f"Final_Test/Images/{i:05d}.ppm", i)
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    rows = ["00000.ppm;6;6;1;1;5;5;1", "00001.ppm;6;6;1;1;5;5;0"]
    (tmp_path / "gtsrb/GT-final_test.csv").write_text("\n".join([header, *rows]) + "\n")
    return tmp_path


def test_gtsrb_knows_its_tracks_and_its_test_set(gtsrb):
    found = find("gtsrb", GTSRB, gtsrb)
    assert found.labels == [0, 0, 0, 1, 1, 1, 1, 0] and found.test_start == 6
    assert found.groups.tolist() == [0, 0, 1, 2, 2, 3, -1, -1]


def test_gtsrb_refuses_the_smaller_training_set(gtsrb, monkeypatch):
    next(gtsrb.rglob("00000/00000_00000.ppm")).unlink()
    monkeypatch.setattr(traffic_signs, "GTSRB_IJCNN", 5)
    message = sentence("gtsrb", GTSRB, gtsrb)
    assert "has 5 training images" in message and "the set that torchvision downloads" in message


def test_gtsrb_names_missing_answers(gtsrb):
    table = gtsrb / "gtsrb/GT-final_test.csv"
    table.write_text(table.read_text().replace(";0\n", ";2\n"))
    assert "category 2 is not within 0 to 1" in sentence("gtsrb", GTSRB, gtsrb)
    table.unlink()
    assert "has no GT-final_test.csv" in sentence("gtsrb", GTSRB, gtsrb)


def answers(path, rows, separator=";", column="Filename"):
    header = separator.join(["Width", "ClassId", column])
    path.write_text("\n".join([header, *(separator.join(["6", str(c), f]) for f, c in rows)]) + "\n")


def test_gtsrb_labels_are_the_numbers_of_the_class_folders(tmp_path):
    for label in range(12):
        picture(tmp_path / f"GTSRB/Final_Training/Images/{label}/00000_00000.ppm", label)
        picture(tmp_path / f"GTSRB/Final_Test/Images/{label:05d}.ppm", label)
    answers(tmp_path / "GTSRB/GT-final_test.csv", [(f"{c:05d}.ppm", c) for c in range(12)])
    twelve = Dataset("Tiny", 12, {"train": 8, "validation": 4, "test": 12})
    found = find("gtsrb", twelve, tmp_path)
    assert found.labels == [*range(12)] * 2 and found.classes == tuple(map(str, range(12)))
    assert [path.parent.name for path in found.items[:12]] == list(found.classes)
    (tmp_path / "GTSRB/Final_Training/Images/7").rename(tmp_path / "GTSRB/Final_Training/Images/stop")
    assert "class folder 'stop'" in sentence("gtsrb", twelve, tmp_path)
    (tmp_path / "GTSRB/Final_Training/Images/stop").rename(tmp_path / "GTSRB/Final_Training/Images/08")
    assert "8', not 0 to 11" in sentence("gtsrb", twelve, tmp_path)


@pytest.fixture(params=["gtsrb", "gtsrb-german-traffic-sign", "GTSRB"])
def kaggle(tmp_path, request):
    """Two classes of two tracks with two and one frames, as the copy at Kaggle unpacks."""
    root = tmp_path / request.param
    for label in range(2):
        for name in ("00000_00000", "00000_00001", "00001_00000"):
            picture(root / f"Train/{label}/{label:05d}_{name}.png", label)
        picture(root / f"Test/{label:05d}.png", label)
    answers(root / "Test.csv", [("Test/00000.png", 1), ("Test/00001.png", 0)], ",", "Path")
    return tmp_path


def test_gtsrb_as_at_kaggle_keeps_its_tracks(kaggle):
    found = find("gtsrb", GTSRB, kaggle)
    assert found.labels == [0, 0, 0, 1, 1, 1, 1, 0] and found.test_start == 6
    assert found.groups.tolist() == [0, 0, 1, 2, 2, 3, -1, -1]
    assert [path.name for path in found.items[6:]] == ["00000.png", "00001.png"]


def test_gtsrb_refuses_images_of_unknown_tracks(kaggle):
    path = next(kaggle.rglob("00001_00001_00000.png"))
    path.rename(path.with_name("stop.png"))
    assert str(path.with_name("stop.png")) in sentence("gtsrb", GTSRB, kaggle)


def test_gtsrb_refuses_an_image_with_two_answers(kaggle):
    table = next(kaggle.rglob("Test.csv"))
    answers(table, [("Test/00000.png", 1), ("Test/00000.png", 0)], ",", "Path")
    assert "has 1 different test images" in sentence("gtsrb", GTSRB, kaggle)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"Path,ClassId\n\x00,0\n", b"ClassId\n0\n0\n"])
def test_gtsrb_names_a_damaged_table(kaggle, content):
    table = next(kaggle.rglob("Test.csv"))
    table.write_bytes(content)
    assert str(table.parent) in sentence("gtsrb", GTSRB, kaggle)


# --- class folders ---

TINY = Dataset("Tiny", 2, {"train": 2, "validation": 1, "test": 1})
CALTECH = "101_ObjectCategories"


@pytest.fixture
def caltech(tmp_path):
    for name in ("ant/1", "ant/2", "bee/1", "bee/2"):
        picture(tmp_path / f"{CALTECH}/{name}.jpg", 1)
    return tmp_path


def test_leftovers_of_systems_and_programs_are_no_images_and_no_classes(caltech):
    before = find("caltech101", TINY, caltech)
    for name in (
        "ant/._1.jpg",
        ".ipynb_checkpoints/1-checkpoint.jpg",
        "ant/.ipynb_checkpoints/1-checkpoint.jpg",
        "__MACOSX/ant/._1.jpg",
        "bee/__MACOSX/1.jpg",
    ):
        picture(caltech / CALTECH / name, 1)
    (caltech / CALTECH / ".DS_Store").write_bytes(b"")
    (caltech / CALTECH / "ant/Thumbs.db").write_bytes(b"")
    assert find("caltech101", TINY, caltech) == before


@pytest.mark.parametrize("ending", listings.ENDINGS)
def test_images_of_each_usual_ending_are_read(caltech, ending, monkeypatch):
    monkeypatch.setitem(DATASETS, "caltech101", TINY)
    for path, name in zip(sorted(caltech.rglob("*.jpg")), ("1", "2") * 2):
        path.unlink()
        picture(path.with_name(name + ending.upper()), 80)
    images = datasets.load_images("caltech101", 4, caltech).images
    assert (images[:, 0].int() - 80).abs().max() <= 3


def test_the_error_names_the_allowed_endings(caltech):
    next(caltech.rglob("ant/1.jpg")).rename(caltech / CALTECH / "ant/1.heic")
    message = sentence("caltech101", TINY, caltech)
    assert "has 3 images" in message and all(ending in message for ending in listings.ENDINGS)


def test_an_image_or_a_class_too_many_is_named(caltech):
    picture(caltech / CALTECH / "bee/holiday.jpg", 1)
    for path in caltech.rglob("*.jpg"):
        os.utime(path, (1, 1 + ("holiday" in path.name)))
    assert str(caltech / CALTECH / "bee/holiday.jpg") in sentence("caltech101", TINY, caltech)
    (caltech / CALTECH / "notes").mkdir()
    message = sentence("caltech101", TINY, caltech)
    assert "has 3 class folders" in message and "'notes'" in message


def test_links_of_folders_to_themselves_end(caltech):
    for name in ("a", "b"):
        (caltech / CALTECH / "ant" / name).symlink_to(caltech / CALTECH / "ant")
    assert len(find("caltech101", TINY, caltech).items) == 4


PLACES = {
    "caltech101": (
        "caltech-101/caltech-101/101_ObjectCategories",
        "caltech101/caltech-101/101_ObjectCategories",
        "Caltech-101/101_ObjectCategories",
        "Caltech101/101_ObjectCategories",
    ),
    "cifar10": (
        "cifar10/cifar10",
        "CIFAR-10-images",
        "CIFAR-10-images-master",
        "cifar10/CIFAR-10-images",
        "CIFAR10",
        "cifar-10",
    ),
}
PLACES = [(name, place) for name, places in PLACES.items() for place in places]


def fill(name, root):
    for part in ("",) if name == "caltech101" else ("train", "test"):
        for label in ("ant", "bee"):
            for i in (1, 2):
                picture(root / part / label / f"{i}.png", i)


def tiny(name):
    return TINY if name == "caltech101" else Dataset("Tiny", 2, {"train": 3, "validation": 1, "test": 4})


@pytest.mark.parametrize("name, place", PLACES)
def test_the_folders_of_the_usual_downloads_are_found(tmp_path, name, place):
    fill(name, tmp_path / place)
    assert find(name, tiny(name), tmp_path).root.samefile(tmp_path / place)


@pytest.mark.parametrize("name, place", PLACES)
def test_the_data_folder_may_be_the_datasets_own_or_lie_between(tmp_path, name, place):
    fill(name, tmp_path / place)
    given = tmp_path / place
    while given != tmp_path:
        assert find(name, tiny(name), given).root.samefile(tmp_path / place)
        given = given.parent


def test_an_empty_folder_of_a_datasets_name_is_a_folder_of_datasets(tmp_path):
    (tmp_path / "cifar10").mkdir()
    assert files.dataset_folder("cifar10", tmp_path / "cifar10") is None


# --- CIFAR-10 and MNIST ---

CIFAR = Dataset("Tiny", 2, {"train": 3, "validation": 2, "test": 1})
PIXELS = np.random.RandomState(0).randint(0, 256, (6, 3, 32, 32), np.uint8)


def batches(root, monkeypatch):
    """torchvision's pickled batches with the six images; torchvision's checksums are replaced by theirs."""
    root.mkdir(parents=True)
    md5 = {}
    parts = {"data_batch_1": slice(0, 3), "data_batch_2": slice(3, 5), "test_batch": slice(5, 6)}
    content = {
        n: {"data": PIXELS[p].reshape(-1, 3072), "labels": [0, 1, 0][: len(PIXELS[p])]}
        for n, p in parts.items()
    }
    content["batches.meta"] = {"label_names": ["ant", "bee"]}
    for name, value in content.items():
        (root / name).write_bytes(pickle.dumps(value))
        md5[name] = hashlib.md5((root / name).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [[n, md5[n]] for n in ("data_batch_1", "data_batch_2")])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)


@pytest.mark.parametrize("place", ["cifar-10-batches-py", "cifar10/cifar-10-batches-py"])
def test_cifar10_is_read_from_pickled_batches(tmp_path, monkeypatch, place):
    batches(tmp_path / place, monkeypatch)
    found = find("cifar10", CIFAR, tmp_path)
    assert found.labels == [0, 1, 0, 0, 1, 0] and found.test_start == 5 and found.classes == ("ant", "bee")
    assert np.array_equal(np.stack(found.items).transpose(0, 3, 1, 2), PIXELS)
    monkeypatch.setitem(DATASETS, "cifar10", CIFAR)
    assert np.array_equal(datasets.load_images("cifar10", 32, tmp_path).images, PIXELS)


def test_only_images_smaller_than_the_networks_input_are_enlarged_in_batches():
    assert [datasets.stored_size("cifar10", size) for size in (16, 32, 224)] == [16, 32, 32]
    assert datasets.stored_size("caltech101", 224) == 224


def test_damaged_batches_are_named(tmp_path, monkeypatch):
    batches(tmp_path / "cifar-10-batches-py", monkeypatch)
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(b"half")
    assert "has missing or damaged files" in sentence("cifar10", CIFAR, tmp_path)


def test_too_little_memory_is_no_damaged_file(tmp_path):
    def read(root):
        raise MemoryError

    with pytest.raises(MemoryError):
        listings.list_arrays(CIFAR, tmp_path, read)


@pytest.mark.parametrize("error", [True, False])
def test_too_little_memory_is_no_damaged_image(tmp_path, monkeypatch, error):
    picture(tmp_path / "a.png", 1)
    monkeypatch.setattr(Image.Image, "resize", lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        image_cache.decode_image(tmp_path / "a.png", 4, error)


def test_cifar10_is_read_from_folders_with_the_same_classes(tmp_path):
    for part, count in (("train", 5), ("test", 1)):
        for i in range(count):
            picture(tmp_path / f"cifar10/{part}/{'ant' if i < 3 else 'bee'}/{i}.jpg", i)
    (tmp_path / "cifar10/test/bee").mkdir()
    found = find("cifar10", CIFAR, tmp_path)
    assert found.labels == [0, 0, 0, 1, 1, 0] and found.test_start == 5
    (tmp_path / "cifar10/test/bee").rename(tmp_path / "cifar10/test/cat")
    assert "has other classes" in sentence("cifar10", CIFAR, tmp_path)


def test_mnist_is_read_by_torchvision():
    found = real("mnist")
    assert found.test_start == 60_000 and len(found.items) == 70_000
    assert found.labels[:5] == [5, 0, 4, 1, 9] and found.labels[60_000:60_005] == [7, 2, 1, 0, 4]


@pytest.mark.parametrize("place", ["MNIST/raw", "mnist/raw", "MNIST/MNIST/raw", "MNIST"])
@pytest.mark.parametrize("dot", ["-", "."])
def test_mnist_lies_where_the_usual_downloads_unpack(tmp_path, place, dot):
    dataset = Dataset("Tiny", 10, {"train": 2, "validation": 1, "test": 1})
    (tmp_path / place).mkdir(parents=True)

    def write(part, count):
        for file, magic, shape in (("images-idx3", 0x803, (count, 28, 28)), ("labels-idx1", 0x801, (count,))):
            content = np.array([magic, *shape], ">i4").tobytes() + bytes(int(np.prod(shape)))
            (tmp_path / place / f"{part}-{file}-ubyte".replace("-idx", f"{dot}idx")).write_bytes(content)

    write("train", 3)
    write("t10k", 1)
    found = find("mnist", dataset, tmp_path)
    assert found.test_start == 3 and found.labels == [0] * 4 and found.items[0].shape == (28, 28)
    write("t10k", 2)
    assert "has 2 test images" in sentence("mnist", dataset, tmp_path)
    for path in (tmp_path / place).iterdir():
        content = path.read_bytes()
        for damaged in (b"", content[:6], content[:-1], content[:4] + b"\xff" * 12, bytes(50)):
            path.write_bytes(damaged)
            assert "damaged files" in sentence("mnist", dataset, tmp_path)
        path.write_bytes(content)


def test_every_dataset_of_files_has_a_layout_and_says_what_it_needs():
    assert {*files.LAYOUTS, datasets.EMBEDDED} == set(DATASETS)
    for name in files.LAYOUTS:
        words = files.needed_files(name, DATASETS[name])
        assert "{" not in words and words == words.strip()
