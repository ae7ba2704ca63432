"""The workflow plans only the missing runs, and each job gets one GPU. These tests train nothing."""

import os
import signal
import subprocess
import sys

import pytest

from stn_paper.analysis import grid
from stn_paper.paths import ROOT
from stn_paper.training import records

WRAPPER = [sys.executable, str(ROOT / "workflow/one_gpu.py"), sys.executable, "-c"]
SHOW = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))"


def plan(folder, *targets):
    """The output of `snakemake --dry-run` with one seed, on both streams."""
    pytest.importorskip("snakemake", reason="Snakemake is not installed: pip install -e '.[cluster]'")
    command = ["snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"), "--directory", str(folder)]
    command += ["--dry-run", "--printshellcmds", "--config", "seeds=1", "--", *targets]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_dry_run_says_what_is_missing_and_plans_it(tmp_path):
    for spec in grid.target_specs("smoke", 1)[1:]:  # records that already exist
        path = records.record_path(spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    printed = plan(tmp_path, "smoke")
    assert "smoke: 1 of 4 " in printed
    assert f"output: {records.record_path(grid.target_specs('smoke', 1)[0])}" in printed
    assert "smoke_page" in printed and "html" in printed
    commands = [
        f"{sys.executable} -m {name} " for name in ("stn_paper run", "papermill", "jupyter_book build")
    ]
    # the interpreter that runs Snakemake, in no environment
    assert all(command in printed for command in commands)


def test_all_targets_can_be_planned(tmp_path):
    printed = plan(tmp_path, *grid.GRID, "book")
    everything = len(grid.unique_specs(grid.GRID, 1))
    assert any(line.split() == ["run", str(everything)] for line in printed.splitlines())
    assert (
        printed.count("--set padding=border") == 2
    )  # commands have the settings that differ from the protocol


@pytest.fixture
def wrapped(tmp_path, monkeypatch):
    """Run Python code through the wrapper, with these variables and with locks in a folder of the test."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def run(code, **variables):
        command = [*WRAPPER, code]
        return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)

    return run


def test_two_commands_see_two_gpus(wrapped):
    inner = f"subprocess.run({[*WRAPPER, SHOW]}, env=os.environ | {{'CUDA_VISIBLE_DEVICES': '5,7'}})"
    done = wrapped(f"{SHOW}; import subprocess, sys; sys.stdout.flush(); {inner}", CUDA_VISIBLE_DEVICES="5,7")
    assert done.stdout.split() == ["5", "7"], done.stderr


def test_gpus_are_numbered_as_cuda_numbers_them(wrapped):
    """Spaces are allowed, and nothing after -1 counts."""
    inner = f"subprocess.run({[*WRAPPER, SHOW]}, env=os.environ | {{'CUDA_VISIBLE_DEVICES': '5, 7,-1,8'}})"
    done = wrapped(f"{SHOW}; import subprocess, sys; sys.stdout.flush(); {inner}", CUDA_VISIBLE_DEVICES="5")
    assert done.stdout.split() == ["5", "7"], done.stderr


def test_a_job_of_slurm_with_several_gpus_shows_one(wrapped):
    assert wrapped(SHOW, CUDA_VISIBLE_DEVICES="2,3", SLURM_JOB_ID="1").stdout == "2\n"


def test_without_gpus_and_with_one_under_slurm_the_command_is_just_run(wrapped, tmp_path):
    assert wrapped(SHOW, CUDA_VISIBLE_DEVICES="").stdout == "\n"
    assert wrapped(SHOW, CUDA_VISIBLE_DEVICES="-1").stdout == "-1\n"
    assert wrapped(SHOW, CUDA_VISIBLE_DEVICES="3", SLURM_JOB_ID="1").stdout == "3\n"
    assert not list(tmp_path.glob("stn_paper_gpus*"))


def test_the_commands_status_is_the_wrappers(wrapped):
    assert wrapped("raise SystemExit(3)", CUDA_VISIBLE_DEVICES="").returncode == 3


def test_a_command_that_cannot_be_run_is_told_in_one_line(wrapped):
    command = [*WRAPPER[:2], "no-such-program"]
    done = subprocess.run(
        command, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True
    )
    assert done.returncode == 127 and "no-such-program" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signals")
def test_a_terminated_wrapper_ends_its_command_and_frees_its_gpu_after_it(tmp_path):
    code = "import signal, time; print('on', flush=True); time.sleep(60)"
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "5,7", "TMPDIR": str(tmp_path)}
    with subprocess.Popen([*WRAPPER, code], env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"on\n"
        process.terminate()
        assert (
            process.wait() == 256 - signal.SIGTERM and process.stdout.read() == b""
        )  # the command has closed its output
