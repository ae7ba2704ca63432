"""The workflow on a real SLURM: killed jobs and two coordinators at once end in the same records."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import slurm

from stn_paper.analysis import grid
from stn_paper.paths import ROOT, cache_dir, results_dir
from stn_paper.training import records
from stn_paper.training.spec import RunSpec

pytest.importorskip("snakemake", reason="Snakemake is not installed: pip install -e '.[cluster]'")
pytest.importorskip("snakemake_executor_plugin_slurm", reason="Snakemake's SLURM plugin is not installed")
LACKING = ", ".join(slurm.lacking())
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(LACKING), reason=f"SLURM is not installed here: {LACKING} are missing"),
]
LONG = RunSpec("digits", "mnist-cnn", "original", "system")  # half a minute: time enough to be killed twice
MADE = ("spec", "data", "parameters", "epochs", "stopped", "selected")  # all but time, memory and place
LIMIT = 3600  # seconds that a coordinator may take
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # the records' last digits depend on it


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(prefix="slurm-") as place, slurm.cluster(Path(place).resolve()):
        yield Path(place).resolve()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """{name: record} of the same runs, trained one after the other without disturbance."""
    place = tmp_path_factory.mktemp("expected")
    variables = os.environ | ONE_THREAD
    variables |= {"STN_PAPER_RESULTS": f"{place}/results", "STN_PAPER_CACHE": f"{place}/cache"}
    command = [sys.executable, "-m", "stn_paper", "run", "--device", "cpu"]
    for names in (["digits", "resnet18", "all", "smoke"], ["digits", "mnist-cnn", "original", "system"]):
        subprocess.run([*command, *names], cwd=ROOT, env=variables, check=True)
    return {path.stem: made(path) for path in place.glob("results/*/*.json")}


def made(path):
    record = json.loads(path.read_text())
    return {field: record[field] for field in MADE}


@contextmanager
def coordinator(folder, directory, *targets):
    """Context: a Snakemake process that sends the runs of the targets to the cluster; it ends with the block."""
    command = [
        *("snakemake", "--snakefile", f"{ROOT}/workflow/Snakefile", "--directory", directory),
        *("--profile", f"{ROOT}/workflow/profiles/slurm", "--latency-wait", "10", "--until", "run"),
        *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"),
        *("--config", "seeds=1", "gpus=0", "device=cpu", "threads=1", "--", *targets),
    ]
    variables = os.environ | slurm.environment(folder)
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, env=variables)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # cancels its jobs; SIGTERM would wait for them
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()


def training(folder):
    """Ids of the process that trains LONG, without the wrapper around it."""
    words = f"-m stn_paper run {LONG.dataset} {LONG.backbone} {LONG.variant}"
    everyone = slurm.processes(folder, words)
    return [
        p
        for p in everyone
        if p not in slurm.processes(folder, words, "snakemake")
        and p not in slurm.processes(folder, words, "one_gpu.py")
    ]


def epoch_since(moment):
    """Whether LONG has written a checkpoint after this moment."""
    path = cache_dir() / "checkpoints" / f"{LONG.name}.pt"
    return path.exists() and path.stat().st_mtime > moment


def check_records(expected, specs):
    assert {spec.name: made(records.record_path(spec)) for spec in specs} == {
        spec.name: expected[spec.name] for spec in specs
    }
    assert not [*results_dir().rglob("*.part"), *cache_dir().rglob("*.part")]


def test_a_killed_job_and_a_lost_node_end_in_the_same_records(folder, expected, tmp_path):
    with coordinator(folder, tmp_path / "here", records.record_path(LONG)) as process:

        def running(since):
            assert process.poll() is None, "the coordinator ended too early"
            return epoch_since(since) and training(folder)

        (victim,) = slurm.wait_for("a first checkpoint", lambda: running(0), LIMIT)
        slurm.kill(victim)
        moment = time.time()
        (victim,) = slurm.wait_for("a checkpoint after the kill", lambda: running(moment), LIMIT)
        (node,) = [n for n in slurm.NODES if slurm.job_of(victim) in slurm.jobs_on(folder, n)]
        slurm.cut_off(folder, node)
        slurm.wait_for("the node's loss", lambda: slurm.states(folder)[node].startswith("down"))
        assert process.wait(LIMIT) == 0
    slurm.start_node(folder, node)
    slurm.wait_for("the node's return", lambda: slurm.states(folder)[node] == "idle")
    check_records(expected, [LONG])
    assert json.loads(records.record_path(LONG).read_text())["measured"]["resumed"] >= 2


def test_two_coordinators_started_together_damage_nothing(folder, expected, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    with coordinator(folder, one, "smoke") as first, coordinator(folder, two, "smoke") as second:
        slurm.wait_for("the first one's lock", lambda: [*one.glob(".snakemake/locks/*")])
        with coordinator(folder, one, "smoke") as third:  # in the same folder: Snakemake's lock holds it off
            assert third.wait(LIMIT) != 0
        assert first.wait(LIMIT) == 0 and second.wait(LIMIT) == 0
    check_records(expected, grid.target_specs("smoke", 1))
    command = [sys.executable, "-m", "stn_paper", "results", "check"]
    assert subprocess.run(command, cwd=ROOT).returncode == 0
