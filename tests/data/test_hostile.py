"""Folders and parameters drawn at random, hostile ones among them, end in a result or one sentence.

HOSTILE_CASES sets how many are drawn, anew each time; without it 200 fixed ones are.
"""

import io
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stn_paper.data import datasets, files  # noqa: E402
from stn_paper.data.datasets import DATASETS, Dataset  # noqa: E402
from stn_paper.errors import InputError  # noqa: E402
from stn_paper.paths import data_dir  # noqa: E402

settings.register_profile(
    "hostile",
    max_examples=int(os.environ.get("HOSTILE_CASES", 200)),
    deadline=None,
    derandomize="HOSTILE_CASES" not in os.environ,  # the same ones in CI each time
    database=None,
    suppress_health_check=list(HealthCheck),
)
HOSTILE = settings.get_profile("hostile")


def encoded(mode, form, shape=(5, 4)):
    kind = np.uint16 if mode == "I;16" else np.uint8
    pixels = np.random.RandomState(0).randint(0, 255, (*shape, *((3,) if mode == "RGB" else ())))
    file = io.BytesIO()
    Image.fromarray(pixels.astype(kind)).save(file, form)
    return file.getvalue()


GOOD = [encoded("RGB", form) for form in ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")]
GOOD += [encoded("L", "PNG"), encoded("I;16", "PNG"), encoded("I;16", "TIFF")]


@st.composite
def contents(draw):
    """The bytes of a file: an image, one with a few other bytes or cut, or no image."""
    image = bytearray(draw(st.sampled_from(GOOD)))
    kind = draw(st.sampled_from(["good", "good", "changed", "cut", "noise"]))
    if kind == "noise":
        return draw(st.binary(max_size=64))
    if kind == "cut":
        return bytes(image[: draw(st.integers(0, len(image)))])
    if kind == "changed":
        for place, value in draw(
            st.lists(st.tuples(st.integers(0, len(image) - 1), st.integers(0, 255)), max_size=8)
        ):
            image[place] = value
    return bytes(image)


def no_path(name):
    return name in (b"", b".", b"..") or b"/" in name or b"\0" in name


NAMES = st.one_of(st.binary(max_size=12), st.text(max_size=6).map(lambda t: t.encode("utf-8", "replace")))
NAMES = NAMES.filter(lambda name: not no_path(name))
IMAGE_NAMES = st.tuples(NAMES, st.sampled_from([*files.ENDINGS, ".JPG", ".gif", ""])).map(
    lambda parts: parts[0] + parts[1].encode()
)
NODES = st.one_of(
    contents(),
    contents(),
    st.sampled_from(["broken link", "link to itself", "link to above", "pipe", "folder"]),
)
FOLDER = st.dictionaries(IMAGE_NAMES, NODES, min_size=1, max_size=3)
TWO_CLASSES = st.fixed_dictionaries({b"ant": FOLDER, b"bee": FOLDER})
ODD_CLASSES = st.dictionaries(
    st.sampled_from([b"ant", b"bee", b"__MACOSX", b".git", b"\xff"]), FOLDER, max_size=3
)
ROOTS = st.one_of(TWO_CLASSES, TWO_CLASSES, TWO_CLASSES, ODD_CLASSES)


def make(path, node):
    if isinstance(node, bytes):
        path.write_bytes(node)
    elif node == "pipe":
        os.mkfifo(path)
    elif node == "folder":
        path.mkdir()
    else:
        path.symlink_to({"broken link": "nowhere", "link to itself": path.name, "link to above": ".."}[node])


@pytest.fixture
def place():
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def one_sentence(error):
    return str(error).isprintable() and str(error).endswith(".")


@HOSTILE
@given(folders=ROOTS, more=st.sampled_from([0, 0, 0, 0, -1, 1]), skip_corrupt=st.booleans())
def test_folders_of_images(place, monkeypatch_class_of_two, folders, more, skip_corrupt):
    empty(place)
    for folder, nodes in folders.items():
        root = place / "101_ObjectCategories" / os.fsdecode(folder)
        root.mkdir(parents=True)
        for name, node in nodes.items():
            make(root / os.fsdecode(name), node)
    images = max(1, more + sum(len(files._images(root)) for root in place.glob("*/*")))
    monkeypatch_class_of_two(images)
    try:
        found = datasets.load("caltech101", 4, place, skip_corrupt)
        parts = datasets.split("caltech101", found, 0)
    except InputError as error:
        assert one_sentence(error)
    else:
        assert found.images.shape == (images, 3, 4, 4) and len(found.labels) == images
        assert sum(map(len, parts)) == images - len(found.skipped)


@pytest.fixture
def monkeypatch_class_of_two(monkeypatch):
    """Sets how many images the dataset caltech101 of two classes has."""

    def patch(images):
        splits = {"train": images, "validation": 0, "test": 0}
        monkeypatch.setitem(DATASETS, "caltech101", Dataset("Tiny", 2, splits))

    return patch


LINES = st.lists(
    st.one_of(
        st.sampled_from([b"Width;ClassId;Filename", b"ClassId,Path", b"6;0;00000.ppm", b"1,Test/00001.ppm"]),
        st.sampled_from([b"00000.ppm;6;6;1;1;5;5;0;", b"00001.ppm;57;", b"..\\00000.ppm;1", b'"']),
        st.binary(max_size=20),
    ),
    max_size=6,
).map(b"\n".join)


@HOSTILE
@given(table=LINES)
@pytest.mark.parametrize("name", ["gtsrb", "tsrd"])
def test_tables_of_labels(place, name, table):
    empty(place)
    for folder in ("Train/0", "Train/1", "Test"):
        for image in (
            ("00000_00000.ppm", "00001_00000.ppm") if folder != "Test" else ("00000.ppm", "00001.ppm")
        ):
            path = place / name / folder / image
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(GOOD[0] + path.name.encode())
    for file in ("Test.csv", *(file for file, _ in files.TSRD.values())):
        (place / name / file).write_bytes(table)
    classes = 2 if name == "gtsrb" else 58
    dataset = Dataset("Tiny", classes, {"train": 2, "validation": 2, "test": 2})
    try:
        found = files.find(name, dataset, place)
    except InputError as error:
        assert one_sentence(error)
    else:
        assert len(found.items) == len(found.labels) and set(found.labels) <= set(range(classes))


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.text()),
    st.just("~x/y"),
)


@HOSTILE
@given(folder=ANYTHING)
def test_data_folders(folder):
    try:
        assert data_dir(folder).is_dir() or not folder
    except InputError as error:
        assert one_sentence(error)
