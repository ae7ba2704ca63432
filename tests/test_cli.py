"""The command line: a run prints its record, and a wrong value ends in one sentence."""

import math
import os
import signal
import subprocess
import sys
import time

import pytest

from stn_paper import cli, paths
from stn_paper.cli import main
from stn_paper.models import VARIANTS
from stn_paper.paths import ROOT
from stn_paper.training import hardware, kept, loop, records
from stn_paper.training.spec import RunSpec

RUN = {"dataset": "digits", "backbone": "mnist-cnn", "variant": "original", "protocol": "smoke"}


def test_a_run_prints_its_record(capsys):
    spec = RunSpec(*RUN.values())
    main(["run", *RUN.values(), "--device", "cpu"])
    record = records.find(spec)
    printed = capsys.readouterr().out
    assert record["stopped"] == "budget"
    assert printed.startswith(f"{records.record_path(spec)}: test accuracy ")
    assert f"{record['epochs'][0]['test_accuracy']:.2f} % at epoch 1" in printed


def test_all_means_every_variant_with_the_options_given(monkeypatch, capsys, tmp_path):
    calls = []
    rule = "best-validation"
    record = {"spec": {"protocol": {"selection": rule}}, "selected": {rule: {"test": 50.0, "epoch": 1}}}
    monkeypatch.setattr(loop, "run", lambda *call: calls.append(call) or record)
    folder = str(tmp_path)
    main(
        ["run", "digits", "resnet18", "all", "smoke", "--seed", "3", "--device", "cpu", "--data-dir", folder]
    )
    specs = [RunSpec("digits", "resnet18", variant, "smoke", 3) for variant in VARIANTS]
    assert calls == [(spec, "cpu", folder, False, math.inf) for spec in specs]
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_run_whose_time_is_up_says_how_to_go_on(monkeypatch):
    given = []
    monkeypatch.setattr(loop, "run", lambda *call: given.extend(call))  # returns None
    with pytest.raises(SystemExit, match="not finished: its time was up"):
        main(["run", *RUN.values(), "--minutes", "2", "--compile"])
    assert given[3] is True and 100 < given[4] - time.time() <= 120


def test_without_kept_weights_there_is_nothing_to_evaluate(monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "WEIGHTS", tmp_path)
    with pytest.raises(SystemExit, match="has no weights"):
        main(["evaluate"])


@pytest.mark.parametrize("options", [[], ["--precision", "tf32"]])
def test_a_run_that_is_slow_in_bfloat16_is_trained_and_names_the_faster_option(options, monkeypatch, capsys):
    given = []
    monkeypatch.setattr(hardware, "is_fast_in_bfloat16", lambda device: False)
    monkeypatch.setattr(loop, "run", lambda *call: given.extend(call))
    with pytest.raises(SystemExit, match="not finished"):
        main(["run", "cifar10", "resnet18", "stn", "small", "--device", "cpu", *options])
    assert given[0].changes == ({"precision": "tf32"} if options else {})
    assert ("--precision tf32" in capsys.readouterr().err) == (not options)


@pytest.mark.parametrize(
    "name, value",
    [("dataset", "imagenet"), ("backbone", "resnet19"), ("variant", "tstn"), ("protocol", "quick")],
)
def test_a_wrong_name_is_one_sentence(name, value):
    with pytest.raises(SystemExit) as end:
        main(["run", *(RUN | {name: value}).values()])
    assert f"{name} {value!r}" in end.value.code and "\n" not in end.value.code


@pytest.mark.parametrize(
    "options, named",
    [
        (["--seed", "-1"], "Seed -1 "),
        (["--device", "tpu"], "Device 'tpu' "),
        (["--minutes", "nan"], "--minutes nan "),
        (["--minutes", "-1"], "--minutes -1 "),
        (["--minutes", "0"], "--minutes 0 "),
        (["--precision", ""], "precision ''"),
        (["--precision", "half"], "precision 'half'"),
        (["--set", "paddin=border"], "setting 'paddin'"),
        (["--set", "batch_size"], "batch_size=VALUE"),
        (["--set", "padding=edge"], "padding 'edge' "),
    ],
)
def test_a_wrong_option_is_one_sentence(options, named):
    with pytest.raises(SystemExit) as end:
        main(["run", *RUN.values(), *options])
    assert named in end.value.code and "\n" not in end.value.code


@pytest.mark.parametrize(
    "command",
    [
        ["campaign", "table6", "--minutes", "nan"],
        ["data", "--download", ""],
        ["data", "--data-dir", "/no/such/folder"],
        ["data", "--data-dir", "~nosuchuser/x"],
        ["copies", "--data-dir", "/no/such/folder"],
        ["run", "digits", "mnist-cnn", "lstn", "smoke", "--data-dir", "/no/such/folder"],
        ["run", "gtsrb", "resnet18", "stn", "reduced", "--device", "cpu", "--data-dir", "~nosuchuser/x"],
    ],
)
def test_a_wrong_value_of_any_command_is_one_sentence(command):
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code.endswith(".") and "\n" not in end.value.code


def test_a_network_that_cannot_take_the_images_is_refused_before_any_is_read(monkeypatch):
    monkeypatch.setattr(loop, "run", lambda *_: pytest.fail("went on to the dataset"))
    with pytest.raises(SystemExit) as end:
        main(["run", "cifar10", "alexnet", "original", "system"])
    assert "pixels a side" in end.value.code and "\n" not in end.value.code


README = f"Ä × 3\n{cli.README_MARK}\nold\n{cli.README_MARK}\nend\n"


@pytest.mark.parametrize("content", [None, b"no mark", b"\xff"])
def test_a_readme_that_is_not_there_is_one_sentence(content, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    if content is not None:
        (tmp_path / "README.md").write_bytes(content)
    with pytest.raises(SystemExit) as end:
        main(["readme"])
    assert str(tmp_path / "README.md") in end.value.code and "\n" not in end.value.code


def test_the_readme_is_utf8_in_every_locale(tmp_path):
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    code = f"""
import pathlib, sys, types
from stn_paper import cli, paths

paths.ROOT = pathlib.Path({str(tmp_path)!r})
front_page = types.SimpleNamespace(lstn_answers=dict, findings=list, as_markdown=lambda _: "\\u2605 new")
sys.modules["stn_paper.report"] = types.SimpleNamespace(front_page=front_page)
cli.main(["readme"])
"""
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=ascii_only, check=True)
    expected = README.replace("\nold\n", "\n\n★ new\n\n").replace("\n\n\n", "\n\n")
    assert (tmp_path / "README.md").read_text(encoding="utf-8").split() == expected.split()


def test_an_output_that_nobody_reads_shows_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "stn_paper", "data"]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_wrong_value_shows_no_traceback():
    command = [sys.executable, "-m", "stn_paper", "run", "imagenet", "resnet18", "stn", "smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and "'imagenet'" in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["run", "digits"], ["run", *RUN.values(), "--seed", "one"]]
)
def test_a_wrong_command_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: python -m stn_paper" in capsys.readouterr().err


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_in_one_sentence_and_the_usual_code(monkeypatch, capsys, name, code):
    number = getattr(signal, name)
    usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    monkeypatch.setattr(cli, "_list_data", lambda options: os.kill(os.getpid(), number))
    before = signal.signal(number, usual)
    try:
        with pytest.raises(SystemExit) as stopped:
            cli.main(["data"])
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)
    assert stopped.value.code == code and capsys.readouterr().err.count("\n") == 1
