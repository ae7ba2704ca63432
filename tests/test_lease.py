"""Runs on a GPU machine for minutes: an unpacked dataset equals the original, and a list of runs becomes records."""

import importlib
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from stn_paper.data import datasets
from stn_paper.data.datasets import Dataset
from stn_paper.errors import InputError
from stn_paper.paths import ROOT
from stn_paper.training import records

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / "workflow"))
    lease = importlib.import_module("lease")

TINY = Dataset("Tiny", 2, {"train": 4, "validation": 2, "test": 2})
JOB = "caltech101 resnet18 lstn small 0 image_size=32 max_epochs=1 min_epochs=1"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Two classes of four random pictures, as Caltech-101's folders; returns the data folder."""
    monkeypatch.setitem(datasets.DATASETS, "caltech101", TINY)
    random = np.random.RandomState(0)
    for name in ("ant", "bee"):
        folder = tmp_path / "data/caltech101/101_ObjectCategories" / name
        folder.mkdir(parents=True)
        for i in range(4):
            Image.fromarray(random.randint(0, 255, (20, 30, 3), np.uint8)).save(folder / f"image_{i}.png")
    return tmp_path / "data"


@pytest.mark.parametrize("size", [None, 16])
def test_an_unpacked_dataset_equals_the_packed_dataset(tiny, tmp_path, size):
    parts = lease.pack("caltech101", tmp_path / "packs", mib=0.002, size=size, given=tiny)
    assert len(parts) > 1 and max(part.stat().st_size for part in parts) <= 0.002 * 2**20
    unpacked, original = (
        lease.unpacked("caltech101", 16, tmp_path / "packs"),
        datasets.load_images("caltech101", 16, tiny),
    )
    assert torch.equal(unpacked.images, original.images) and torch.equal(unpacked.labels, original.labels)
    assert (unpacked.classes, unpacked.fingerprint) == (original.classes, original.fingerprint)
    lease.pack("caltech101", tmp_path / "packs", given=tiny)  # no part of the former pack stays
    assert torch.equal(lease.unpacked("caltech101", 16, tmp_path / "packs").images, original.images)


def test_a_pack_says_how_many_copies_were_left_out(tiny, tmp_path, monkeypatch):
    found = lease.files.find_files("caltech101", TINY, tiny)
    monkeypatch.setattr(
        lease.files, "find_files", lambda *_: found._replace(duplicates=(tmp_path / "a.png",))
    )
    lease.pack("caltech101", tmp_path / "packs", given=tiny)
    assert len(lease.unpacked("caltech101", 16, tmp_path / "packs").duplicates) == 1


def test_what_a_pack_cannot_hold_is_refused(tiny, tmp_path):
    with pytest.raises(InputError, match="'mnist-rts' cannot be packed"):
        lease.pack("mnist-rts", tmp_path / "packs", given=tiny)
    for name, message in {"digits": "needs no pack", "digit": "Unknown dataset 'digit'"}.items():
        with pytest.raises(InputError, match=message):
            lease.pack(name, tmp_path / "packs", given=tiny)
    lease.pack("caltech101", tmp_path / "packs", size=16, given=tiny)
    with pytest.raises(InputError, match="packed at 16 pixels, and this run needs 20"):
        lease.unpacked("caltech101", 20, tmp_path / "packs")
    with pytest.raises(InputError, match="0 MiB"):
        lease.pack("caltech101", tmp_path / "packs", size=16, given=tiny, mib=0)
    (part,) = (tmp_path / "packs").iterdir()
    part.write_bytes(part.read_bytes()[:-100])  # as if a second part were missing
    with pytest.raises(InputError, match="1 parts"):
        lease.unpacked("caltech101", 16, tmp_path / "packs")


@pytest.mark.parametrize("line", ["digits resnet18 lstn smoke", "digits resnet18 lstn smoke zero"])
def test_a_line_without_a_seed_is_one_sentence(line):
    with pytest.raises(InputError, match="seed"):
        lease.spec_of(line)


def test_each_listed_run_becomes_a_record_once(tiny, tmp_path, capsys):
    lease.pack("caltech101", tmp_path / "packs", given=tiny)
    lines = [JOB, JOB]
    for _ in range(2):
        lease._worker(tmp_path / "packs", lines, time.time() + 600)
    printed = capsys.readouterr().out
    assert printed.count("last-epoch") == 1 and records.find(lease.spec_of(JOB))["test"]["accuracy"] >= 0
    lease._worker(tmp_path / "packs", [JOB.replace("lstn", "stn")], time.time() - 1)
    assert records.find(lease.spec_of(JOB.replace("lstn", "stn"))) is None


def test_a_listed_run_may_have_a_setting_in_words_and_a_dataset_without_a_pack(tmp_path, capsys):
    job = "digits mnist-cnn stn smoke 0 padding=border"
    assert lease.spec_of(job).protocol.padding == "border"
    lease._worker(tmp_path, [job], time.time() + 600)
    assert records.find(lease.spec_of(job)), capsys.readouterr().out


def test_the_runs_of_a_list_without_a_record_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(lease.SPAWN, "Process", threading.Thread)
    done, late = "digits mnist-cnn stn smoke 0", "digits mnist-cnn stn smoke 1"
    jobs = tmp_path / "jobs.txt"
    jobs.write_text(f"# a comment\n  # another\n{done}\n")
    assert lease.work(tmp_path, jobs, 1, time.time() + 600) == 0
    jobs.write_text(f"{done}\n{late}\n")
    assert lease.work(tmp_path, jobs, 2, time.time() - 1) == 1


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["work", "no_such_folder", "jobs.txt", "--minutes", "8"], "no_such_folder"),
        (["work", ".", "no_such_file.txt", "--minutes", "8"], "no_such_file.txt"),
        (["work", ".", "jobs.txt", "--minutes", "nan"], "nan"),
        (["work", ".", "jobs.txt", "--minutes", "8", "--workers", "0"], "0"),
        (["pack", "caltech101", "lease", "--mib", "inf"], "inf"),
        (["pack", "caltech101", "lease", "--size", "0"], "0"),
        (["measure", "speed.json"], "cuda"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="measures the GPU")
def test_a_wrong_argument_is_one_sentence(arguments, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.txt").write_text("digits mnist-cnn stn smoke 0\n")
    monkeypatch.setattr(sys, "argv", ["lease.py", *arguments])
    with pytest.raises(SystemExit) as end:
        lease.main()
    assert named in end.value.code and end.value.code.endswith(".") and "\n" not in end.value.code


def test_a_machine_with_few_packages_can_train_and_measure(tiny, tmp_path):
    others = {"scipy", "sklearn", "thop", "mlxtend", "captum", "altair", "itables", "papermill", "IPython"}
    others |= {"matplotlib", "seaborn"}
    code = f"""
import importlib.machinery, sys, time
find = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = (
    lambda name, *more: None if name.partition(".")[0] in {others} else find(name, *more)
)
sys.path[:0] = [".", "workflow"]
import stn_paper.analysis.campaign, benchmarks.__main__, lease
lease.datasets.DATASETS["caltech101"] = lease.datasets.Dataset(*{tuple(TINY)[:3]})
lease._worker(".", [{JOB!r}], time.time() + 600)
"""
    variables = {f"STN_PAPER_{name}": str(tmp_path / name.lower()) for name in ("DATA", "RESULTS", "CACHE")}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | variables, check=True)
    (record,) = (tmp_path / "results").glob("*/*.json")
    assert json.loads(record.read_text())["test"]["accuracy"] >= 0
