"""The command line: a run prints its record, and a wrong value ends in one sentence."""

import math
import subprocess
import sys
import time

import pytest

from stn_paper.cli import main
from stn_paper.models import VARIANTS
from stn_paper.paths import ROOT
from stn_paper.training import loop, records
from stn_paper.training.spec import RunSpec

RUN = {"dataset": "digits", "backbone": "resnet18", "variant": "original", "protocol": "smoke"}


def test_a_run_prints_its_record(capsys):
    spec = RunSpec(*RUN.values())
    main(["run", *RUN.values(), "--device", "cpu"])
    record = records.find(spec)
    printed = capsys.readouterr().out
    assert record["stopped"] == "budget"
    assert printed.startswith(f"{records.record_path(spec)}: test accuracy ")
    assert f"{record['epochs'][0]['test_accuracy']:.2f} % at epoch 1" in printed


def test_all_means_every_variant_with_the_options_given(monkeypatch, capsys):
    calls = []
    rule = "best-validation"
    record = {"spec": {"protocol": {"selection": rule}}, "selected": {rule: {"test": 50.0, "epoch": 1}}}
    monkeypatch.setattr(loop, "run", lambda *call: calls.append(call) or record)
    main(
        ["run", "digits", "resnet18", "all", "smoke", "--seed", "3", "--device", "cpu", "--data-dir", "here"]
    )
    specs = [RunSpec("digits", "resnet18", variant, "smoke", 3) for variant in VARIANTS]
    assert calls == [(spec, "cpu", "here", False, math.inf) for spec in specs]
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_run_whose_time_is_up_says_how_to_go_on(monkeypatch):
    given = []
    monkeypatch.setattr(loop, "run", lambda *call: given.extend(call))  # returns None
    with pytest.raises(SystemExit, match="not finished: its time was up"):
        main(["run", *RUN.values(), "--minutes", "2", "--compile"])
    assert given[3] is True and 100 < given[4] - time.time() <= 120


@pytest.mark.parametrize(
    "name, value",
    [("dataset", "imagenet"), ("backbone", "resnet19"), ("variant", "tstn"), ("protocol", "quick")],
)
def test_a_wrong_name_is_one_sentence(name, value):
    with pytest.raises(SystemExit) as end:
        main(["run", *(RUN | {name: value}).values()])
    assert end.value.code.startswith(f"Unknown {name} {value!r}: choose one of ")
    assert "\n" not in end.value.code


@pytest.mark.parametrize(
    "options, sentence",
    [(["--seed", "-1"], "Seed -1 is not allowed"), (["--device", "tpu"], "Device 'tpu' cannot be used here")],
)
def test_a_wrong_option_is_one_sentence(options, sentence):
    with pytest.raises(SystemExit) as end:
        main(["run", *RUN.values(), *options])
    assert end.value.code.startswith(sentence)


def test_a_wrong_value_shows_no_traceback():
    command = [sys.executable, "-m", "stn_paper", "run", "imagenet", "resnet18", "stn", "smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("Unknown dataset 'imagenet'")


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["run", "digits"], ["run", *RUN.values(), "--seed", "one"]]
)
def test_a_wrong_command_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: python -m stn_paper" in capsys.readouterr().err
