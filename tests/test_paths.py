"""Folders from environment variables, and files that are replaced completely or not at all."""

import os
import pathlib

import pytest
from helpers import refusal

from stn_paper import paths
from stn_paper.errors import InputError
from stn_paper.paths import cache_dir, data_dir, replace_file, results_dir

FOLDERS = {"DATA": data_dir, "RESULTS": results_dir, "CACHE": cache_dir}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", FOLDERS)
def test_a_tilde_is_the_home_folder(name, home, monkeypatch):
    monkeypatch.setenv(f"STN_PAPER_{name}", "~/x")
    assert FOLDERS[name]() == home / "x"


@pytest.mark.parametrize("name", FOLDERS)
def test_a_relative_folder_has_the_name_that_it_has_elsewhere(name, home, monkeypatch):
    monkeypatch.chdir(home / "x")
    monkeypatch.setenv(f"STN_PAPER_{name}", ".")
    assert FOLDERS[name]() == home / "x" and FOLDERS[name]().name == "x"


@pytest.mark.parametrize("name", FOLDERS)
def test_an_unknown_users_home_is_one_sentence(name, monkeypatch):
    monkeypatch.setenv(f"STN_PAPER_{name}", "~nosuchuser/x")
    with pytest.raises(InputError, match="~nosuchuser/x"):
        FOLDERS[name]()


NO_FOLDERS = (5, 0, 1.5, True, b"data", ["data"], "~nosuchuser/x", "a\0b", "/no/such", "x" * 999)


@pytest.mark.parametrize("given", NO_FOLDERS)
def test_a_wrong_data_folder_gives_one_sentence(given):
    refusal(data_dir, given)


def test_a_mistyped_data_folder_is_not_made(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="dtaa"):
        data_dir(tmp_path / "dtaa")
    monkeypatch.setenv("STN_PAPER_DATA", str(tmp_path / "dtaa"))
    with pytest.raises(InputError, match="dtaa"):
        data_dir()
    (tmp_path / "dtaa").write_text("a file")
    with pytest.raises(InputError, match="dtaa"):
        data_dir("")


def test_a_sentence_stays_on_one_line_and_can_be_printed():
    name = os.fsdecode(b"a\nb\xff.jpg")
    sentence = str(InputError(f"Image {name} is odd: 20 × 20 pixels."))
    assert sentence == r"Image a\nb\udcff.jpg is odd: 20 × 20 pixels."


def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    done, rename = [], pathlib.Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: done.append(os.readlink(f"/proc/self/fd/{file}")))
    monkeypatch.setattr(pathlib.Path, "replace", lambda *names: done.append("renamed") or rename(*names))
    if not pathlib.Path("/proc/self/fd").exists():
        pytest.skip("this system does not tell the names of open files")
    with replace_file(tmp_path / "a.json") as partial:
        partial.write_text("{}", encoding="utf-8")
    assert done == [str(partial), "renamed", str(tmp_path)]


def test_an_input_that_cannot_be_read_is_not_called_an_output(tmp_path):
    wrong = rf"{tmp_path / 'input'} cannot be read: No such file"
    with pytest.raises(InputError, match=wrong), replace_file(tmp_path / "out") as partial:
        partial.write_bytes((tmp_path / "input").read_bytes())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out", "folder/out"])
def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path, name):
    (tmp_path / "folder").write_text("a file")
    with (
        pytest.raises(InputError, match=str(tmp_path / name.split("/")[0])),
        replace_file(tmp_path / name) as partial,
    ):
        partial.mkdir()
        partial.write_bytes(b"")


def test_partial_files_are_removed_whatever_their_name(tmp_path):
    partial = tmp_path / "a[1].npy.77.part"
    partial.touch()
    with paths.lock_file(tmp_path / "a[1].npy"):
        assert not partial.exists()


def test_the_files_below_a_folder_are_sorted(tmp_path):
    for name in ("b/2.json", "a/1.json", "a/c/3.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = paths.files_below(tmp_path, "*.json")
    assert [p.relative_to(tmp_path).as_posix() for p in found] == ["a/1.json", "b/2.json"]
    assert paths.files_below(tmp_path / "nowhere") == []


def test_a_folder_that_is_removed_while_it_is_read_is_named(tmp_path, monkeypatch):
    def goes(*_):
        raise FileNotFoundError(2, "No such file or directory", str(tmp_path / "gone"))

    monkeypatch.setattr(pathlib.Path, "rglob", goes)
    with pytest.raises(InputError, match="gone cannot be read"):
        paths.files_below(tmp_path)
