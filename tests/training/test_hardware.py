"""Devices: their names, memory, precision and compiled code, and the commit of the code that ran on them."""

import ctypes
import os
import platform
import re
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from helpers import git
from tiny import put_checkpoint, tiny_backbone, tiny_spec

from stn_paper.analysis.estimates import is_gpu
from stn_paper.data import datasets
from stn_paper.errors import InputError
from stn_paper.models import with_stn
from stn_paper.paths import ROOT
from stn_paper.training import hardware, loop, optimizers

FAULTS = """
import resource, torch
from stn_paper.training.hardware import keep_freed_memory

def faults():  # page faults while eight tensors of 40 MiB are made and freed repeatedly
    [torch.ones(10 * 2**20) for _ in range(8)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        [torch.ones(10 * 2**20) for _ in range(8)]  # once freed, they are one block, in which at most one does not fit
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), keep_freed_memory() or faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the memory of another C library")
def test_freed_memory_is_kept_for_the_next_step():
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert kept < given_back / 3, done.stdout


@pytest.mark.parametrize(
    "message",
    [
        "DefaultCPUAllocator: can't allocate memory",
        "CUDA error: out of memory",
        "cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate",
    ],
)
def test_messages_on_too_little_memory_are_known(message):
    assert hardware.is_memory_error(RuntimeError(message))
    assert not hardware.is_memory_error(RuntimeError("size mismatch"))


def test_a_run_leaves_its_process_as_it_was(tiny):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark = False, False, True
    loop.run(tiny_spec(precision="bfloat16"), "cpu")
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads
    assert (cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark) == (False, False, True)


def test_a_run_trains_and_evaluates_at_its_precision(tiny, monkeypatch):
    arithmetic, used = hardware.compute_in, []
    monkeypatch.setattr(hardware, "compute_in", lambda *call: used.append(call) or arithmetic(*call))
    loop.run(tiny_spec("original", precision="bfloat16", max_epochs=1, min_epochs=1), "cpu")
    assert used == [("bfloat16", "cpu")] * (3 + 1 + 1)  # batches of training, validation and test


def one_step(precision="tf32", compiled=False):
    """Loss and weights after a step of the tiny network behind STN."""
    torch.manual_seed(0)
    model = with_stn(tiny_backbone("tiny", 10), "stn", 32)
    model.transformer.localization.head[-1].weight.data.normal_(std=0.01)
    optimizer = optimizers.OPTIMIZER_CLASSES["sgd"](model.parameters(), lr=0.1)
    step = loop.training_step(model, precision, compiled)
    loss, logits = step(optimizer, torch.rand(8, 3, 32, 32), torch.arange(8))
    return loss, logits, torch.cat([p.detach().flatten() for p in model.parameters()]), model


def test_bfloat16_is_near_float32_and_does_not_reach_the_transformer():
    exact, rounded = one_step("float32"), one_step("bfloat16")
    assert rounded[1].dtype == torch.bfloat16
    assert 0 < (exact[1] - rounded[1]).abs().max() < 0.05  # eight bits
    assert exact[0].item() == pytest.approx(rounded[0].item(), abs=0.01)
    images = torch.rand(4, 3, 32, 32)
    model = exact[3].eval()
    with hardware.compute_in("bfloat16", "cpu"):
        theta, output = model.transformer.theta(images), model.transformer(images)
    assert torch.equal(theta, model.transformer.theta(images))
    assert torch.equal(output, model.transformer(images))


def test_in_bfloat16_a_cpu_computes_depthwise_convolutions_in_float32():
    images, weight, dense = torch.rand(2, 6, 9, 9), torch.rand(6, 1, 5, 5), torch.rand(6, 6, 3, 3)

    def convolved(weight, groups=1):
        leaf = weight.clone().requires_grad_()
        out = F.conv2d(images.bfloat16(), leaf, None, 2, 2, 1, groups)
        return out, *torch.autograd.grad(out.square().mean(), leaf)

    with hardware.compute_in("bfloat16", "cpu"):
        (out, gradient), (dense_out, _) = convolved(weight, groups=6), convolved(dense)
        tiles = F.conv2d(images, torch.rand(6, 2, 3, 3), groups=3)  # groups of two channels: not depthwise
    full = F.conv2d(images.bfloat16().float(), weight, None, 2, 2, 1, 6)
    assert torch.equal(out, full.bfloat16())  # rounded once, at the end
    assert out.dtype == dense_out.dtype == tiles.dtype == torch.bfloat16
    assert not torch.equal(gradient, gradient.bfloat16().float())  # autocast rounds it


def test_a_gpu_is_called_by_its_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert hardware.device_name(torch.device("cuda", 1)) == "GPU 1"


def test_a_processor_is_called_by_its_name_instructions_and_cores(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("model name\t: A CPU\n" * 3)
    monkeypatch.setattr(hardware, "Path", lambda _: tmp_path / "cpuinfo")
    instructions = torch.backends.cpu.get_cpu_capability()
    assert hardware.device_name(torch.device("cpu")) == f"A CPU ({instructions}), 3 cores"


def test_a_processor_of_any_kind_is_no_gpu(monkeypatch):
    monkeypatch.setattr(hardware, "Path", lambda _: Path("/no/such/file"))  # no /proc, as on macOS
    monkeypatch.setattr(platform, "processor", lambda: "aarch64")
    assert hardware.device_name(torch.device("cpu")) == f"aarch64, {os.cpu_count()} cores"
    assert not is_gpu(hardware.device_name(torch.device("cpu"))) and is_gpu("NVIDIA H200")


def test_peak_memory_is_in_mib_on_every_system(monkeypatch):
    usage = SimpleNamespace(ru_maxrss=3 * 2**20)
    monkeypatch.setattr(resource, "getrusage", lambda _: usage)
    for system, expected in (("linux", 3 * 2**10), ("darwin", 3)):  # KiB and bytes
        monkeypatch.setattr(sys, "platform", system)
        assert hardware.peak_memory(torch.device("cpu")) == expected
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert hardware.peak_memory(torch.device("cpu")) == 0


def test_on_a_cpu_tf32_is_float32():
    assert all(torch.equal(a, b) for a, b in zip(one_step("tf32")[:3], one_step("float32")[:3]))


@pytest.fixture
def quick_compiler(monkeypatch):
    """Compile with a backend that generates no machine code, because that would take half a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def test_compiled_steps_agree_with_plain_ones(quick_compiler):
    for a, b in zip(one_step()[:3], one_step(compiled=True)[:3]):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_compiled_run_says_so_and_takes_smaller_last_batches_uncompiled(tiny, tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr(hardware, "compile_network", lambda model: lambda x: sizes.append(len(x)) or model(x))
    spec = tiny_spec("original", max_images=40, max_epochs=1, min_epochs=1)
    compiled = loop.run(spec, "cpu", compiled=True)
    assert compiled["environment"]["compiled"] is True
    monkeypatch.setenv("STN_PAPER_RESULTS", str(tmp_path / "plain"))
    plain = loop.run(spec, "cpu")
    assert plain["environment"]["compiled"] is False
    losses = [record["epochs"][0]["train_loss"] for record in (compiled, plain)]
    assert losses[0] == losses[1] and sizes == [16, 16]  # of batches of 16, 16 and 8


def test_compiled_code_that_cannot_be_loaded_names_the_folder_to_delete(monkeypatch):
    def broken(*_, **__):
        return lambda images: ctypes.CDLL(__file__)  # "file too short" or "invalid ELF header"

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(InputError, match=re.escape(os.environ["TORCHINDUCTOR_CACHE_DIR"])):
        one_step(compiled=True)


def test_a_run_that_is_continued_with_compilation_says_partly(tiny, monkeypatch, kept_checkpoint):
    put_checkpoint(kept_checkpoint)
    monkeypatch.setattr(hardware, "compile_network", lambda model: model)
    assert loop.run(tiny_spec(), "cpu", compiled=True)["environment"]["compiled"] == "partly"


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("can't allocate memory: you tried 1")],
)
def test_a_lack_of_memory_names_what_it_depends_on(tiny, monkeypatch, error):
    def fails(*_):
        raise error

    monkeypatch.setattr(loop, "_train", fails)
    with pytest.raises(InputError, match="24 pixels a side or batches of 16"):
        loop.run(tiny_spec(), "cpu")
    error = KeyError("a fault of the code stays one")
    with pytest.raises(KeyError):
        loop.run(tiny_spec(), "cpu")


def test_a_record_of_code_that_no_commit_holds_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "ROOT", tmp_path)
    (tmp_path / "stn_paper").mkdir()
    (tmp_path / "stn_paper/__init__.py").touch()
    (tmp_path / "stn_paper/code.py").write_text("committed")
    for command in (["init"], ["add", "."], ["commit", "-m", "code"]):
        git(tmp_path, *command)
    (tmp_path / "notes.txt").write_text("beside the package")
    head = hardware.current_commit()
    assert re.fullmatch("[0-9a-f]{12}", head) and hardware.current_commit("*.txt") == f"{head}+changes"
    (tmp_path / "stn_paper/code.py").write_text("changed")
    assert hardware.current_commit() == f"{head}+changes"


def test_a_package_in_another_projects_repository_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.delenv("STN_PAPER_COMMIT", raising=False)
    monkeypatch.setattr(hardware, "ROOT", tmp_path)
    (tmp_path / "theirs.py").touch()
    for command in (["init"], ["add", "."], ["commit", "-m", "theirs"]):
        git(tmp_path, *command)
    (tmp_path / "stn_paper").mkdir()  # as `pip install --target` puts it
    (tmp_path / "stn_paper/__init__.py").touch()
    assert hardware.current_commit() == ""
    monkeypatch.setenv("STN_PAPER_COMMIT", "0123456789ab")
    assert hardware.current_commit() == "0123456789ab"


def test_without_git_a_record_names_no_commit(monkeypatch):
    monkeypatch.delenv("STN_PAPER_COMMIT", raising=False)
    monkeypatch.setenv("PATH", "")
    assert hardware.current_commit() == ""


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "", "meta", None, "hpu", "mps"])
def test_a_wrong_device_is_named_before_data_is_loaded(tiny, monkeypatch, device):
    monkeypatch.setattr(datasets, "load_images", lambda *_: pytest.fail("data was loaded"))
    with pytest.raises(InputError) as error:
        loop.run(tiny_spec(), device)
    assert repr(device) in str(error.value) and "auto, cpu" in str(error.value)


def test_auto_is_cuda_where_there_is_a_gpu():
    assert hardware.check_device("cpu") == torch.device("cpu")
    assert hardware.check_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
