"""Fixtures of the tests of datasets: a folder with a tiny Caltech-101, and no download."""

import pytest
from tiny import write_images

from stn_paper.data import files
from stn_paper.data.datasets import DATASETS, Dataset
from stn_paper.data.files import LAYOUTS


@pytest.fixture
def no_download(monkeypatch):
    rows = {name: layout._replace(archives=()) for name, layout in LAYOUTS.items()}
    monkeypatch.setattr(files, "LAYOUTS", rows)


@pytest.fixture
def data(tmp_path, monkeypatch, no_download):
    """A folder of datasets that holds a caltech101 of two classes with four images of one colour each."""
    tiny = Dataset("Tiny", 2, {"train": 4, "validation": 2, "test": 2})
    monkeypatch.setitem(DATASETS, "caltech101", tiny)
    write_images(tmp_path / "data" / LAYOUTS["caltech101"].folders[0])
    return tmp_path / "data"
