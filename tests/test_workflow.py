"""The workflow plans what is missing and nothing else, and a job sees one GPU. No training here."""

import os
import subprocess
import sys

import pytest

from stn_paper import grid, results
from stn_paper.paths import ROOT, cache_dir

WRAPPER = [sys.executable, str(ROOT / "workflow/one_gpu.py"), sys.executable, "-c"]
SHOW = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))"


def plan(folder, *targets):
    """What `snakemake --dry-run` prints, on both streams, with one seed."""
    pytest.importorskip("snakemake", reason="Snakemake is not installed: pip install -e '.[cluster]'")
    command = ["snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"), "--directory", str(folder)]
    command += ["--dry-run", "--config", "seeds=1", "--", *targets]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_dry_run_says_what_is_missing_and_plans_it(tmp_path):
    for spec in grid.runs("smoke", 1)[1:]:  # whoever made them
        path = results.record_path(spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    printed = plan(tmp_path, "smoke")
    assert "smoke: 1 of 4 runs have no record" in printed
    assert f"output: {results.record_path(grid.runs('smoke', 1)[0])}" in printed
    assert "smoke_page" in printed and "html" in printed


def test_all_targets_can_be_planned(tmp_path):
    printed = plan(tmp_path, *grid.GRID, "book")
    everything = len(grid.unique(grid.GRID, 1))
    assert any(line.split() == ["run", str(everything)] for line in printed.splitlines())


def wrapped(code, **environment):
    variables = os.environ | environment
    return subprocess.run([*WRAPPER, code], env=variables, cwd=ROOT, capture_output=True, text=True)


def test_a_command_sees_one_gpu():
    variables = {k: v for k, v in os.environ.items() if k != "SLURM_JOB_ID"}
    inner = f"import subprocess; print(subprocess.run({[*WRAPPER, SHOW]}, capture_output=True, text=True,"
    inner += " env=os.environ | {'CUDA_VISIBLE_DEVICES': '5,7'}).stdout)"
    done = subprocess.run(
        [*WRAPPER, f"import os; print(os.environ['CUDA_VISIBLE_DEVICES']); {inner}"],
        env=variables | {"CUDA_VISIBLE_DEVICES": "5,7"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["5", "7"], done.stderr  # the inner one finds the first taken


def test_without_gpus_and_under_slurm_the_command_is_just_run():
    assert wrapped(SHOW, CUDA_VISIBLE_DEVICES="").stdout == "\n"
    given = wrapped(SHOW, CUDA_VISIBLE_DEVICES="2,3", SLURM_JOB_ID="1")
    assert given.stdout == "2,3\n"
    assert not (cache_dir() / "gpus").exists()


def test_the_commands_status_is_the_wrappers():
    assert wrapped("raise SystemExit(3)", CUDA_VISIBLE_DEVICES="").returncode == 3
