"""Shared fixtures: each test writes only to its own folder, on one thread, because results depend on the threads."""

import atexit
import functools
import gc
import importlib.util
import os
import shutil
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; notebooks' kernels inherit it

import pytest
import torch

from stn_paper.data import datasets
from stn_paper.paths import ROOT

torch.set_num_threads(1)
datasets._load_digits = functools.cache(datasets._load_digits)  # to distort the digits takes a second
COMPILED = tempfile.mkdtemp(prefix="stn_paper_tests_")  # for torch's compiled code, not the user's folder
atexit.register(shutil.rmtree, COMPILED, ignore_errors=True)
os.environ["TORCHINDUCTOR_CACHE_DIR"] = COMPILED
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # a pool of processes starts and ends for seconds
# torch need not try the processor's vector instructions, which takes seconds
os.environ["TORCHINDUCTOR_VEC_ISA_OK"] = "1"
# What takes longest starts first: started last, it would leave the other processes without work.
FIRST = (
    "tests/book/",
    "tests/test_install.py",
    "tests/training/test_hardware.py",
    "tests/training/test_checkpoint.py",
    "tests/test_benchmarks.py",
    "tests/models/test_deployment.py",
    "tests/test_hostile.py",
    "tests/test_faults.py",
    "notebooks/",
)
FLAGS = (
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cuda.matmul, "allow_tf32"),
)


if importlib.util.find_spec("jupyter_client"):
    import kernels
    from jupyter_client.provisioning import local_provisioner

    local_provisioner.launch_kernel = kernels.launch


def pytest_collection_modifyitems(items):
    """Sort the tests by FIRST, those of other files last; pytest-xdist hands out files in this order."""
    items.sort(key=lambda item: [not item.nodeid.startswith(name) for name in FIRST])


def pytest_collection_finish():
    gc.freeze()  # the garbage collector's search through imported objects took a tenth of the time


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    for name in ("RESULTS", "CACHE"):
        monkeypatch.setenv(f"STN_PAPER_{name}", str(tmp_path / name.lower()))
    monkeypatch.setattr(os, "fsync", lambda file: None)  # tests need no safety from power failures
    torch.manual_seed(0)  # a test's random numbers do not depend on the tests before it
    # what a test changes of these is put back
    monkeypatch.setenv("TQDM_DISABLE", os.environ.get("TQDM_DISABLE", ""))
    flags = [getattr(part, name) for part, name in FLAGS]
    yield
    for (part, name), value in zip(FLAGS, flags):
        setattr(part, name, value)
    # with two threads, the next test would compute other digits, and the processes that it forks would hang
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


@pytest.fixture
def committed(monkeypatch):
    """Read the repository's own results."""
    monkeypatch.setenv("STN_PAPER_RESULTS", str(ROOT / "results"))


@pytest.fixture
def costs(tmp_path):
    """The committed costs beside the records that a test writes."""
    (tmp_path / "results").mkdir(exist_ok=True)
    shutil.copy(ROOT / "results/costs.csv", tmp_path / "results")


@pytest.fixture(scope="session")
def extension():
    """Load an extension of the book, by its name, as a module."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, ROOT / f"book/_extensions/{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
